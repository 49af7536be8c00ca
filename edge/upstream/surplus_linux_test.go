package upstream

import (
	"crypto/tls"
	"net"
	"strings"
	"syscall"
	"testing"
)

// An unasked answer in its own TLS record arrives in the same segment as the real one. It must be
// found although crypto/tls, not the kernel, could hold it; whole, in part, and in the same record.
func TestSurplusUnderTLSDoesNotReachTheNextClient(t *testing.T) {
	evil := "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
	for name, say := range map[string]func(s *session, direct net.Conn){
		"second record": func(s *session, _ net.Conn) { s.say(okAnswer); s.say(evil) },
		"same record":   func(s *session, _ net.Conn) { s.say(okAnswer + evil) },
		"large answer": func(s *session, _ net.Conn) {
			s.say("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 16000) + "\r\nContent-Length: 2\r\n\r\nok" + evil)
		},
		"half a record": func(s *session, direct net.Conn) {
			s.say(okAnswer)
			_, _ = direct.Write([]byte{23, 3, 3, 0, 60, 1, 2, 3})
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := secureBackend(t, "backend.test", nil, func(s *session) {
				if s.request() == nil {
					return
				}
				if s.number > 1 {
					s.say(okAnswer)
				} else {
					direct := s.Conn.(*tls.Conn).NetConn()
					cork(t, direct, 1)
					say(s, direct)
					cork(t, direct, 0) // all in one segment
				}
				_ = s.request()
			})
			wantOK(t, p, get("/"))
			wantOK(t, p, get("/"))
			if s := p.Stats(); s.Dials != 2 {
				t.Errorf("%+v: the connection was used again", s)
			}
		})
	}
}

// cork holds small segments back (1) or lets them go (0).
func cork(t *testing.T, c net.Conn, on int) {
	rc, err := c.(*net.TCPConn).SyscallConn()
	if err == nil {
		cerr := rc.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_CORK, on)
		})
		if err == nil {
			err = cerr
		}
	}
	if err != nil {
		t.Errorf("cork: %v", err)
	}
}
