package edge

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/cache"
	"gatehouse/internal/edgetest"
)

// waitingClients counts the requests that wait for another one, or for a body of the cache.
func (n *node) waitingClients() (count int) {
	n.waiters.each(func(w *waiting) {
		if _, is := w.who.(*cached); is {
			count++
		}
	})
	return count
}

// wantWaiting waits until so many do.
func (n *node) wantWaiting(t *testing.T, count int) {
	t.Helper()
	edgetest.WaitFor(t, fmt.Sprint(count, " requests to wait for another"), func() bool { return n.waitingClients() == count })
}

// visit sends a GET, whose answer nobody reads yet.
func (n *node) visit(t *testing.T, target string, fields ...string) *edgetest.RawConn {
	t.Helper()
	c := edgetest.Dial(t, n.http)
	c.Send(head("GET", "www.shop.test", target, fields...) + "\r\n")
	return c
}

// ask is visit and returns a channel for the answer, nil if there is no whole one.
func (n *node) ask(t *testing.T, target string, fields ...string) <-chan *edgetest.RawAnswer {
	t.Helper()
	c := n.visit(t, target, fields...)
	out := make(chan *edgetest.RawAnswer, 1)
	go func() {
		defer close(out)
		if a, err := c.TryReceive("GET"); err == nil {
			out <- a
		}
	}()
	return out
}

// wantPage waits for an answer 200 with that body and Cache-Status.
func wantPage(t *testing.T, c <-chan *edgetest.RawAnswer, body, status string) {
	t.Helper()
	if a := <-c; a == nil || a.Status != 200 || string(a.Body) != body || !strings.Contains(a.Header.Get("Cache-Status"), status) {
		t.Errorf("answer %+v, want %q, %s", a, body, status)
	}
}

// A held backend answers when it is told to.
type held struct {
	asked atomic.Int32
	goOn  chan struct{}
}

// wait waits to be told, or for the end of the request.
func (h *held) wait(r *http.Request) {
	select {
	case <-h.goOn:
	case <-r.Context().Done():
	}
}

// whileHeld serves a site whose backend answers with answer once it is told to.
func whileHeld(t *testing.T, answer http.HandlerFunc) (*node, *held) {
	t.Helper()
	h := &held{goOn: make(chan struct{})}
	n, _ := handled(t, func(w http.ResponseWriter, r *http.Request) {
		h.asked.Add(1)
		h.wait(r)
		answer(w, r)
	}, "")
	return n, h
}

// clocked is handled with a cache whose clock can be put forward. One entry of it may have five megabytes.
func clocked(t *testing.T, handler http.HandlerFunc, settings string, further ...string) (*node, func(time.Duration)) {
	t.Helper()
	ahead := atomic.Int64{}
	store, err := cache.New(cache.Options{MaxBytes: 512 << 20, Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	b := edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: handler})
	n := start(t, shopSite(b.URL, append(further, "cache: {enabled: true"+settings+"}")...), func(o *Options) { o.Cache = store })
	n.store = store
	return n, func(d time.Duration) { ahead.Add(int64(d)) }
}

func page(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "max-age=60")
	w.Header().Set("ETag", `"1"`)
	_, _ = io.WriteString(w, "page")
}

func TestAWaiterWhoLeavesHarmsNobody(t *testing.T) {
	n, b := whileHeld(t, page)
	leader := n.ask(t, "/")
	edgetest.WaitFor(t, "the backend to be asked", func() bool { return b.asked.Load() == 1 })
	leaving := n.visit(t, "/", "X-Who: leaves")
	stays := n.ask(t, "/")
	n.wantWaiting(t, 2)
	leaving.Close()
	edgetest.WaitFor(t, "it to be noticed", func() bool {
		n.Server.waiters.look()
		return n.InFlight() == 2
	})
	n.waitFor(t, n.access, `"status":499`)
	n.wantWaiting(t, 1)
	close(b.goOn)
	wantPage(t, leader, "page", "stored")
	wantPage(t, stays, "page", "collapsed")
	if n := b.asked.Load(); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// The connection of a leader and of all who wait for him: the backend is let go of.
func TestAllWhoWaitLeave(t *testing.T) {
	gone := make(chan struct{})
	n, b := whileHeld(t, func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		close(gone)
	})
	leader := n.visit(t, "/")
	edgetest.WaitFor(t, "the backend to be asked", func() bool { return b.asked.Load() == 1 })
	waiter := n.visit(t, "/")
	n.wantWaiting(t, 1)
	leader.Close()
	waiter.Close()
	edgetest.WaitFor(t, "both to be noticed", func() bool {
		n.Server.waiters.look()
		return n.InFlight() == 0
	})
	<-gone
}

// The end of the server is the end of all who wait.
func TestCloseWhileRequestsWait(t *testing.T) {
	n, b := whileHeld(t, page)
	var answers []<-chan *edgetest.RawAnswer
	for i := range 6 {
		c := n.ask(t, "/")
		answers = append(answers, c)
		if i == 0 {
			edgetest.WaitFor(t, "the backend to be asked", func() bool { return b.asked.Load() == 1 })
		}
	}
	n.wantWaiting(t, 5)
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	if left := n.InFlight(); left != 0 {
		t.Errorf("%d requests are left", left)
	}
	for _, c := range answers {
		if a := <-c; a != nil && a.Status != 503 {
			t.Errorf("status %d", a.Status)
		}
	}
	if n.waitingClients() != 0 {
		t.Error("somebody still waits")
	}
}

// A request with credentials waits for nobody, and nobody for it (RFC 9111 §3.5).
func TestAttackCredentialsStayApart(t *testing.T) {
	h := &held{goOn: make(chan struct{})}
	n, _ := handled(t, func(w http.ResponseWriter, r *http.Request) {
		h.asked.Add(1)
		who := r.Header.Get("Authorization")
		if who == "" || r.URL.Path == "/second" {
			h.wait(r)
		}
		w.Header().Set("Cache-Control", "max-age=60")
		fmt.Fprint(w, "page of ", who)
	}, "")
	anonymous := n.ask(t, "/")
	edgetest.WaitFor(t, "the backend to be asked", func() bool { return h.asked.Load() == 1 })
	own := n.ask(t, "/", "Authorization: Basic YTpi") // while the other is held
	wantPage(t, own, "page of Basic YTpi", "detail=authorization")
	own = n.ask(t, "/second", "Authorization: Basic YTpi")
	edgetest.WaitFor(t, "the backend to be asked", func() bool { return h.asked.Load() == 3 })
	other := n.ask(t, "/second")
	edgetest.WaitFor(t, "the backend to be asked beside it", func() bool { return h.asked.Load() == 4 })
	if n.waitingClients() != 0 {
		t.Error("somebody waits")
	}
	close(h.goOn)
	wantPage(t, anonymous, "page of ", "stored")
	wantPage(t, own, "page of Basic YTpi", "detail=authorization")
	wantPage(t, other, "page of ", "stored")
	own = n.ask(t, "/", "Authorization: Basic YTpi")
	wantPage(t, own, "page of Basic YTpi", "fwd=request")
}

// Cookies do not part requests; an answer that sets one, or that is private, is its asker's alone.
func TestCookiesAndWaiting(t *testing.T) {
	var n *node
	asked := atomic.Int32{}
	n, _ = handled(t, func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			n.wantWaiting(t, 4)
		}
		w.Header().Set("Cache-Control", "max-age=60")
		if r.URL.Path == "/login" {
			w.Header().Set("Set-Cookie", "session="+r.Header.Get("Cookie"))
		}
		fmt.Fprint(w, "page ", r.Header.Get("Cookie"))
	}, "")
	for path, requests := range map[string]int32{"/page": 1, "/login": 5} {
		asked.Store(0)
		var answers []<-chan *edgetest.RawAnswer
		for i := range 5 {
			c := n.ask(t, path, fmt.Sprint("Cookie: ", i))
			answers = append(answers, c)
		}
		seen := map[string]bool{}
		for _, c := range answers {
			if a := <-c; a == nil || a.Status != 200 {
				t.Errorf("%s: %+v", path, a)
			} else {
				seen[string(a.Body)] = true
			}
		}
		if asked.Load() != requests || len(seen) != int(requests) {
			t.Errorf("%s: %d requests, %d different answers; want %d", path, asked.Load(), len(seen), requests)
		}
	}
}

// Where it is known by which fields answers vary, nobody waits for another variant: each asks about what is stored of his own.
func TestStaleVariantsAreAskedForSideBySide(t *testing.T) {
	var n *node
	asked, conditional := atomic.Int32{}, atomic.Int32{}
	again := atomic.Bool{}
	var advance func(time.Duration)
	n, advance = clocked(t, func(w http.ResponseWriter, r *http.Request) {
		language := r.Header.Get("Accept-Language")
		if again.Load() && asked.Add(1) == 1 {
			n.wantWaiting(t, 1)
			edgetest.WaitFor(t, "the other variants to be asked for meanwhile", func() bool { return asked.Load() == 3 })
		}
		w.Header().Set("Vary", "Accept-Language")
		w.Header().Set("ETag", `"`+language+`"`)
		w.Header().Set("Cache-Control", "max-age=10")
		if again.Load() { // the store's clock is ahead of that
			w.Header().Set("Cache-Control", "max-age=60")
		}
		if r.Header.Get("If-None-Match") == `"`+language+`"` {
			conditional.Add(1)
			w.WriteHeader(304)
			return
		}
		io.WriteString(w, language)
	}, "")
	for _, language := range []string{"en", "de"} {
		n.get(t, "www.shop.test", "/", "Accept-Language: "+language)
	}
	advance(20 * time.Second)
	again.Store(true)
	leader := n.ask(t, "/", "Accept-Language: en")
	edgetest.WaitFor(t, "the backend to be asked", func() bool { return asked.Load() == 1 })
	answers := map[string]<-chan *edgetest.RawAnswer{}
	for _, language := range []string{"en", "de", "fr"} {
		answers[language] = n.ask(t, "/", "Accept-Language: "+language)
	}
	wantPage(t, leader, "en", "fwd=stale; fwd-status=304; stored")
	wantPage(t, answers["en"], "en", "fwd=stale; collapsed")
	wantPage(t, answers["de"], "de", "fwd-status=304; stored")
	wantPage(t, answers["fr"], "fr", "fwd=vary-miss; stored")
	if asked.Load() != 3 || conditional.Load() != 2 {
		t.Errorf("%d requests, %d of them conditional", asked.Load(), conditional.Load())
	}
}

// What the firewall withholds is withheld from each, at once and not in a row.
func TestAttackWithheldAnswersDoNotQueue(t *testing.T) {
	const clients = 12
	var n *node
	asked := atomic.Int32{}
	b := edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) == 1 {
			n.wantWaiting(t, clients-1)
		} else {
			edgetest.WaitFor(t, "all others to ask, too", func() bool { return asked.Load() == clients })
		}
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, leak)
	})})
	n = start(t, shopSite(b.URL, "cache: {enabled: true}", "waf: {mode: block, responses: true}"))
	for _, a := range crowd(t, n, clients, "/") {
		if a.Status != 403 || strings.Contains(string(a.Body), "SQL") {
			t.Errorf("status %d, %q", a.Status, a.Body)
		}
	}
	if n.store.Stats().Entries != 0 {
		t.Error("it is stored")
	}
}

// An answer that was inspected is one for all who wait.
func TestInspectedAnswersAreShared(t *testing.T) {
	var n *node
	asked := atomic.Int32{}
	b := edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		n.wantWaiting(t, 9)
		page(w, r)
	})})
	n = start(t, shopSite(b.URL, "cache: {enabled: true}", "waf: {mode: block, responses: true}"))
	collapsed := 0
	for _, a := range crowd(t, n, 10, "/") {
		if a.Status != 200 || string(a.Body) != "page" {
			t.Errorf("status %d, %q", a.Status, a.Body)
		}
		if strings.Contains(a.Header.Get("Cache-Status"), "collapsed") {
			collapsed++
		}
	}
	if asked.Load() != 1 || collapsed != 9 {
		t.Errorf("%d requests, %d collapsed", asked.Load(), collapsed)
	}
}

// A panic on the way of the one is not the others': they ask anew.
func TestAPanicOfALeaderIsNotItsWaiters(t *testing.T) {
	b := edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(page)})
	n := start(t, shopSite(b.URL, "waf: {mode: off}", "cache: {enabled: true}"))
	first := sync.Once{}
	n.handle = chain(n.links(), func(r *request) error {
		first.Do(func() {
			n.wantWaiting(t, 3)
			panic("a bug in a link")
		})
		return n.forward(r)
	})
	statuses := map[int]int{}
	for _, a := range crowd(t, n, 4, "/") {
		statuses[a.Status]++
	}
	if statuses[500] != 1 || statuses[200] != 3 || b.Deliveries("") != 1 {
		t.Errorf("statuses %v, %d requests", statuses, b.Deliveries(""))
	}
}

// A failingStream is a stream that fails as told behind its first bytes.
type failingStream struct {
	io.Reader
	with error // nil: a panic
}

func (f *failingStream) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	switch {
	case err != io.EOF:
		return n, err
	case f.with == nil:
		panic("a bug in a stream")
	}
	return n, f.with
}

func (f *failingStream) Close() error { return nil }

// What goes wrong in a body goes wrong for those who read it, and for nobody later.
func TestABodyThatFails(t *testing.T) {
	for name, with := range map[string]error{"error": errors.New("reset"), "panic": nil} {
		for _, length := range []int64{1000, 100_000, -1} {
			for _, condition := range []string{"X-No: condition", `If-None-Match: "1"`} { // read for a client, or for nobody
				t.Run(fmt.Sprint(name, " ", length, " ", condition), func(t *testing.T) {
					b := edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(page)})
					n := start(t, shopSite(b.URL, "waf: {mode: off}", "cache: {enabled: true}"))
					fails := atomic.Bool{}
					fails.Store(true)
					n.handle = chain(n.links(), func(r *request) error {
						err := n.forward(r)
						if err == nil && fails.Load() {
							r.response.length = length
							r.response.stream = struct {
								io.Reader
								io.Closer
							}{&failingStream{strings.NewReader("half"), with}, r.response.stream}
						}
						return err
					})
					answer := n.ask(t, "/", condition)
					if a := <-answer; a != nil && a.Status == 200 {
						t.Errorf("a whole answer: %d, %d bytes", a.Status, len(a.Body))
					}
					edgetest.WaitFor(t, "the request to end", func() bool { return n.InFlight() == 0 })
					fails.Store(false)
					edgetest.WaitFor(t, "the next one to be answered", func() bool { // a fill for nobody may still be ending
						a := <-n.ask(t, "/")
						return a != nil && a.Status == 200 && string(a.Body) == "page"
					})
				})
			}
		}
	}
}
