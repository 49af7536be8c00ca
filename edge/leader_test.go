package edge

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/cache"
	"gatehouse/internal/edgetest"
)

// hasty is handled with a cache whose requests wait for each other for a moment only.
func hasty(t *testing.T, handler http.HandlerFunc) *node {
	t.Helper()
	store, err := cache.New(cache.Options{MaxBytes: 64 << 20, Patience: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	b := edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: handler})
	n := start(t, shopSite(b.URL, "cache: {enabled: true}"), func(o *Options) { o.Cache = store })
	n.store = store
	return n
}

// joined has a hostile request lead, so many others wait for it, and returns their answers.
func joined(t *testing.T, n *node, asked *atomic.Int32, clients int, hostile string) (own *edgetest.RawAnswer, answers []*edgetest.RawAnswer) {
	t.Helper()
	leader := n.ask(t, "/", hostile)
	edgetest.WaitFor(t, "the backend to be asked", func() bool { return asked.Load() == 1 })
	var all []<-chan *edgetest.RawAnswer
	for range clients {
		all = append(all, n.ask(t, "/"))
	}
	for _, c := range all {
		answers = append(answers, <-c)
	}
	return <-leader, answers
}

// What one request's field does to its answer is not everybody's error.
func TestAttackALeaderThatFailsFailsAlone(t *testing.T) {
	const clients = 100
	for name, choke := range map[string]http.HandlerFunc{
		"the backend closes": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"a head too large": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Reflected", strings.Repeat("x", 100<<10))
		},
		"garbage": func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				fmt.Fprint(conn, "HTTP/9 what\r\n\r\n")
				conn.Close()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			var n *node
			asked := &atomic.Int32{}
			n, _ = handled(t, func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				if r.Header.Get("X-Choke") != "" {
					n.wantWaiting(t, clients)
					choke(w, r)
					return
				}
				page(w, r)
			}, "")
			own, answers := joined(t, n, asked, clients, "X-Choke: 1")
			if own == nil || own.Status != 502 {
				t.Errorf("the hostile one gets %+v", own)
			}
			for _, a := range answers {
				if a == nil || a.Status != 200 || string(a.Body) != "page" {
					t.Fatalf("one who waited gets %+v", a)
				}
			}
			if asked.Load() != 2 {
				t.Errorf("%d requests to the backend", asked.Load())
			}
		})
	}
}

// A backend that is dead for all is not asked by all who wait.
func TestADeadBackendIsAskedTwiceForAHundredWaiters(t *testing.T) {
	const clients = 100
	var n *node
	asked := &atomic.Int32{}
	n, _ = handled(t, func(http.ResponseWriter, *http.Request) {
		if asked.Add(1) == 1 {
			n.wantWaiting(t, clients)
		}
		panic(http.ErrAbortHandler)
	}, "")
	_, answers := joined(t, n, asked, clients, "X-A: 1")
	for _, a := range answers {
		if a == nil || a.Status != 502 {
			t.Fatalf("%+v", a)
		}
	}
	if asked.Load() != 2 {
		t.Errorf("%d requests to the backend", asked.Load())
	}
	if taken := n.retries(t, "taken"); taken != 1 {
		t.Errorf("%v repetitions are counted", taken)
	}
}

// A backend that says nothing to one request has the others wait for a bounded time.
func TestAttackASilentLeaderDoesNotHoldUpOthers(t *testing.T) {
	over := make(chan struct{})
	defer close(over)
	asked := &atomic.Int32{}
	n := hasty(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.Header.Get("X-Choke") != "" {
			select {
			case <-over:
			case <-r.Context().Done():
			}
			return
		}
		page(w, r)
	})
	leader := n.visit(t, "/", "X-Choke: 1")
	edgetest.WaitFor(t, "the backend to be asked", func() bool { return asked.Load() == 1 })
	var all []<-chan *edgetest.RawAnswer
	for range 50 {
		all = append(all, n.ask(t, "/"))
	}
	for _, c := range all {
		if a := <-c; a == nil || a.Status != 200 || string(a.Body) != "page" {
			t.Fatalf("%+v", a)
		}
	}
	if asked.Load() > 10 { // two, unless this machine is slow
		t.Errorf("%d requests to the backend", asked.Load())
	}
	leader.Close()
}

// A body that stops is not joined by those who come later, though its leader has left and more than half is there.
func TestAttackASilentBodyDoesNotHoldUpOthers(t *testing.T) {
	over := make(chan struct{})
	defer close(over)
	asked := &atomic.Int32{}
	n := hasty(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Content-Length", "100000")
		if asked.Add(1) > 1 {
			_, _ = w.Write(make([]byte, 100_000))
			return
		}
		_, _ = w.Write(make([]byte, 60_000))
		w.(http.Flusher).Flush()
		select {
		case <-over:
		case <-r.Context().Done():
		}
	})
	leader := n.visit(t, "/")
	if _, err := leader.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	leader.Close()
	for range 3 {
		n.Server.waiters.look()
	}
	edgetest.WaitFor(t, "somebody to get the page", func() bool {
		select {
		case a := <-n.ask(t, "/"):
			return a != nil && len(a.Body) == 100_000
		case <-time.After(time.Second): // it has joined what stops
			return false
		}
	})
	edgetest.WaitFor(t, "the page to be stored", func() bool { return n.store.Stats().Entries == 1 })
	if asked.Load() > 10 {
		t.Errorf("%d requests to the backend", asked.Load())
	}
}

// A page that takes its time is a few requests, not one for each client.
func TestASlowPageIsFewRequests(t *testing.T) {
	goOn := make(chan struct{})
	asked := &atomic.Int32{}
	n := hasty(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		<-goOn
		page(w, r)
	})
	var all []<-chan *edgetest.RawAnswer
	for range 100 {
		all = append(all, n.ask(t, "/"))
	}
	edgetest.WaitFor(t, "another to be sent beside the first, and one more", func() bool { return asked.Load() >= 3 })
	close(goOn)
	for _, c := range all {
		wantPage(t, c, "page", "")
	}
	if asked.Load() > 10 {
		t.Errorf("%d requests to the backend", asked.Load())
	}
}

// A refusal that one request's size has caused does not part those who ask for the same, now or later.
func TestAttackALargeRequestMarksNothing(t *testing.T) {
	const clients = 50
	for name, field := range map[string]string{"large": "X-Large: " + strings.Repeat("x", 5<<10), "small": "X-Large: 1"} {
		t.Run(name, func(t *testing.T) {
			var n *node
			asked := &atomic.Int32{}
			n, _ = handled(t, func(w http.ResponseWriter, r *http.Request) {
				first := asked.Add(1) == 1
				if r.Header.Get("X-Large") != "" {
					if first {
						n.wantWaiting(t, clients)
					}
					w.WriteHeader(431)
					return
				}
				if r.URL.Path == "/" {
					w.Header().Set("Cache-Control", "max-age=60")
				}
				fmt.Fprint(w, "page")
			}, "")
			own, answers := joined(t, n, asked, clients, field)
			if own == nil || own.Status != 431 {
				t.Errorf("the large one gets %+v", own)
			}
			for _, a := range answers {
				if a == nil || a.Status != 200 {
					t.Fatalf("%+v", a)
				}
			}
			if asked.Load() != 2 {
				t.Errorf("%d requests to the backend", asked.Load())
			}
		})
	}
}

// Requests that lead and bring nothing for others starve nobody.
func TestAttackManyLargeRequestsStarveNobody(t *testing.T) {
	asked := &atomic.Int32{}
	n, _ := handled(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.Header.Get("X-Large") != "" {
			w.WriteHeader(431)
			return
		}
		page(w, r)
	}, "")
	over := make(chan struct{})
	var hostile sync.WaitGroup
	for range 10 {
		c := edgetest.Dial(t, n.http)
		hostile.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
					c.Do("GET", head("GET", "www.shop.test", "/", "X-Large: "+strings.Repeat("x", 5<<10))+"\r\n")
				}
			}
		})
	}
	for range 20 {
		wantPage(t, n.ask(t, "/"), "page", "")
		n.store.Purge(cache.Purge{Kind: cache.PurgeAll})
	}
	close(over)
	hostile.Wait()
}

// A 304 about something else than what is stored answers nobody: all of it is asked for, once.
func TestA304ThatDoesNotFitIsAskedAgain(t *testing.T) {
	for name, forever := range map[string]bool{"once": false, "always": true} {
		t.Run(name, func(t *testing.T) {
			asked := &atomic.Int32{}
			n, _ := handled(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Cache-Control", "no-cache")
				w.Header().Set("ETag", `"1"`)
				if asked.Add(1) > 1 && (forever || r.Header.Get("If-None-Match") != "") {
					w.Header().Set("ETag", `"2"`)
					w.WriteHeader(304)
					return
				}
				fmt.Fprint(w, "page ", asked.Load())
			}, "")
			n.get(t, "www.shop.test", "/")
			got := n.get(t, "www.shop.test", "/", `If-None-Match: "2"`)
			switch {
			case forever && got.Status != 502, !forever && (got.Status != 200 || string(got.Body) != "page 3" || !strings.Contains(got.Header.Get("Cache-Status"), "stored")):
				t.Errorf("%d %q, %s", got.Status, got.Body, got.Header.Get("Cache-Status"))
			case asked.Load() != 3:
				t.Errorf("%d requests to the backend", asked.Load())
			}
		})
	}
}
