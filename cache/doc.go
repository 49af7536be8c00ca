// Package cache decides which responses a shared cache may keep and reuse
// (RFC 9111), and keeps them in memory within a byte limit.
//
// It is not an HTTP server and knows no HTTP library: it reads fields through
// [Header], stores an opaque response template that the caller builds, and
// leaves the writing of a hit to the caller. It fetches nothing.
//
// # Life of a request
//
//  1. The caller builds a key with [AppendKey] and [Policy.AppendKey] and asks [Store.Lookup]. The
//     answer is an [Entry] that may serve, or why there is none (RFC 9211's fwd value),
//     what is stored and may be validated, and whether the response that comes back may be kept.
//  2. On a miss that may be kept it asks [Store.Join]: either an equal request is on its way, and the
//     caller waits for its [Flight], or it leads one, or goes on its own.
//  3. Who forwards asks [Decide] once the response's head is there. Decision.Reason says why a response
//     is not kept, Decision.Shared whether those who wait may have it.
//  4. A [Fill] takes the body in while its readers read it, and puts the entry ([NewEntry]) into the store when it is
//     whole; a body that is in hand goes there by [Store.Put]. The flight is told what there is.
//  5. [FormatStatus] writes the Cache-Status field of either outcome.
//  6. After a successful unsafe request (POST, PUT, …) the caller calls
//     [Store.Invalidate] for the same key.
//
// # Another process
//
// [Store.Snapshot] writes what is most valuable, once no request can invalidate it any more; [OpenSnapshot] and
// [Store.Restore] bring it into the store of another process, beside its requests, under whatever has happened there since.
//
// # Caution by default
//
// Whatever is in doubt is not stored: Set-Cookie and freshness that is only guessed,
// unless the [Policy] says so; a malformed Cache-Control, a refusal that a large request may have
// caused. What is stale is served only where the response or the [Policy] gives leave, and never where the
// response forbids it.
//
// # Whose memory it is
//
// A [Vhost] is the store's account of a vhost, a [Tenant] that of its owner. While there is room everybody takes
// what he needs; when there is none, who holds more than his share makes room.
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
