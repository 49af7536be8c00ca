package edgetest

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// A NameServer answers questions about names with what a test says, over UDP on loopback, and
// changes its answers while it runs. It is safe for concurrent use.
type NameServer struct {
	Addr string // host:port

	mu    sync.Mutex
	names map[string]nameAnswer
	asked map[string]int
}

type nameAnswer struct {
	addresses []netip.Addr
	code      dnsmessage.RCode
	silent    bool
}

// StartNameServer starts one. Names that nothing was said of do not exist.
func StartNameServer(t testing.TB) *NameServer {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, "listen for DNS", err)
	s := &NameServer{Addr: conn.LocalAddr().String(), names: map[string]nameAnswer{}, asked: map[string]int{}}
	var serving sync.WaitGroup
	serving.Go(func() { s.serve(t, conn) })
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Errorf("edgetest: close DNS: %v", err)
		}
		serving.Wait()
	})
	return s
}

// Set has a name lead to addresses from now on, none of them or several.
func (s *NameServer) Set(name string, addresses ...string) {
	a := nameAnswer{}
	for _, text := range addresses {
		a.addresses = append(a.addresses, netip.MustParseAddr(text))
	}
	s.set(name, a)
}

// Fail has questions about a name answered SERVFAIL.
func (s *NameServer) Fail(name string) { s.set(name, nameAnswer{code: dnsmessage.RCodeServerFailure}) }

// Remove has questions about a name answered NXDOMAIN.
func (s *NameServer) Remove(name string) { s.set(name, nameAnswer{code: dnsmessage.RCodeNameError}) }

// Silence has questions about a name never answered.
func (s *NameServer) Silence(name string) { s.set(name, nameAnswer{silent: true}) }

// Asked is how many questions about a name's IPv4 addresses have come.
func (s *NameServer) Asked(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[dotted(name)]
}

// Lookup asks the server for a name's addresses, by Go's resolver.
func (s *NameServer) Lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "udp", s.Addr)
		if err != nil {
			return nil, err
		}
		// Go's resolver waits for a silent server to the end of its own time, whether anybody wants the answer or not.
		context.AfterFunc(ctx, func() { _ = conn.Close() })
		return conn, nil
	}}
	return r.LookupNetIP(ctx, "ip", dotted(host)) // with the dot: no search list
}

func (s *NameServer) set(name string, a nameAnswer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names[dotted(name)] = a
}

func dotted(name string) string { return strings.TrimSuffix(name, ".") + "." }

func (s *NameServer) serve(t testing.TB, conn net.PacketConn) {
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
		answer, err := s.answer(buf[:n])
		if err != nil || answer == nil {
			continue // not a question, or one that gets no answer
		}
		if _, err := conn.WriteTo(answer, peer); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Errorf("edgetest: write DNS answer: %v", err)
		}
	}
}

func (s *NameServer) answer(query []byte) ([]byte, error) {
	var p dnsmessage.Parser
	header, err := p.Start(query)
	if err != nil {
		return nil, err
	}
	q, err := p.Question()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if q.Type == dnsmessage.TypeA {
		s.asked[q.Name.String()]++
	}
	a, known := s.names[q.Name.String()]
	switch {
	case a.silent:
		return nil, nil
	case !known:
		a.code = dnsmessage.RCodeNameError
	}
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: header.ID, Response: true, RecursionDesired: header.RecursionDesired, RecursionAvailable: true, RCode: a.code},
		Questions: []dnsmessage.Question{q},
	}
	for _, address := range a.addresses {
		rh := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 1}
		switch {
		case address.Is4() && q.Type == dnsmessage.TypeA:
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: rh, Body: &dnsmessage.AResource{A: address.As4()}})
		case address.Is6() && q.Type == dnsmessage.TypeAAAA:
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: rh, Body: &dnsmessage.AAAAResource{AAAA: address.As16()}})
		}
	}
	return m.Pack()
}
