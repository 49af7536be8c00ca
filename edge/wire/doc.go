// Package wire is what comes off a connection before there is a request: the
// accept loop that survives a shortage of descriptors, the TLS handshake with
// its deadline, and connections that end without cutting off what the client
// has not read yet.
//
// It knows nothing of HTTP's meaning, of vhosts or of certificates: the
// tls.Config that it is given decides those.
//
// Start with Listen, which returns a net.Listener whose connections are *Conn
// (plain) or *TLSConn.
package wire
