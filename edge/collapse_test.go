package edge

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// crowd has n clients GET the target at once and returns their answers.
func crowd(t *testing.T, n *node, clients int, target string) []*edgetest.RawAnswer {
	t.Helper()
	answers := make([]*edgetest.RawAnswer, clients)
	var all sync.WaitGroup
	for i := range clients {
		c := edgetest.Dial(t, n.http)
		all.Go(func() { answers[i] = c.Do("GET", head("GET", "www.shop.test", target)+"\r\n") })
	}
	all.Wait()
	return answers
}

func handled(t *testing.T, handler http.HandlerFunc, cache string) (*node, *edgetest.Backend) {
	t.Helper()
	b := edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: handler})
	return start(t, shopSite(b.URL, "cache: {enabled: true"+cache+"}")), b
}

func TestAHundredColdClientsAreOneRequest(t *testing.T) {
	for _, size := range []int{100, 200_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			var n *node
			asked := atomic.Int32{}
			n, _ = handled(t, func(w http.ResponseWriter, _ *http.Request) {
				asked.Add(1)
				n.wantWaiting(t, 99)
				w.Header().Set("Cache-Control", "max-age=60")
				_, _ = io.CopyN(w, edgetest.PatternReader(int64(size)), int64(size))
			}, "")
			collapsed := 0
			for _, a := range crowd(t, n, 100, "/") {
				if a.Status != 200 || sumOf(a.Body) != edgetest.PatternSum(int64(size)) {
					t.Fatalf("status %d, %d bytes", a.Status, len(a.Body))
				}
				if strings.Contains(a.Header.Get("Cache-Status"), "collapsed") {
					collapsed++
				}
			}
			if asked.Load() != 1 {
				t.Errorf("%d requests to the backend", asked.Load())
			}
			if collapsed == 0 {
				t.Error("no answer says that it was collapsed")
			}
		})
	}
}

// Clients who wait for what turns out to be another variant are one request for each variant.
func TestAHundredColdClientsOfTwoVariantsAreTwoRequests(t *testing.T) {
	for _, size := range []int{10, 200_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			var n *node
			asked := atomic.Int32{}
			n, _ = handled(t, func(w http.ResponseWriter, r *http.Request) {
				if asked.Add(1) == 1 {
					edgetest.WaitFor(t, "all clients to be there", func() bool { return n.InFlight() == 100 })
				}
				w.Header().Set("Cache-Control", "max-age=60")
				w.Header().Set("Vary", "Accept-Language")
				fmt.Fprint(w, r.Header.Get("Accept-Language"), strings.Repeat("x", size))
			}, "")
			var all sync.WaitGroup
			for i := range 100 {
				c := edgetest.Dial(t, n.http)
				language := []string{"de", "fr"}[i%2]
				all.Go(func() {
					a := c.Do("GET", head("GET", "www.shop.test", "/", "Accept-Language: "+language)+"\r\n")
					if a.Status != 200 || string(a.Body) != language+strings.Repeat("x", size) {
						t.Errorf("who wants %s gets %d, %.2s, %d bytes", language, a.Status, a.Body, len(a.Body))
					}
				})
			}
			all.Wait()
			if asked.Load() != 2 {
				t.Errorf("%d requests to the backend for two variants", asked.Load())
			}
		})
	}
}

// Of many variants none waits for another's end: all go to the backend once the first answer says that it varies.
func TestColdClientsOfManyVariantsGoTogether(t *testing.T) {
	var n *node
	asked := atomic.Int32{}
	together := make(chan struct{})
	n, _ = handled(t, func(w http.ResponseWriter, r *http.Request) {
		switch asked.Add(1) {
		case 1:
			edgetest.WaitFor(t, "all clients to be there", func() bool { return n.InFlight() == 20 })
		case 20:
			close(together)
			fallthrough
		default:
			<-together
		}
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Vary", "X-Cell")
		fmt.Fprint(w, r.Header.Get("X-Cell"))
	}, "")
	var all sync.WaitGroup
	for i := range 20 {
		c := edgetest.Dial(t, n.http)
		all.Go(func() {
			if a := c.Do("GET", head("GET", "www.shop.test", "/", fmt.Sprint("X-Cell: ", i))+"\r\n"); string(a.Body) != fmt.Sprint(i) {
				t.Errorf("%d gets %q", i, a.Body)
			}
		})
	}
	all.Wait()
}

// Souin 1.7.7 gave one client's private answer to all who had waited for it.
func TestAttackPrivateAnswersAreNotSharedByWaiting(t *testing.T) {
	for _, control := range []string{"private, no-store", "private", "no-store", "no-cache", "max-age=0", "", "max-age=60|Set-Cookie"} {
		t.Run(control, func(t *testing.T) {
			var n *node
			asked := atomic.Int32{}
			all := make(chan struct{})
			n, _ = handled(t, func(w http.ResponseWriter, _ *http.Request) {
				mine := asked.Add(1)
				if mine == 1 {
					edgetest.WaitFor(t, "all clients to be there", func() bool { return n.InFlight() == 50 })
				} else { // those who were let go come all together, not one behind the other
					if mine == 50 {
						close(all)
					}
					<-all
				}
				value, cookie, _ := strings.Cut(control, "|")
				w.Header().Set("Cache-Control", value)
				w.Header().Set("ETag", fmt.Sprintf(`"%d"`, mine))
				if cookie != "" {
					w.Header().Set("Set-Cookie", fmt.Sprintf("session=%d", mine))
				}
				fmt.Fprintf(w, "page of visitor %d", mine)
			}, "")
			seen := map[string]bool{}
			for _, a := range crowd(t, n, 50, "/account") {
				if seen[string(a.Body)] {
					t.Errorf("%q was given twice", a.Body)
				}
				seen[string(a.Body)] = true
			}
			if asked.Load() != 50 {
				t.Errorf("%d requests to the backend", asked.Load())
			}
		})
	}
}

// Those who come while a body is on its way get at once what is there of it.
func TestAJoinerOfARunningFillReadsAlong(t *testing.T) {
	for _, length := range []string{"", "60000", "2000"} {
		t.Run("length "+length, func(t *testing.T) {
			total := 60_000
			if length != "" {
				fmt.Sscan(length, &total)
			}
			goOn := make(chan struct{})
			n, b := handled(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Cache-Control", "max-age=60")
				if length != "" {
					w.Header().Set("Content-Length", length)
				}
				_, _ = w.Write(make([]byte, total/2))
				w.(http.Flusher).Flush()
				<-goOn
				_, _ = w.Write(make([]byte, total-total/2))
			}, "")
			begun := func() (*bufio.Reader, *edgetest.RawConn) {
				c := edgetest.Dial(t, n.http)
				c.Send(head("GET", "www.shop.test", "/") + "\r\n")
				r := bufio.NewReader(c)
				for {
					line, err := r.ReadString('\n')
					if err != nil {
						t.Fatal(err)
					}
					if line == "\r\n" {
						break
					}
				}
				if _, err := io.CopyN(io.Discard, r, int64(total/2)); err != nil {
					t.Fatal(err)
				}
				return r, c
			}
			_, leader := begun()
			joiner, _ := begun()
			leader.Close() // its end is not the fill's
			close(goOn)
			if _, err := io.CopyN(io.Discard, joiner, int64(total-total/2)); err != nil {
				t.Fatal(err)
			}
			if got := n.hit(t); len(got.Body) != total {
				t.Errorf("afterwards: %d bytes", len(got.Body))
			}
			if got := len(b.Requests()); got > 1 {
				t.Errorf("%d requests to the backend", got)
			}
		})
	}
}

// A client that leaves before the answer's head is there does not take it from those who wait for it.
func TestALeaderWhoLeavesIsStillAnswered(t *testing.T) {
	goOn := make(chan struct{})
	asked := atomic.Int32{}
	n, _ := handled(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		select {
		case <-goOn:
		case <-r.Context().Done():
		}
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = io.WriteString(w, "page")
	}, "")
	leader := edgetest.Dial(t, n.http)
	leader.Send(head("GET", "www.shop.test", "/") + "\r\n")
	edgetest.WaitFor(t, "the backend to be asked", func() bool { return asked.Load() == 1 })
	got := make(chan *edgetest.RawAnswer)
	waiter := edgetest.Dial(t, n.http)
	go func() { got <- waiter.Do("GET", head("GET", "www.shop.test", "/")+"\r\n") }()
	edgetest.WaitFor(t, "the other to wait", func() bool { return n.InFlight() == 2 })
	leader.Close()
	for range 3 { // looks, of which the second cuts who has left
		n.waiters.look()
	}
	close(goOn)
	if a := <-got; a.Status != 200 || string(a.Body) != "page" {
		t.Errorf("status %d, %q", a.Status, a.Body)
	}
}

func TestATruncatedAnswerIsNeverStored(t *testing.T) {
	for _, size := range []int{1000, 100_000} {
		asked := atomic.Int32{}
		var n *node
		n, _ = handled(t, func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			w.Header().Set("Cache-Control", "max-age=60")
			w.Header().Set("Content-Length", fmt.Sprint(size))
			_, _ = w.Write(make([]byte, size/2))
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, "")
		for range 2 {
			c := edgetest.Dial(t, n.http)
			c.Send(head("GET", "www.shop.test", "/") + "Connection: close\r\n\r\n")
			all, _ := io.ReadAll(c)
			if strings.HasPrefix(string(all), "HTTP/1.1 200") && len(all) > size {
				t.Errorf("%d bytes of a truncated answer look whole", len(all))
			}
		}
		if asked.Load() != 2 || n.store.Stats().Entries != 0 {
			t.Errorf("size %d: asked %d times, %d entries", size, asked.Load(), n.store.Stats().Entries)
		}
	}
}

// Who waits for a request that fails is told so, and does not ask a dead backend himself.
func TestWaitersShareAFailure(t *testing.T) {
	var n *node
	asked := atomic.Int32{}
	n, _ = handled(t, func(http.ResponseWriter, *http.Request) {
		if asked.Add(1) == 1 {
			edgetest.WaitFor(t, "all clients to be there", func() bool { return n.InFlight() == 20 })
		}
		panic(http.ErrAbortHandler)
	}, "")
	for _, a := range crowd(t, n, 20, "/") {
		if a.Status != 502 {
			t.Errorf("status %d", a.Status)
		}
	}
	if asked.Load() > 10 {
		t.Errorf("the backend was asked %d times", asked.Load())
	}
}

// A stale answer serves at once, whoever asks, while one request behind it asks anew (RFC 5861 §3).
func TestStaleWhileRevalidateAddsNothing(t *testing.T) {
	asked := atomic.Int32{}
	goOn := make(chan struct{})
	n, _ := handled(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=10, stale-while-revalidate=60")
		mine := asked.Add(1)
		if mine == 1 {
			w.Header().Set("Age", "15")
		} else {
			<-goOn
		}
		fmt.Fprint(w, "version ", mine)
	}, "")
	n.get(t, "www.shop.test", "/")
	for range 5 {
		a := n.get(t, "www.shop.test", "/")
		if string(a.Body) != "version 1" || !strings.HasPrefix(a.Header.Get("Cache-Status"), "gatehouse; hit; ttl=-5; detail=stale-while-revalidate") {
			t.Errorf("%q, %q", a.Body, a.Header.Get("Cache-Status"))
		}
	}
	close(goOn)
	edgetest.WaitFor(t, "the new version", func() bool { return string(n.get(t, "www.shop.test", "/").Body) == "version 2" })
	if asked.Load() != 2 {
		t.Errorf("the backend was asked %d times", asked.Load())
	}
}

func TestStaleIfError(t *testing.T) {
	for name, failing := range map[string]http.HandlerFunc{
		"an error":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) },
		"a connection": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			fails := atomic.Bool{}
			n, _ := handled(t, func(w http.ResponseWriter, r *http.Request) {
				if fails.Load() {
					failing(w, r)
					return
				}
				w.Header().Set("Age", "15")
				w.Header().Set("ETag", `"1"`)
				control := "max-age=10, stale-if-error=60"
				if r.URL.Path == "/strict" {
					control += ", must-revalidate"
				}
				w.Header().Set("Cache-Control", control)
				fmt.Fprint(w, "page")
			}, "")
			n.get(t, "www.shop.test", "/")
			n.get(t, "www.shop.test", "/strict")
			fails.Store(true)
			for _, want := range []string{"fwd=stale", "hit; ttl=-5; detail=stale-if-error"} { // the second believes the first
				a := n.get(t, "www.shop.test", "/")
				if a.Status != 200 || string(a.Body) != "page" || !strings.Contains(a.Header.Get("Cache-Status"), want) || !strings.Contains(a.Header.Get("Cache-Status"), "stale-if-error") {
					t.Errorf("%d %q %q, want %s", a.Status, a.Body, a.Header.Get("Cache-Status"), want)
				}
			}
			if a := n.get(t, "www.shop.test", "/strict"); a.Status < 500 {
				t.Errorf("must-revalidate: %d", a.Status)
			}
		})
	}
}

// A 304 to our own question makes the stored answer good again, with the fields that it brings (RFC 9111 §3.2, §4.3.4).
func TestValidationUpdatesWhatIsStored(t *testing.T) {
	n, b := handled(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set("ETag", `"1"`)
		w.Header().Set("X-Version", fmt.Sprint(time.Now().UnixNano()))
		if r.Header.Get("If-None-Match") == `"1"` {
			w.Header().Set("Content-Type", "text/wrong")
			w.WriteHeader(304)
			return
		}
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, "page")
	}, "")
	first := n.get(t, "www.shop.test", "/")
	second := n.get(t, "www.shop.test", "/")
	if second.Status != 200 || string(second.Body) != "page" || second.Header.Get("Cache-Status") != "gatehouse; fwd=stale; fwd-status=304; stored" {
		t.Errorf("%d %q %q", second.Status, second.Body, second.Header.Get("Cache-Status"))
	}
	if second.Header.Get("X-Version") == first.Header.Get("X-Version") || second.Header.Get("Content-Type") != "text/plain" {
		t.Errorf("fields %v", second.Header)
	}
	third := n.get(t, "www.shop.test", "/", `If-None-Match: "1"`)
	if third.Status != 304 || len(third.Body) != 0 {
		t.Errorf("to the client's own condition: %d %q", third.Status, third.Body)
	}
	other := n.get(t, "www.shop.test", "/", `If-None-Match: "other"`)
	if other.Status != 200 || string(other.Body) != "page" {
		t.Errorf("to another condition: %d %q", other.Status, other.Body)
	}
	_ = b
}

// A client's condition does not keep the cache from being filled (RFC 9111 §4.3.2), and is answered as it should be.
func TestAConditionalMissFills(t *testing.T) {
	n, b := handled(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("ETag", `"1"`)
		if r.Header.Get("If-None-Match") != "" {
			w.WriteHeader(304)
			return
		}
		_, _ = w.Write(make([]byte, 100_000))
	}, "")
	first := n.get(t, "www.shop.test", "/", `If-None-Match: "1"`)
	if first.Status != 304 || len(first.Body) != 0 || first.Header.Get("Etag") != `"1"` {
		t.Errorf("%d, %d bytes, %v", first.Status, len(first.Body), first.Header)
	}
	if a := n.hit(t); a.Status != 200 || len(a.Body) != 100_000 {
		t.Errorf("then %d, %d bytes", a.Status, len(a.Body))
	}
	if got := len(b.Requests()); got > 1 {
		t.Errorf("%d requests to the backend", got)
	}
}

// hit asks until the answer is a hit: what is stored is joined until its fill has ended.
func (n *node) hit(t *testing.T) (a *edgetest.RawAnswer) {
	t.Helper()
	edgetest.WaitFor(t, "a hit", func() bool {
		a = n.get(t, "www.shop.test", "/")
		return strings.Contains(a.Header.Get("Cache-Status"), "hit")
	})
	return a
}

func TestRangesOfAHit(t *testing.T) {
	n, b := handled(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("ETag", `"1"`)
		_, _ = io.WriteString(w, "0123456789")
	}, "")
	n.get(t, "www.shop.test", "/")
	for _, c := range []struct {
		fields      []string
		status      int
		body, space string
	}{
		{[]string{"Range: bytes=2-4"}, 206, "234", "bytes 2-4/10"},
		{[]string{"Range: bytes=7-"}, 206, "789", "bytes 7-9/10"},
		{[]string{"Range: bytes=-2"}, 206, "89", "bytes 8-9/10"},
		{[]string{"Range: bytes=5-100"}, 206, "56789", "bytes 5-9/10"},
		{[]string{"Range: bytes=10-"}, 416, "", "bytes */10"},
		{[]string{"Range: bytes=4-2"}, 200, "0123456789", ""},
		{[]string{"Range: bytes=0-1,3-4"}, 200, "0123456789", ""},
		{[]string{"Range: lines=0-1"}, 200, "0123456789", ""},
		{[]string{"Range: bytes=0-1", `If-Range: "1"`}, 206, "01", "bytes 0-1/10"},
		{[]string{"Range: bytes=0-1", `If-Range: "2"`}, 200, "0123456789", ""},
		{[]string{"Range: bytes=0-1", `If-Range: W/"1"`}, 200, "0123456789", ""},
		{[]string{"Range: bytes=0-1", `If-None-Match: "1"`}, 304, "", ""},
	} {
		a := n.get(t, "www.shop.test", "/", c.fields...)
		if a.Status != c.status || string(a.Body) != c.body || a.Header.Get("Content-Range") != c.space {
			t.Errorf("%v: %d %q %q", c.fields, a.Status, a.Body, a.Header.Get("Content-Range"))
		}
	}
	_ = b
}

func TestUnsafeMethodInvalidatesWhatItsAnswerNames(t *testing.T) {
	n, _ := handled(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			w.Header().Set("Location", "http://www.shop.test/made")
			w.Header().Set("Content-Location", "/list")
			w.WriteHeader(201)
			return
		}
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = io.WriteString(w, "page")
	}, "")
	for _, target := range []string{"/made", "/list", "/other"} {
		n.get(t, "www.shop.test", target)
	}
	edgetest.Dial(t, n.http).Do("POST", head("POST", "www.shop.test", "/form", "Content-Length: 1")+"\r\nx")
	for target, hit := range map[string]bool{"/made": false, "/list": false, "/other": true} {
		if got := n.get(t, "www.shop.test", target).Header.Get("Cache-Status"); strings.Contains(got, "hit") != hit {
			t.Errorf("%s: %q", target, got)
		}
	}
}

// Of a body that is too large to be kept, a client who takes nothing holds the others for a moment, whether he leads or joins.
// Then he gets no more of it.
func TestAttackSlowClientStopsOthersDownload(t *testing.T) {
	const size = 40 << 20
	for _, slowLeads := range []bool{false, true} {
		t.Run(fmt.Sprint("leads ", slowLeads), func(t *testing.T) {
			goOn := make(chan struct{})
			n, b := handled(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Cache-Control", "max-age=60")
				_, _ = w.Write(make([]byte, 100_000))
				w.(http.Flusher).Flush()
				<-goOn
				_, _ = io.CopyN(w, edgetest.PatternReader(size), size)
			}, "")
			ask := func() (*http.Response, error) {
				r, err := http.NewRequest("GET", "http://"+n.http+"/large", nil)
				if err != nil {
					return nil, err
				}
				r.Host = "www.shop.test"
				return (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
			}
			var answers [2]*http.Response
			for i := range answers {
				var err error
				if answers[i], err = ask(); err != nil {
					t.Fatal(err)
				}
				defer answers[i].Body.Close()
			}
			if len(b.Requests()) > 1 || !strings.Contains(answers[1].Header.Get("Cache-Status"), "collapsed") {
				t.Fatalf("the second has not joined: %v", answers[1].Header)
			}
			slow, quick := answers[1], answers[0]
			if slowLeads {
				slow, quick = quick, slow
			}
			close(goOn)
			if got, err := io.Copy(io.Discard, quick.Body); err != nil || got != 100_000+size {
				t.Errorf("the quick one has %d bytes, %v", got, err)
			}
			if got, err := io.Copy(io.Discard, slow.Body); err == nil || got >= size {
				t.Errorf("the slow one has %d bytes, %v", got, err)
			}
			edgetest.WaitFor(t, "both to be done", func() bool { return n.InFlight() == 0 })
		})
	}
}
