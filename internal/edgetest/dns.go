package edgetest

import (
	"errors"
	"net"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// DNS starts a name server on loopback that answers every A question with
// 127.0.0.1 and every other question with an empty answer, and returns its
// address. Names that start with "nxdomain." do not exist.
func DNS(t testing.TB) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, "listen for DNS", err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		serveDNS(t, conn)
	}()
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Errorf("edgetest: close DNS: %v", err)
		}
		<-done
	})
	return conn.LocalAddr().String()
}

func serveDNS(t testing.TB, conn net.PacketConn) {
	buf := make([]byte, 4096)
	for {
		n, peer, err := conn.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			t.Errorf("edgetest: read DNS question: %v", err)
			return
		}
		answer, err := answerDNS(buf[:n])
		if err != nil {
			continue // not a question
		}
		if _, err := conn.WriteTo(answer, peer); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Errorf("edgetest: write DNS answer: %v", err)
		}
	}
}

func answerDNS(query []byte) ([]byte, error) {
	var p dnsmessage.Parser
	header, err := p.Start(query)
	if err != nil {
		return nil, err
	}
	q, err := p.Question()
	if err != nil {
		return nil, err
	}
	m := dnsmessage.Message{
		Header: dnsmessage.Header{
			ID: header.ID, Response: true, RecursionDesired: header.RecursionDesired, RecursionAvailable: true,
		},
		Questions: []dnsmessage.Question{q},
	}
	switch {
	case strings.HasPrefix(q.Name.String(), "nxdomain."):
		m.RCode = dnsmessage.RCodeNameError
	case q.Type == dnsmessage.TypeA:
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 1},
			Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
		}}
	}
	return m.Pack()
}
