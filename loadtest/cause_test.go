package loadtest

import (
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"unicode/utf8"

	"gatehouse/internal/edgetest"
)

func TestCausesAreBounded(t *testing.T) {
	for _, text := range []string{"short", "\xff\xfe", strings.Repeat("ä", 99) + "xyz", strings.Repeat("€", 1000), strings.Repeat("\xff", 300)} {
		got := bounded(text)
		if len(got) > causeMost || !utf8.ValidString(got) || got == "" {
			t.Errorf("%q: %q", text, got)
		}
		if len(text) <= causeMost && utf8.ValidString(text) && got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}

func TestTheFirstCauseIsKept(t *testing.T) {
	r := &run{shards: newShards(1)}
	r.shards = append(r.shards, newShards(1)...)
	for i, text := range []string{"third", "first", "second"} {
		r.shards[i%2].record(&sample{failed: errReset, cause: errors.New(text), ended: []int64{30, 10, 40}[i]})
	}
	r.shards[0].record(&sample{failed: errTLS, cause: errors.New("other"), ended: 50})
	if got := r.causes(); len(got) != 2 || got["reset"] != "first" || got["tls"] != "other" {
		t.Errorf("got %v", got)
	}
}

// TestTheWrongPortIsNamed: what is most likely wrong stands in the error.
func TestTheWrongPortIsNamed(t *testing.T) {
	plain := serve(t, func(http.ResponseWriter, *http.Request) {})
	hostport := strings.TrimPrefix(plain.URL, "http://")
	for says, p := range map[string]*Plan{
		"is this the port for http?": {Targets: to("https://" + hostport + "/"), Insecure: true},
		"does not begin HTTP/2":      {Targets: to(plain.URL), HTTP: "2"},
	} {
		if _, err := Run(t.Context(), p, nil); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("want %q: %v", says, err)
		}
	}
	address, ca, _ := secure(t, false, nil)
	p := &Plan{Targets: to("https://a.test/"), Connect: address, Roots: ca.Pool(), HTTP: "2"}
	if _, err := Run(t.Context(), p, nil); err == nil || !strings.Contains(err.Error(), "HTTP/2") && !strings.Contains(err.Error(), "no application protocol") {
		t.Errorf("got %v", err)
	}
}

func TestFailedHandshakesHaveTheirCause(t *testing.T) {
	ca := edgetest.NewCA(t)
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	var n atomic.Int64
	s.TLS = &tls.Config{
		Certificates: []tls.Certificate{ca.Issue(t, "a.test").TLS},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			if n.Add(1) > 1 {
				return nil, errors.New("enough")
			}
			return nil, nil
		},
	}
	s.StartTLS()
	defer s.Close()
	for _, handshakes := range []bool{true, false} {
		n.Store(0)
		r := load(t, &Plan{
			Targets: to("https://a.test/"), Connect: s.Listener.Addr().String(), Roots: ca.Pool(), Connections: 2, Requests: 4, Handshakes: handshakes,
		})
		if r.Errors["tls"] != 4 || !strings.Contains(r.Causes["tls"], "TLS with a.test:443: remote error: tls: internal error") {
			t.Errorf("errors %v, causes %v", r.Errors, r.Causes)
		}
	}
}
