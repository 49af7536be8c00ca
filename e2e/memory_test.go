package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// A cache that is set larger than the memory that there is, filled at full
// speed: the node gives way and never dies.
func TestACacheLargerThanMemoryIsNoDeath(t *testing.T) {
	const (
		memory = 180 << 20
		object = 500 << 10
	)
	t.Parallel()
	b := edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		w.Header().Set("Content-Length", strconv.Itoa(object))
		_, _ = w.Write(make([]byte, object))
	})})
	n := prepare(t, "cache: {memory: 512MiB}", map[string]string{
		"site.yaml": vhost("www.shop.test", b.URL, "waf: {mode: off}", "cache: {enabled: true}"),
	})
	n.environ = []string{"GOMEMLIMIT=" + strconv.Itoa(memory)}
	n.start()
	n.within("www.shop.test", 200)
	if got := n.gauge("gatehouse_memory_limit_bytes"); got != memory {
		t.Fatalf("the node knows of %.0f bytes, want %d", got, memory)
	}
	idle := n.gauge("gatehouse_memory_used_bytes")

	l := fillCache(t, n, object, 2*memory)
	edgetest.WaitFor(t, "the pressure to end", func() bool { return n.gauge("gatehouse_overload_level") == 0 })
	peak := n.memory("VmHWM:")
	t.Logf("used %.0f MB idle; %d answers 200, %d 503, %d failed; peak of RSS %d MB; the cache may hold %.0f MB and holds %.0f",
		idle/(1<<20), l.good.Load(), l.shed.Load(), l.failed.Load(), peak>>20,
		n.gauge("gatehouse_cache_limit_bytes")/(1<<20), n.gauge("gatehouse_cache_bytes")/(1<<20))

	if l.good.Load()*object < 2*memory {
		t.Errorf("only %d answers: they do not fill the memory", l.good.Load())
	}
	if l.other.Load() > 0 {
		t.Errorf("%d answers were neither whole nor 503", l.other.Load())
	}
	if !strings.Contains(n.stderr.String(), `msg="memory pressure" now=`) {
		t.Error("no level was reached")
	}
	if got := n.gauge("gatehouse_cache_limit_bytes"); got >= memory {
		t.Errorf("the cache may still hold %.0f bytes", got)
	}
	if peak > memory*3/2 {
		t.Errorf("the node took %d bytes, with a limit of %d", peak, memory)
	}
	if got := n.get("www.shop.test", "/after"); got.Status != 200 {
		t.Errorf("status %d after the pressure", got.Status)
	}
	n.stop()
}

// load counts how requests ended.
type load struct{ good, shed, failed, other atomic.Int64 }

// fillCache asks for objects that are never the same, with 8 clients, for six seconds, or until it got so many bytes, which takes
// longer on a loaded machine.
func fillCache(t *testing.T, n *node, size int, least int64) *load {
	t.Helper()
	l := &load{}
	transport := &http.Transport{MaxIdleConnsPerHost: 8}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	var all sync.WaitGroup
	for c := range 8 {
		all.Go(func() {
			begin := time.Now()
			for i := 0; time.Since(begin) < 6*time.Second || l.good.Load()*int64(size) < least && time.Since(begin) < time.Minute; i++ {
				l.ask(client, fmt.Sprintf("http://%s/%d/%d", n.http, c, i), size)
			}
		})
	}
	all.Wait()
	return l
}

func (l *load) ask(client *http.Client, url string, size int) {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		l.other.Add(1)
		return
	}
	req.Host = "www.shop.test"
	resp, err := client.Do(req)
	if err != nil { // a connection that is refused, as it may be
		l.failed.Add(1)
		return
	}
	defer resp.Body.Close()
	took, err := io.Copy(io.Discard, resp.Body)
	switch {
	case resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") != "":
		l.shed.Add(1)
	case resp.StatusCode == http.StatusOK && err == nil && took == int64(size):
		l.good.Add(1)
	default:
		l.other.Add(1)
	}
}

// gauge is the value of a metric without labels.
func (n *node) gauge(name string) float64 {
	n.t.Helper()
	v, err := strconv.ParseFloat(n.metric(name), 64)
	if err != nil {
		n.t.Fatalf("%s: %v", name, err)
	}
	return v
}

// memory is a line of the node's /proc/PID/status in bytes.
func (n *node) memory(field string) int64 {
	n.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.cmd.Process.Pid))
	if err != nil {
		n.t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, field); ok {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				n.t.Fatal(err)
			}
			return kb << 10
		}
	}
	n.t.Fatalf("no %s in the status of the process", field)
	return 0
}
