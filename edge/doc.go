// Package edge is Gatehouse between an accepted connection and a written
// response: the HTTP server, the chain of links that every request passes, and
// nothing that decides how a single link's engine works.
//
// # The life of a request
//
//  1. A listener of package wire accepts; over TLS the certificate is chosen by
//     SNI (Certificates), and an unknown name gets alert 112 and no certificate.
//  2. Package wire reads and checks the request; fasthttp, which is given a
//     stand-in for it, calls serveHTTP1, which makes a request of ours: from here
//     on no link asks fasthttp for anything.
//  3. The chain runs, in the one order of links (chain.go). Each link passes the
//     request on, or answers it, or returns an error. The order is a security
//     property and a test asserts it.
//  4. observe gave the request its id and its client's address; selectVhost
//     found the site; inspectRequest asked the WAF; serveCached looked for a
//     stored answer, or for an equal request on its way; forward asked a backend. What each of them decided stands
//     in the request's record, once. On the way back compress gave the answer a
//     content coding, outside the cache, which keeps one form for all clients.
//  5. The response goes out (send.go, answer.go): its head and what is at hand of
//     the body in one write, the rest as it comes, after the chain has returned.
//  6. The done hook (request.done) runs after the last byte, exactly once:
//     WAF close, backend report, access line, metrics. Then the
//     connection waits for its next request, in the same call of the library.
//
// A site is what a vhost became: its settings resolved, its pools of backend
// connections, its WAF profile. Sites are made on first use and inherit the
// running state of the site before them. The table that selects them is one
// atomic pointer, loaded once per request: a request sees one table.
package edge
