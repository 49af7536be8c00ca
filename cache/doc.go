// Package cache decides which responses a shared cache may keep and reuse
// (RFC 9111), and keeps them in memory within a byte limit.
//
// It is not an HTTP server and knows no HTTP library: it reads fields through
// [Header], stores an opaque response template that the caller builds, and
// leaves the writing of a hit to the caller. It fetches nothing.
//
// # Life of a request
//
//  1. The caller builds a key with [AppendKey] and asks [Store.Lookup]. The
//     answer is a fresh [Entry], or why there is none (RFC 9211's fwd value)
//     and whether the response that comes back may be kept.
//  2. On a miss the caller forwards the request and, once it has the response
//     head, asks [Decide]. Decision.Reason says why a response is not kept.
//  3. With the whole body in hand it builds an entry with [NewEntry] and gives
//     it to [Store.Put]. Put returns when the outcome is known: true means that
//     the next Lookup finds the entry.
//  4. [FormatStatus] writes the Cache-Status field of either outcome.
//  5. After a successful unsafe request (POST, PUT, …) the caller calls
//     [Store.Invalidate] for the same key.
//
// # Caution by default
//
// Whatever is in doubt is not stored: Set-Cookie and freshness that is only guessed,
// unless the [Policy] says so; no-cache (nothing is revalidated yet), a malformed
// Cache-Control, a refusal that a large request may have caused. A stored response is served
// only while it is fresh.
//
// # Purges
//
// [Store.Purge] notes what must not be used any more, and takes microseconds whatever is stored: each entry is compared with the
// purges since it was last compared when it is asked for, and the memory comes back behind that. What a request that
// was looked up before a purge brings is not stored. A Store knows its own purges; package redispurge brings those of others.
//
// # Isolation
//
// A key starts with the tenant and is compared in full on every hit, so a
// collision of its 64-bit hash can cost a hit but never serves one tenant's
// page to another. The hash is seeded per process, so collisions cannot be
// prepared.
package cache
