// Package wire is what comes off a client's connection before there is a
// request: the accept loop that survives a shortage of descriptors, the bounds on
// connections in all and per client, PROXY headers, the TLS handshake with its
// deadline and its rate per client, readers that take too little, and strict HTTP/1.1.
//
// # The one reader
//
// Request smuggling lives on two programs, or two parsers of one program, that
// read the same bytes differently. So a head is read once, here, and everything
// after us is told what it said: the HTTP library behind this package never sees
// a byte that a client chose. What its server reads from a [Conn] is a stand-in
// of a few bytes for each request (see [Conn.Read]); the handler that it then
// calls asks the connection for the [Head] and the body. The library keeps
// what it is good at: goroutines, pools and writing responses.
//
// What has two readings is refused, not repaired: a [Refusal] takes the
// place of the head, travels the same way and so gets its error page, its id and
// its access line, in its turn among pipelined requests.
//
// # The life of a connection
//
//   - Idle, it holds no buffer, or a small one over TLS: it waits for a first byte
//     (Limits.Idle).
//   - A head comes, within Limits.HeaderTime of its first byte, and is checked line
//     by line as it comes: request line, Host, names and values, framing, sizes.
//   - The body is read through the connection: by Content-Length, or by chunks,
//     whose framing and trailers are checked before the end is told. A client
//     that sends too slowly is given up (Limits.Stall, Limits.MinRate).
//   - Unless the body is over, there is no next request.
//
// The package knows nothing of vhosts or of certificates: the tls.Config that it
// is given decides those. Start with NewDoor, once per node, and Door.Listen, once
// per listener: its connections are *Conn (plain) or *TLSConn.
package wire
