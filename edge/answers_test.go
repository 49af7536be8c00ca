package edge

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const leak = "You have an error in your SQL syntax near"

// codingBackend compresses what is asked for so, as backends do, and remembers the coding that each path was
// last asked for. The path /always is compressed whatever is asked; ?size= is how long a page is.
type codingBackend struct {
	*httptest.Server
	mu    sync.Mutex
	asked map[string][]string
	count map[string]int
}

func newCodingBackend(t *testing.T) *codingBackend {
	b := &codingBackend{asked: map[string][]string{}, count: map[string]int{}}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		b.asked[r.Host+r.URL.Path] = r.Header["Accept-Encoding"]
		b.count[r.Host+r.URL.Path]++
		b.mu.Unlock()
		text := "welcome"
		if r.URL.Path != "/page" {
			text = leak
		}
		if size, err := strconv.Atoi(r.FormValue("size")); err == nil {
			text += strings.Repeat(" ", size)
		}
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Vary", "Accept-Encoding")
		if r.URL.Path == "/always" || strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			w.Header().Set("Content-Encoding", "gzip")
			var out strings.Builder
			z := gzip.NewWriter(&out)
			_, _ = io.WriteString(z, text) // a Builder never fails
			_ = z.Close()
			text = out.String()
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(text)))
		_, _ = io.WriteString(w, text) // the client may have left
	}))
	t.Cleanup(b.Close)
	return b
}

func (b *codingBackend) of(path string) (asked []string, count int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.asked[path], b.count[path]
}

// A client that takes gzip does not turn the inspection of answers off by that.
func TestAnswersThatAreInspectedAreAskedForWithoutACoding(t *testing.T) {
	b := newCodingBackend(t)
	n := start(t, fmt.Sprintf(`vhosts:
  read.test: {backends: [%[1]s], waf: {mode: block, responses: true}}
  unread.test: {backends: [%[1]s], waf: {mode: block}}
  off.test: {backends: [%[1]s], waf: {mode: "off", responses: true}}
`, b.URL))
	const takes = "Accept-Encoding: gzip, br"
	if got := n.get(t, "read.test", "/leak", takes); got.Status != 403 || strings.Contains(string(got.Body), "SQL") {
		t.Errorf("status %d: %s", got.Status, got.Body)
	}
	for host, want := range map[string]string{"read.test": "identity", "unread.test": "gzip, br", "off.test": "gzip, br"} {
		got := n.get(t, host, "/page", takes)
		asked, _ := b.of(host + "/page")
		if got.Status != 200 || strings.Join(asked, "|") != want || (got.Header.Get("Content-Encoding") == "gzip") != (want != "identity") {
			t.Errorf("%s: status %d, the backend was asked for %q, answered %v", host, got.Status, asked, got.Header)
		}
	}
	if got := n.get(t, "read.test", "/page"); got.Status == 200 {
		if asked, _ := b.of("read.test/page"); strings.Join(asked, "|") != "identity" {
			t.Errorf("a client that says nothing: %q", asked)
		}
	}
	// What is coded all the same cannot be read: a limit that docs/operations.md names.
	if got := n.get(t, "read.test", "/always", takes); got.Status != 200 || got.Header.Get("Content-Encoding") != "gzip" {
		t.Errorf("coded unasked: status %d, %v", got.Status, got.Header)
	}
}

// The stored answer is the one that all clients get, whatever they take, since the backend was asked the same
// for all of them. Elsewhere each gets the variant that the backend has for it.
func TestAnswersWithoutACodingAreOneVariant(t *testing.T) {
	b := newCodingBackend(t)
	n := start(t, fmt.Sprintf(`vhosts:
  read.test: {backends: [%[1]s], cache: {enabled: true, ttl: 60s}, waf: {mode: block, responses: true}}
  unread.test: {backends: [%[1]s], cache: {enabled: true, ttl: 60s}, waf: {mode: block}}
`, b.URL))
	clients := [][]string{{"Accept-Encoding: gzip"}, {"Accept-Encoding: br;q=1"}, nil, {"Accept-Encoding: gzip"}}
	for host, fetched := range map[string]int{"read.test": 1, "unread.test": 3} {
		for _, fields := range clients {
			got := n.get(t, host, "/page", fields...)
			coded := host == "unread.test" && len(fields) > 0 && strings.Contains(fields[0], "gzip")
			if got.Status != 200 || (got.Header.Get("Content-Encoding") == "gzip") != coded || !coded && string(got.Body) != "welcome" {
				t.Errorf("%s, %v: status %d, %v", host, fields, got.Status, got.Header)
			}
			if got.Header.Get("Vary") != "Accept-Encoding" {
				t.Errorf("%s: Vary is %q: caches behind us would mix up what we do not", host, got.Header.Get("Vary"))
			}
		}
		if _, count := b.of(host + "/page"); count != fetched {
			t.Errorf("%s: fetched %d times, want %d", host, count, fetched)
		}
	}
}

// Answers that are dear to inspect take turns. Where none comes, they are withheld in block mode, and pass unseen in
// detect mode; small ones need none.
func TestDearAnswersTakeTurns(t *testing.T) {
	b := newCodingBackend(t)
	n := start(t, fmt.Sprintf(`vhosts:
  block.test: {tenant: block, backends: [%[1]s], waf: {mode: block, responses: true}}
  detect.test: {tenant: detect, backends: [%[1]s], waf: {mode: detect, responses: true}}
`, b.URL))
	most, _ := turnsAtOnce()
	hold := func(tenant string) (release func()) {
		var releases []func()
		for range most {
			release, ok := n.turns.take("tenant "+tenant, 1)
			if !ok {
				t.Fatal("no turn")
			}
			releases = append(releases, release)
		}
		return func() {
			for _, release := range releases {
				release()
			}
		}
	}
	dear := fmt.Sprintf("/page?size=%d", heavyBody)

	release := hold("block")
	var wg sync.WaitGroup
	wg.Go(func() {
		if got := n.get(t, "block.test", dear, "User-Agent: test", "Accept: */*"); got.Status != 200 || !strings.HasPrefix(string(got.Body), "welcome") {
			t.Errorf("whose turn came: status %d", got.Status)
		}
	})
	n.turns.wait(t, most, 1)
	if got := n.get(t, "block.test", "/page?size=9", "User-Agent: test", "Accept: */*"); got.Status != 200 {
		t.Errorf("a small answer: status %d", got.Status)
	}
	release()
	wg.Wait()
	n.turns.wait(t, 0, 0)

	n.turns.patience = time.Millisecond
	for host, status := range map[string]int{"block.test": 503, "detect.test": 200} {
		release := hold(strings.TrimSuffix(host, ".test"))
		got := n.get(t, host, dear, "User-Agent: test", "Accept: */*")
		if got.Status != status || strings.HasPrefix(string(got.Body), "welcome") != (status == 200) {
			t.Errorf("%s: status %d, want %d: %.20q", host, got.Status, status, got.Body)
		}
		release()
	}
	n.turns.wait(t, 0, 0)
	n.waitFor(t, n.access, `"vhost":"detect.test","waf":"unseen"`)
}
