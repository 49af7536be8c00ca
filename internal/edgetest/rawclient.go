package edgetest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// Patience is how long the helpers wait for anything before they fail the test:
// far more than a healthy peer needs on a loaded machine.
const Patience = 20 * time.Second

// A RawConn sends bytes exactly as they are given and shows what comes back,
// byte by byte. Not safe for concurrent use, except that one goroutine may send
// while another reads.
type RawConn struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

// A RawAnswer is one response as it came.
type RawAnswer struct {
	Status int
	Header http.Header
	Body   []byte
	Proto  string
	Close  bool // the response said that the connection ends
}

// Dial connects over plain TCP; the connection closes when the test ends.
func Dial(t testing.TB, addr string) *RawConn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, Patience)
	must(t, "dial "+addr, err)
	return raw(t, conn)
}

// DialTLS connects over TLS with a server name, trusting roots, and speaks HTTP/1.1.
func DialTLS(t testing.TB, addr, sni string, roots *x509.CertPool) *RawConn {
	t.Helper()
	return DialTLSConfig(t, addr, &tls.Config{ServerName: sni, RootCAs: roots, NextProtos: []string{"http/1.1"}})
}

// DialTLSConfig is DialTLS with settings of the caller's.
func DialTLSConfig(t testing.TB, addr string, config *tls.Config) *RawConn {
	t.Helper()
	dialer := &net.Dialer{Timeout: Patience}
	conn, err := tls.DialWithDialer(dialer, "tcp", addr, config)
	must(t, "TLS handshake with "+addr+" as "+config.ServerName, err)
	return raw(t, conn)
}

func raw(t testing.TB, conn net.Conn) *RawConn {
	c := &RawConn{Conn: conn, t: t, r: bufio.NewReader(conn)}
	t.Cleanup(func() { _ = conn.Close() })
	return c
}

func (c *RawConn) deadline() {
	c.t.Helper()
	must(c.t, "set a deadline", c.SetDeadline(time.Now().Add(Patience)))
}

// Send writes the bytes in one go.
func (c *RawConn) Send(data string) {
	c.t.Helper()
	must(c.t, "set a deadline", c.SetWriteDeadline(time.Now().Add(Patience)))
	_, err := io.WriteString(c.Conn, data)
	must(c.t, "send", err)
}

// SendBytewise writes one byte at a time, each in a segment of its own where the
// kernel does so.
func (c *RawConn) SendBytewise(data string) {
	c.t.Helper()
	for i := range len(data) {
		c.Send(data[i : i+1])
	}
}

// Receive reads one whole answer to a request with the given method, informational ones skipped.
func (c *RawConn) Receive(method string) *RawAnswer {
	c.t.Helper()
	a, err := c.TryReceive(method)
	must(c.t, "read the answer", err)
	return a
}

// TryReceive is Receive for a peer that may rightly hang up instead.
func (c *RawConn) TryReceive(method string) (*RawAnswer, error) {
	c.t.Helper()
	must(c.t, "set a deadline", c.SetReadDeadline(time.Now().Add(Patience)))
	for {
		resp, err := http.ReadResponse(c.r, &http.Request{Method: method})
		if err != nil {
			return nil, err
		}
		if resp.StatusCode/100 == 1 && resp.StatusCode != http.StatusSwitchingProtocols {
			continue
		}
		a := &RawAnswer{Status: resp.StatusCode, Header: resp.Header, Proto: resp.Proto, Close: resp.Close}
		if resp.StatusCode != http.StatusSwitchingProtocols {
			a.Body, err = io.ReadAll(resp.Body)
		}
		return a, err
	}
}

// Do sends a request and reads the one answer to it.
func (c *RawConn) Do(method, request string) *RawAnswer {
	c.t.Helper()
	c.Send(request)
	return c.Receive(method)
}

// Read reads what has come, already buffered bytes first.
func (c *RawConn) Read(p []byte) (int, error) { return c.r.Read(p) }

// ReadAll reads until the peer closes; a reset counts as closing.
func (c *RawConn) ReadAll() []byte {
	c.t.Helper()
	must(c.t, "set a deadline", c.SetReadDeadline(time.Now().Add(Patience)))
	var buf bytes.Buffer
	_, err := buf.ReadFrom(c.r)
	if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
		c.t.Fatalf("edgetest: the peer did not close within %v; it sent %q", Patience, buf.Bytes())
	}
	return buf.Bytes()
}

// WantClosed fails the test unless the peer closes without another byte.
func (c *RawConn) WantClosed() {
	c.t.Helper()
	if rest := c.ReadAll(); len(rest) > 0 {
		c.t.Errorf("edgetest: the peer went on with %q", rest)
	}
}

// CloseWrite says that nothing more will be sent (a half close).
func (c *RawConn) CloseWrite() {
	c.t.Helper()
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		c.t.Fatal("edgetest: the connection cannot be half closed")
	}
	must(c.t, "half close", half.CloseWrite())
}
