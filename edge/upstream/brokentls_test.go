package upstream

import (
	"crypto/tls"
	"io"
	"testing"
	"time"
)

// One address of a name whose TLS is broken, by a wrong certificate, by plain words or by silence, fails no request while others of the name serve.
func TestAnAddressWithBrokenTLSIsPassedOver(t *testing.T) {
	t.Parallel()
	const good, broken = "127.0.0.2", "127.0.0.1"
	roots, right := authority(t)
	_, wrong := authority(t)
	answer := func(c *tls.Certificate) func(*session) {
		return func(s *session) {
			s.Conn = tls.Server(s.Conn, &tls.Config{Certificates: []tls.Certificate{*c}})
			s.br.Reset(s.Conn)
			for s.request() != nil && s.say(okAnswer) {
			}
		}
	}
	for what, script := range map[string]func(*session){
		"another's certificate": answer(&wrong),
		"no TLS":                func(s *session) { s.say("HTTP/1.1 400 Bad Request\r\n\r\n") },
		"silence":               func(s *session) { _, _ = s.br.WriteTo(io.Discard) },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			n := withNames(t)
			port, backends := scriptsOn(t, map[string]func(*session){good: answer(&right), broken: script})
			n.server.Set(appName, good, broken)
			p := n.pool(t, port, func(o *Options) {
				o.Address = "https" + o.Address[len("http"):]
				o.TLS = &tls.Config{RootCAs: roots, ServerName: "backend.test"}
				o.ConnectTimeout = 2 * time.Second
			})
			for range 6 {
				req := get("/")
				req.Fresh = true
				wantOK(t, p, req)
			}
			if tried := backends[broken].conns.Load(); tried != 1 {
				t.Errorf("the broken address was tried %d times, want once in ten seconds", tried)
			}
			backends[good].Close()
			req := get("/")
			req.Fresh = true
			_, _, err := fetch(t, p, req)
			wantError(t, err, OpConnect)
		})
	}
}
