package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// A WebSocket, a slow download and an upload that were opened before 1,000
// changes end byte-identical after them.
func TestOpenStreamsSurviveAThousandChanges(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	redis := edgetest.Redis(t)
	redis.CLI("rpush", "frontend:www.shop.test", "shop", b.URL)
	redis.CLI("set", "vhost:www.shop.test", `{"waf":{"mode":"off"}}`)
	n := launch(t, "routes: "+redis.URL(), nil)
	n.within("www.shop.test", 200)

	ws := edgetest.Dial(t, n.http)
	ws.UpgradeWebSocket("www.shop.test", "/ws")
	ws.WebSocketEcho("before")
	download := edgetest.Dial(t, n.http)
	download.Send("GET /drip?n=1000&every=2ms HTTP/1.1\r\nHost: www.shop.test\r\n\r\n")
	const size = 1 << 20
	upload := edgetest.Dial(t, n.http)
	upload.Send(fmt.Sprintf("POST /sink HTTP/1.1\r\nHost: www.shop.test\r\nContent-Length: %d\r\n\r\n", size))
	src := edgetest.PatternReader(size)
	send := func(n int64) {
		if _, err := io.CopyN(upload, src, n); err != nil {
			t.Fatal(err)
		}
	}
	send(size / 2)

	var commands strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&commands, "rpush frontend:s%d.test shop %s\n", i, b.URL)
		fmt.Fprintf(&commands, "set vhost:www.shop.test {\"waf\":{\"mode\":\"off\"},\"timeouts\":{\"first_byte\":\"%ds\"}}\n", 10+i%50)
	}
	redis.CLIInput(commands.String())
	n.within("s999.test", 200)

	send(size - size/2)
	if got := upload.Receive("POST"); !strings.Contains(string(got.Body), edgetest.PatternSum(size)) {
		t.Errorf("upload: status %d %s", got.Status, got.Body)
	}
	want, err := io.ReadAll(edgetest.PatternReader(1000))
	if err != nil {
		t.Fatal(err)
	}
	if got := download.Receive("GET"); !bytes.Equal(got.Body, want) {
		t.Errorf("download: %d bytes that are not the 1000 that were sent", len(got.Body))
	}
	ws.WebSocketEcho("after")
}

// Fifty readers of 11 MB at 10 KB/s: the node holds little of it, and the
// backend is made to wait.
func TestSlowReadersCostLittleMemoryAndStallTheBackend(t *testing.T) {
	t.Parallel()
	const readers, size = 50, 11 << 20
	b := startCounting(t)
	n := launch(t, "", map[string]string{"site.yaml": vhost("www.shop.test", b.url, "waf: {mode: off}")})
	n.within("www.shop.test", 200)
	for range 20 { // buffers that are made at first use are no cost of slow readers
		n.get("www.shop.test", "/bytes?n=100000")
	}
	before, sentBefore := n.rss(), b.sent.Load()
	stop := make(chan struct{})
	var all sync.WaitGroup
	for range readers {
		conn, err := net.Dial("tcp", n.http)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.(*net.TCPConn).SetReadBuffer(16 << 10); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET /bytes?n=%d HTTP/1.1\r\nHost: www.shop.test\r\n\r\n", size)
		all.Go(func() {
			defer conn.Close()
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			buf := make([]byte, 1<<10)
			for {
				select {
				case <-tick.C:
					if _, err := io.ReadFull(conn, buf); err != nil {
						t.Errorf("a slow reader was cut: %v", err)
						return
					}
				case <-stop:
					return
				}
			}
		})
	}
	// The backend's send stalls: what the kernel takes from it stops growing fast.
	var stalled int64
	edgetest.WaitFor(t, "the backend's send to stall", func() bool {
		first := b.sent.Load()
		<-time.After(time.Second)
		stalled = b.sent.Load() - first
		return b.sent.Load() > sentBefore && stalled <= readers*64<<10
	})
	held := b.sent.Load() - sentBefore
	grown := n.rss() - before
	close(stop)
	all.Wait()
	t.Logf("%d readers: RSS grew by %.1f MB; the backend had sent %.1f of %d MB and %d KB more in a second",
		readers, float64(grown)/(1<<20), float64(held)/(1<<20), readers*size>>20, stalled>>10)
	if grown > 10<<20 {
		t.Errorf("RSS grew by %d bytes, more than 10 MB", grown)
	}
	// What the readers took meanwhile, both kernels' buffers and ours.
	if held > readers*1<<20 {
		t.Errorf("the backend was not made to wait: it has sent %d KB for each reader", held/readers>>10)
	}
}

// counting is a backend with a small send buffer of its own, so that what it has
// sent is what the node has taken.
type counting struct {
	url  string
	sent atomic.Int64
}

func startCounting(t *testing.T) *counting {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &counting{url: "http://" + ln.Addr().String()}
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			size, _ := strconv.ParseInt(r.URL.Query().Get("n"), 10, 64)
			w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
			chunk := make([]byte, 16<<10)
			for at := int64(0); at < size; at += int64(len(chunk)) {
				chunk = chunk[:min(int64(len(chunk)), size-at)]
				edgetest.Pattern(chunk, at)
				if _, err := w.Write(chunk); err != nil {
					return
				}
				c.sent.Add(int64(len(chunk)))
			}
		}),
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			if err := conn.(*net.TCPConn).SetWriteBuffer(16 << 10); err != nil {
				t.Error(err)
			}
			return ctx
		},
	}
	go func() { _ = server.Serve(ln) }()
	t.Cleanup(func() { server.Close() })
	return c
}

// rss is the resident memory of the node in bytes.
func (n *node) rss() int64 {
	n.t.Helper()
	return n.memory("VmRSS:")
}
