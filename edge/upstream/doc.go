// Package upstream makes one HTTP/1.1 round trip to one backend, on connections that it keeps.
//
// It exists because a reverse proxy must not trust a backend's framing: one answer read a byte
// too long or too short is the next visitor's answer. So the package reads answers strictly,
// returns a connection to its pool only when the answer ended exactly where its own framing said,
// and looks at an idle connection (without consuming anything) before it is used again.
//
// It is not an HTTP client: no redirects, no cookies, no decompression, no proxies, no HTTP/2. It
// does not choose between backends (package balance does), does not decide which client fields go
// to a backend (the caller hands over clean field lines), and never sends a request twice: the
// *Error of a failed one says whether the caller may, and a Budget says how often.
//
// To start, make one Pool per backend and call RoundTrip:
//
//	pool, err := upstream.NewPool(upstream.Options{Address: "http://10.0.0.7:9000/app"})
//	…
//	resp, err := pool.RoundTrip(ctx, &upstream.Request{Method: "GET", Target: "/x?y", Host: "www.shop.test"})
//	if err != nil { … }            // *upstream.Error says what failed and whether it may be repeated
//	defer resp.Body.Close()        // always, also when the body is empty
//
// # The life of a round trip
//
//  1. The request is checked: no byte in it may end a line or the head early (request splitting).
//  2. A body of up to 8 KiB of known length is read first, so that the connection taken next is
//     written to at once and the whole request leaves in one write.
//  3. A connection is taken: the most recently used idle one that is open and has no unread byte,
//     else a fresh one. A request that must not be sent twice (POST, PUT, a streamed body) gets a
//     kept one only if that is much younger than what the backend is known to leave open: it would
//     be lost if the backend closed the connection just then.
//  4. The head is written. A larger or unmeasured body is written by a goroutine of its own, so
//     that an answer that comes early (401, 413) is seen while the client still uploads.
//  5. Interim answers 102 and 103 are handed to Request.Informational, other 1xx are dropped, and
//     the final head is parsed.
//  6. The caller reads Response.Body; nothing is read ahead beyond one buffer of 32 KiB, which
//     the connection holds only while it is busy.
//  7. At the end of the body, or at Close, the connection goes back to the pool or is closed. When
//     Close returns, nothing of the package touches the request's Body any more.
package upstream
