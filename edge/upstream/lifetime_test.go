package upstream

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// closesIdle is a backend that closes connections which were idle for that long.
func closesIdle(t testing.TB, limit time.Duration, posts *atomic.Int64) *httptest.Server {
	b := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil && r.Method == "POST" {
			posts.Add(1)
		}
		_, _ = io.WriteString(w, "ok")
	}))
	b.Config.IdleTimeout = limit
	b.Start()
	t.Cleanup(b.Close)
	return b
}

// The backend closes idle connections after 100 ms, and the POSTs come just then. A look before the
// write cannot tell: one in a few dozen would meet the closing and be lost.
func TestNoPOSTIsLostOnABackendThatClosesIdleConnections(t *testing.T) {
	const limit, clients, each = 100 * time.Millisecond, 20, 10
	var posts atomic.Int64
	b := closesIdle(t, limit, &posts)
	var wg sync.WaitGroup
	for client := range clients {
		p := newPool(t, Options{Address: b.URL})
		wg.Go(func() {
			for i := range each {
				body := fmt.Sprint("order ", i)
				if i%3 == 2 {
					body = strings.Repeat("x", smallBody+1) // streamed
				}
				if _, got, err := fetch(t, p, post(body)); err != nil || got != "ok" {
					t.Errorf("POST %d of client %d is lost: %v", i, client, err)
				}
				time.Sleep(limit + time.Duration(client-clients/2)*50*time.Microsecond) // the attack
			}
		})
	}
	wg.Wait()
	if n := posts.Load(); n != clients*each {
		t.Errorf("%d POSTs arrived, want %d", n, clients*each)
	}
}

func TestPOSTsUseKeptConnectionsOnceTheBackendHasProvenItsPatience(t *testing.T) {
	b := answering(t, okAnswer)
	p := poolTo(t, b)
	wantOK(t, p, post("a"))
	c := p.idle[0]
	c.asked, c.idled = time.Now().Add(-time.Second), time.Now().Add(-time.Second)
	wantOK(t, p, post("a")) // too old for what is known, but looking at it teaches
	if s := p.Stats(); s.Dials != 2 || s.Spared != 1 || s.Idle != 2 || p.idle[0] != c {
		t.Fatalf("%+v", s)
	}
	for range 20 {
		wantOK(t, p, post("a"))
	}
	if s := p.Stats(); s.Dials != 2 || s.Reused != 20 {
		t.Errorf("%+v: POSTs do not share a connection", s)
	}
	wantOK(t, p, get("/"))
	if s := p.Stats(); s.Dials != 2 {
		t.Errorf("%+v", s)
	}
}

// The time that an answer waits for a slow client is idle time to the backend, too.
func TestAgeCountsFromTheRequest(t *testing.T) {
	b := answering(t, okAnswer)
	p := poolTo(t, b)
	p.lifetime.saw(true, time.Minute, time.Now())
	wantOK(t, p, post("a"))
	p.idle[0].asked = time.Now().Add(-31 * time.Second) // read by a slow client, and put back just now
	wantOK(t, p, post("a"))
	if s := p.Stats(); s.Dials != 2 || s.Spared != 1 {
		t.Errorf("%+v", s)
	}
}

func TestLifetime(t *testing.T) {
	const ms = time.Millisecond
	var l lifetime
	now := time.Unix(1000, 0)
	want := func(age time.Duration, covered bool) {
		t.Helper()
		if l.covers(age) != covered {
			t.Errorf("age %v after having proven %v: covered %v", age, time.Duration(l.proven.Load()), !covered)
		}
	}
	want(0, false)
	l.saw(true, 20*ms, now)
	want(9*ms, true)
	want(10*ms, false)
	l.saw(true, ms, now) // says less than what is known
	want(9*ms, true)
	l.saw(false, 30*ms, now) // no news: it waits for 20 ms, and not for 30
	want(9*ms, true)
	l.saw(true, 70*ms, now.Add(time.Second)) // closed late: no promise
	want(14*ms, true)
	want(15*ms, false)
	l.saw(false, 25*ms, now.Add(2*time.Second)) // a contradiction
	want(0, false)
	l.saw(true, 70*ms, now.Add(3*time.Second))
	want(12*ms, true)
	want(13*ms, false)
	l.saw(true, time.Second, now.Add(13*time.Second)) // none was found closed for long
	want(499*ms, true)
	l.saw(false, 5*ms, now.Add(14*time.Second))
	want(0, false)
}
