package loadtest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"gatehouse/internal/edgetest"
)

// A seen counts what a TLS server saw.
type seen struct {
	server        *httptest.Server
	mu            sync.Mutex
	handshakes    int
	resumed       int
	curves, names map[string]int
	protos        map[string]int
}

// all ends the server, so that it has seen all that there is to see.
func (s *seen) all() *seen {
	s.server.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s
}

// secure starts a TLS server for *.test that speaks HTTP/1.1, or HTTP/2 too.
func secure(t *testing.T, http2 bool, h http.HandlerFunc) (address string, ca *edgetest.CA, s *seen) {
	t.Helper()
	ca = edgetest.NewCA(t)
	s = &seen{curves: map[string]int{}, names: map[string]int{}, protos: map[string]int{}}
	if h == nil {
		h = func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.protos[r.Proto]++
		s.mu.Unlock()
		h(w, r)
	}))
	server.EnableHTTP2 = http2
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.server = server
	server.TLS = &tls.Config{
		Certificates: []tls.Certificate{ca.Issue(t, "*.test", "127.0.0.1").TLS},
		VerifyConnection: func(state tls.ConnectionState) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.handshakes++
			s.names[state.ServerName]++
			s.curves[state.CurveID.String()]++
			if state.DidResume {
				s.resumed++
			}
			return nil
		},
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String(), ca, s
}

func TestHandshakesAreFullOrResumed(t *testing.T) {
	for _, version := range []string{"1.1", "2"} {
		for _, curve := range Curves() {
			t.Run(version+" "+curve, func(t *testing.T) {
				address, ca, s := secure(t, version == "2", nil)
				p := Plan{
					Targets: to("https://a.test/"), Connect: address, Roots: ca.Pool(), HTTP: version, Curve: curve,
					Handshakes: true, Connections: 2, Requests: 20,
				}
				r := load(t, &p)
				if r.Requests != 20 || r.Connections.Opened != 20 || r.Connections.Resumed != 0 || r.Load.TLS != "full" {
					t.Errorf("full: %d, connections %+v, errors %v", r.Requests, r.Connections, r.Errors)
				}
				p.TLS = "resumed"
				r = load(t, &p)
				s.all()
				if r.Requests != 20 || r.Connections.Resumed != 20 || s.resumed != 20 || s.handshakes != 42 || r.Load.TLS != "resumed" || !r.Load.Handshakes {
					t.Errorf("resumed: %d, connections %+v, the server saw %d resumed; errors %v", r.Requests, r.Connections, s.resumed, r.Errors)
				}
				want := map[string]string{"x25519": "X25519", "p256": "CurveP256", "x25519mlkem768": "X25519MLKEM768"}[curve]
				if len(s.curves) != 1 || s.curves[want] == 0 || s.names["a.test"] != s.handshakes {
					t.Errorf("the server saw curves %v, names %v", s.curves, s.names)
				}
			})
		}
	}
}

func TestRequestsOverTLS(t *testing.T) {
	for _, version := range []string{"1.1", "2"} {
		t.Run(version, func(t *testing.T) {
			address, ca, s := secure(t, version == "2", nil)
			p := Plan{Targets: to("https://a.test/"), Connect: address, Roots: ca.Pool(), HTTP: version, Connections: 2, Requests: 20}
			r := load(t, &p)
			if n := r.Connections.Opened; r.Requests != 20 || n < 1 || n > 2 || r.BytesIn == 0 { // one may be done before the other begins
				t.Errorf("kept: %d answers, connections %+v, errors %v", r.Requests, r.Connections, r.Errors)
			}
			p.NoKeepAlive, p.TLS = true, "resumed"
			r = load(t, &p)
			s.all()
			if r.Requests != 20 || r.Connections.Opened != 20 || r.Connections.Resumed != 20 || s.resumed != 20 {
				t.Errorf("not kept: %d answers, connections %+v, the server saw %d resumed, errors %v", r.Requests, r.Connections, s.resumed, r.Errors)
			}
			if proto := map[string]string{"1.1": "HTTP/1.1", "2": "HTTP/2.0"}[version]; s.protos[proto] < 40 {
				t.Errorf("the server saw %v", s.protos)
			}
		})
	}
}

// TestManyNamesHaveConnectionsOfTheirOwn: a server refuses a Host that is not the SNI's.
func TestManyNamesHaveConnectionsOfTheirOwn(t *testing.T) {
	for _, version := range []string{"1.1", "2"} {
		t.Run(version, func(t *testing.T) {
			address, ca, s := secure(t, version == "2", func(w http.ResponseWriter, r *http.Request) {
				if r.TLS.ServerName != r.Host {
					w.WriteHeader(http.StatusMisdirectedRequest)
				}
			})
			r := load(t, &Plan{
				Targets: to("https://{host}/"), Hosts: []string{"a.test", "b.test", "c.test"}, Connect: address, Roots: ca.Pool(),
				HTTP: version, Connections: 2, Requests: 60,
			})
			s.all()
			if r.Requests != 60 || r.Unexpected != 0 || len(s.names) != 3 {
				t.Errorf("%d answers %v, errors %v, names %v", r.Requests, r.Statuses, r.Errors, s.names)
			}
			if n := r.Connections.Opened; n > 6 {
				t.Errorf("%d connections for 2 clients and 3 names", n)
			}
		})
	}
}

func TestCertificatesAreLookedAt(t *testing.T) {
	address, ca, _ := secure(t, false, nil)
	for name, p := range map[string]*Plan{
		"another name": {Targets: to("https://a.example/"), Roots: ca.Pool()},
		"unknown CA":   {Targets: to("https://a.test/"), Roots: edgetest.NewCA(t).Pool()},
		"no HTTP/2":    {Targets: to("https://a.test/"), Roots: ca.Pool(), HTTP: "2"},
	} {
		p.Connect = address
		if _, err := Run(t.Context(), p, nil); err == nil || !strings.Contains(err.Error(), "https://") && !strings.Contains(err.Error(), "TLS with a.") && !strings.Contains(err.Error(), "HTTP/2") {
			t.Errorf("%s: %v", name, err)
		}
	}
	r := load(t, &Plan{Targets: to("https://a.example/"), Connect: address, Insecure: true, Connections: 1, Requests: 2})
	if r.Requests != 2 {
		t.Errorf("insecure: %d answers, errors %v", r.Requests, r.Errors)
	}
}

func TestHTTP2SharesConnections(t *testing.T) {
	const streams = 4
	var once sync.Once
	together := make(chan struct{})
	var waiting atomic.Int64
	address, ca, s := secure(t, true, func(_ http.ResponseWriter, _ *http.Request) {
		if waiting.Add(1) == streams {
			once.Do(func() { close(together) })
		}
		<-together // as many as there are streams must be under way at once
	})
	r := load(t, &Plan{
		Targets: to("https://a.test/"), Connect: address, Roots: ca.Pool(), HTTP: "2", Connections: 1, Streams: streams, Requests: 40,
	})
	s.all()
	if r.Requests != 40 || r.Connections.Opened != 1 || r.Load.Streams != streams || s.handshakes != 2 {
		t.Errorf("%d answers, connections %+v, %d handshakes, errors %v", r.Requests, r.Connections, s.handshakes, r.Errors)
	}
}

func TestHTTP2CarriesBodies(t *testing.T) {
	const size = 300_000 // more than a window to begin with
	sum := func(n int) string { return strings.Repeat("a", n) }
	address, ca, _ := secure(t, true, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || len(body) != size || r.ContentLength != size || r.Header.Get("X-A") != "b" {
			w.WriteHeader(http.StatusBadRequest)
		}
		fmt.Fprint(w, sum(100_000))
	})
	r := load(t, &Plan{
		Targets: []Target{{URL: "https://a.test/up?n={n}", Method: "POST", Body: []byte(sum(size)), Header: []Field{{"X-A", "b"}}}},
		Connect: address, Roots: ca.Pool(), HTTP: "2", Connections: 2, Streams: 2, Requests: 20,
	})
	if r.Requests != 20 || r.Statuses["200"] != 20 || r.BytesIn < 20*100_000 || r.BytesOut < 20*size {
		t.Errorf("%d answers %v, %d in, %d out, errors %v", r.Requests, r.Statuses, r.BytesIn, r.BytesOut, r.Errors)
	}
}

func TestHTTP2FaultsAreCountedByKind(t *testing.T) {
	stuck := make(chan struct{})
	address, ca, _ := secure(t, true, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/abort":
			panic(http.ErrAbortHandler)
		case "/slow":
			select {
			case <-stuck:
			case <-r.Context().Done():
			}
		case "/goodbye":
			w.Header().Set("Connection", "close") // becomes a GOAWAY
		}
	})
	defer close(stuck)
	p := Plan{Connect: address, Roots: ca.Pool(), HTTP: "2", Connections: 1, Streams: 2, Requests: 6}
	for path, kind := range map[string]string{"/abort": "reset", "/slow": "timeout"} {
		q := p
		q.Targets = to("https://a.test" + path)
		if path == "/slow" {
			q.Timeout = 100e6
		}
		if r := load(t, &q); r.Requests != 0 || r.Errors[kind] != 6 {
			t.Errorf("%s: %d answers, errors %v", path, r.Requests, r.Errors)
		}
	}
	p.Targets, p.Streams = to("https://a.test/goodbye"), 1
	if r := load(t, &p); r.Requests != 6 || len(r.Errors) != 0 {
		t.Errorf("GOAWAY: %d answers, errors %v", r.Requests, r.Errors)
	}
}

func TestHTTP2WithoutTLS(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto) }))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	defer s.Close()
	r := load(t, &Plan{Targets: to(s.URL), HTTP: "2", Connections: 2, Streams: 3, Requests: 30})
	if r.Requests != 30 || r.Statuses["200"] != 30 || r.Load.TLS != "none" {
		t.Errorf("%d answers %v, errors %v", r.Requests, r.Statuses, r.Errors)
	}
}

// TestServersWithoutTicketsAreSaidSo: resumed handshakes need something to resume.
func TestServersWithoutTicketsAreSaidSo(t *testing.T) {
	ca := edgetest.NewCA(t)
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{ca.Issue(t, "a.test").TLS}, SessionTicketsDisabled: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.NotFoundHandler()}
	done := make(chan error)
	go func() { done <- s.Serve(ln) }()
	defer func() {
		s.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	}()
	_, err = Run(t.Context(), &Plan{
		Targets: to("https://a.test/"), Connect: ln.Addr().String(), Roots: ca.Pool(), TLS: "resumed", Handshakes: true,
	}, nil)
	if err == nil || !strings.Contains(err.Error(), "gives no TLS session") {
		t.Errorf("got %v", err)
	}
}
