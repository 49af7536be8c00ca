package edge

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	dto "github.com/prometheus/client_model/go"

	"gatehouse/edge/overload"
	"gatehouse/internal/edgetest"
)

// takes is what a browser of 2026 sends.
const takes = "Accept-Encoding: gzip, deflate, br, zstd"

// pageText is a page of about 40 KB.
var pageText = strings.Repeat("<li><a href=\"/shop/item\">A thing of beauty</a> 12,50</li>\n", 700)

// pageBackend answers with pageText, or with the query's body. ?chunked sends it without a length; every other name in the
// query is a field; a request with the entity tag that it sends, strong or weak, gets 304.
func pageBackend(t testing.TB) *edgetest.Backend {
	return edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, code := pageText, 200
		h := w.Header()
		h.Set("Content-Type", "text/html")
		for name, values := range r.URL.Query() {
			switch name {
			case "body":
				body = values[0]
			case "code":
				code, _ = strconv.Atoi(values[0])
			case "chunked":
			default:
				h[http.CanonicalHeaderKey(name)] = values
			}
		}
		if tag := h.Get("Etag"); tag != "" && strings.TrimPrefix(r.Header.Get("If-None-Match"), "W/") == tag {
			h.Del("Content-Type")
			w.WriteHeader(304)
			return
		}
		if !r.URL.Query().Has("chunked") {
			h.Set("Content-Length", strconv.Itoa(len(body)))
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body) // the client may have left
	})})
}

// uncoded decodes a body as a browser does.
func uncoded(t testing.TB, coding string, body io.Reader) (string, error) {
	t.Helper()
	switch coding {
	case "gzip":
		z, err := gzip.NewReader(body)
		if err != nil {
			return "", err
		}
		body = z
	case "br":
		body = brotli.NewReader(body)
	case "zstd":
		z, err := zstd.NewReader(body, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return "", err
		}
		defer z.Close()
		body = z
	}
	text, err := io.ReadAll(body)
	return string(text), err
}

// plainText is the body of an answer without its coding.
func plainText(t testing.TB, a *edgetest.RawAnswer) string {
	t.Helper()
	text, err := uncoded(t, a.Header.Get("Content-Encoding"), bytes.NewReader(a.Body))
	if err != nil {
		t.Errorf("%s: %v", a.Header.Get("Content-Encoding"), err)
	}
	return text
}

func startCoded(t testing.TB, further string, adjust ...func(*Options)) (*node, *edgetest.Backend) {
	t.Helper()
	b := pageBackend(t)
	return start(t, shopSite(b.URL, "compress: on", further)+"  plain.test:\n    backends: ["+b.URL+"]\n", adjust...), b
}

func TestAnswersGetTheCodingThatTheClientTakes(t *testing.T) {
	n, b := startCoded(t, "")
	for accept, want := range map[string]string{
		takes: "zstd", "Accept-Encoding: gzip, br": "br", "Accept-Encoding: gzip": "gzip", "Accept-Encoding: identity, gzip;q=0": "",
		"Accept-Encoding: zstd;q=0, br;q=0.1, *;q=0": "br", "X-None: 1": "",
	} {
		for _, target := range []string{"/?etag=%22v1%22&accept-ranges=bytes&x-other=kept", "/?etag=%22v1%22&accept-ranges=bytes&x-other=kept&chunked"} {
			got := n.get(t, "www.shop.test", target, accept)
			if coding := got.Header.Get("Content-Encoding"); got.Status != 200 || coding != want || plainText(t, got) != pageText {
				t.Errorf("%s: %s: status %d, coding %q of %d bytes", accept, target, got.Status, coding, len(got.Body))
			}
			if got.Header.Get("Vary") != "Accept-Encoding" || got.Header.Get("X-Other") != "kept" {
				t.Errorf("%s: %s: %v", accept, target, got.Header)
			}
			tag, ranges := `"v1"`, "bytes"
			if want != "" {
				tag, ranges = `W/"v1"`, ""
			}
			if got.Header.Get("Etag") != tag || got.Header.Get("Accept-Ranges") != ranges || want != "" && (got.Header.Get("Content-Length") != "" || len(got.Body) > len(pageText)/10) {
				t.Errorf("%s: %s: %d bytes, %v", accept, target, len(got.Body), got.Header)
			}
		}
		if seen := b.Requests(); !strings.HasPrefix(accept, "X") && seen[len(seen)-1].Header.Get("Accept-Encoding") != strings.TrimPrefix(accept, "Accept-Encoding: ") {
			t.Errorf("%s: without a cache the backend is asked for what the client takes, not %v", accept, seen[len(seen)-1].Header)
		}
	}
	if got := n.get(t, "plain.test", "/", takes); got.Header.Get("Content-Encoding") != "" || got.Header.Get("Vary") != "" || string(got.Body) != pageText {
		t.Errorf("a vhost without compress: %v", got.Header)
	}
}

func TestAnswersWithoutACodedFormPassUntouched(t *testing.T) {
	n, _ := startCoded(t, "")
	for name, target := range map[string]string{
		"a picture":      "/?content-type=image%2Fpng",
		"coded already":  "/?content-encoding=br",
		"no-transform":   "/?cache-control=no-transform",
		"a digest":       "/?content-digest=sha-256%3D:x:",
		"a part":         "/?code=206&content-range=bytes+0-40599%2F90000",
		"short":          "/?body=short",
		"no type":        "/?content-type=",
		"nothing at all": "/?code=204&body=",
	} {
		want := n.get(t, "plain.test", target, takes)
		got := n.get(t, "www.shop.test", target, takes)
		for _, a := range []*edgetest.RawAnswer{want, got} {
			a.Header.Del("Date")
			a.Header.Del("X-Request-Id")
		}
		if got.Status != want.Status || fmt.Sprint(got.Header) != fmt.Sprint(want.Header) || !bytes.Equal(got.Body, want.Body) {
			t.Errorf("%s: %d %v with compress, %d %v without", name, got.Status, got.Header, want.Status, want.Header)
		}
	}
	if got := n.get(t, "www.shop.test", "/", takes, "Cache-Control: no-transform"); got.Header.Get("Content-Encoding") != "" || string(got.Body) != pageText {
		t.Errorf("a client that says no-transform: %v", got.Header)
	}
	if got := n.get(t, "www.shop.test", "/?vary=Cookie,+Accept-Encoding", takes); strings.Join(got.Header["Vary"], "|") != "Cookie, Accept-Encoding" {
		t.Errorf("Vary had it already: %q", got.Header["Vary"])
	}
	if got := n.get(t, "www.shop.test", "/?vary=Cookie", takes); strings.Join(got.Header["Vary"], "|") != "Cookie|Accept-Encoding" {
		t.Errorf("Vary gains it: %q", got.Header["Vary"])
	}
}

// RFC 9110 §9.3.2: the fields are those of the answer to GET.
func TestHEADHasTheFieldsOfTheCodedForm(t *testing.T) {
	n, _ := startCoded(t, "")
	c := edgetest.Dial(t, n.http)
	got := c.Do("HEAD", head("HEAD", "www.shop.test", "/?etag=%22v1%22", takes)+"\r\n")
	if got.Header.Get("Content-Encoding") != "zstd" || got.Header.Get("Etag") != `W/"v1"` || got.Header.Get("Vary") != "Accept-Encoding" || got.Header.Get("Content-Length") != "" || len(got.Body) > 0 {
		t.Errorf("%v, %d bytes", got.Header, len(got.Body))
	}
	if got := c.Do("GET", head("GET", "www.shop.test", "/", takes)+"\r\n"); plainText(t, got) != pageText {
		t.Errorf("the next request: %v", got.Header)
	}
}

// A client asks again by the weak tag that it got from us; the backend knows the strong one (RFC 9110 §13.1.2: weak
// comparison), and the client must find its own in the answer (RFC 9111 §4.3.4).
func TestRevalidationByTheCodedFormsTag(t *testing.T) {
	n, b := startCoded(t, "")
	const target = "/?etag=%22v1%22"
	tag := n.get(t, "www.shop.test", target, takes).Header.Get("Etag")
	got := n.get(t, "www.shop.test", target, takes, "If-None-Match: "+tag)
	if got.Status != 304 || got.Header.Get("Etag") != `W/"v1"` || got.Header.Get("Vary") != "Accept-Encoding" || got.Header.Get("Content-Encoding") != "" {
		t.Errorf("status %d, %v", got.Status, got.Header)
	}
	seen := b.Requests()
	if asked := seen[len(seen)-1].Header.Get("If-None-Match"); asked != `W/"v1"` {
		t.Errorf("the backend was asked by %q", asked)
	}
	if got := n.get(t, "www.shop.test", target, "If-None-Match: \"v1\""); got.Status != 304 || got.Header.Get("Etag") != `"v1"` || got.Header.Get("Vary") != "" {
		t.Errorf("by the strong tag: status %d, %v", got.Status, got.Header)
	}
	if got := n.get(t, "plain.test", target, "If-None-Match: W/\"v1\""); got.Header.Get("Etag") != `"v1"` {
		t.Errorf("a vhost without compress: %v", got.Header)
	}
	// The cache answers as the backend would.
	stored, b := startCoded(t, "cache: {enabled: true, ttl: 60s}")
	stored.get(t, "www.shop.test", target, takes)
	got = stored.get(t, "www.shop.test", target, takes, "If-None-Match: "+tag)
	if got.Status != 304 || got.Header.Get("Etag") != `W/"v1"` || got.Header.Get("Vary") != "Accept-Encoding" || len(b.Requests()) != 1 {
		t.Errorf("by the cache: status %d, %v, %d requests", got.Status, got.Header, len(b.Requests()))
	}
	// The tag of what a PUT has made is for If-Match, which takes no weak ones.
	put := edgetest.Dial(t, n.http).Do("PUT", head("PUT", "www.shop.test", target, takes, "Content-Length: 0")+"\r\n")
	if put.Header.Get("Etag") != `"v1"` || put.Header.Get("Content-Encoding") != "zstd" {
		t.Errorf("PUT: %v", put.Header)
	}
}

// There are no chunks in HTTP/1.0: the connection's end is the body's.
func TestHTTP10GetsACodedBodyWithoutChunks(t *testing.T) {
	n, _ := startCoded(t, "")
	c := edgetest.Dial(t, n.http)
	c.Send("GET / HTTP/1.0\r\nHost: www.shop.test\r\nConnection: keep-alive\r\nAccept-Encoding: gzip\r\n\r\n")
	got := c.Receive("GET")
	if got.Header.Get("Content-Encoding") != "gzip" || plainText(t, got) != pageText || !got.Close {
		t.Errorf("%v, close %v", got.Header, got.Close)
	}
	c.WantClosed()
}

// A backend's answer that was cut is one that the client sees cut.
func TestACutAnswerIsNeverAWholeCodedOne(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL, "compress: on")+"  stored.test:\n    backends: ["+b.URL+"]\n    compress: on\n    cache: {enabled: true, ttl: 60s}\n")
	raw := "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
	for name, answer := range map[string]string{
		"length": raw + "Content-Length: 100000\r\n\r\n" + pageText,
		"chunks": raw + "Transfer-Encoding: chunked\r\n\r\n" + chunkOf(pageText),
	} {
		for _, host := range []string{"www.shop.test", "stored.test"} {
			for _, accept := range []string{"zstd", "br", "gzip"} {
				for _, proto := range []string{"HTTP/1.1", "HTTP/1.0"} {
					c := edgetest.Dial(t, n.http)
					c.Send(fmt.Sprintf("GET /raw %s\r\nHost: %s\r\nAccept-Encoding: %s\r\nContent-Length: %d\r\n\r\n%s", proto, host, accept, len(answer), answer))
					got, err := c.TryReceive("GET")
					if err == nil {
						t.Errorf("%s, %s, %s, %s: it looks whole: %d, %d bytes", name, host, accept, proto, got.Status, len(got.Body))
					}
					if got != nil && len(got.Body) > 0 {
						if _, err := uncoded(t, accept, bytes.NewReader(got.Body)); err == nil {
							t.Errorf("%s, %s, %s, %s: the coding says that it is whole", name, host, accept, proto)
						}
					}
				}
			}
		}
	}
	n.waitFor(t, n.access, "backend body")
	edgetest.WaitFor(t, "all encoders to be given back", func() bool { return n.encoders.all.Load() == 0 })
}

// What a backend has sent reaches the client before there is more, in every coding: an event stream goes on being one.
func TestEventStreamsAreNotHeldBack(t *testing.T) {
	next := make(chan string)
	b := edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for event := range next {
			if _, err := io.WriteString(w, event); err != nil || http.NewResponseController(w).Flush() != nil || strings.Contains(event, "last") {
				return
			}
		}
	})})
	n := start(t, shopSite(b.URL, "compress: on", "cache: {enabled: true}"))
	for _, coding := range []string{"zstd", "br", "gzip"} {
		c := edgetest.Dial(t, n.http)
		if err := c.SetDeadline(time.Now().Add(edgetest.Patience)); err != nil {
			t.Fatal(err)
		}
		c.Send(head("GET", "www.shop.test", "/", "Accept-Encoding: "+coding) + "\r\n")
		next <- "data: first\n\n"
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || resp.Header.Get("Content-Encoding") != coding {
			t.Fatal(err, resp)
		}
		plain, in := io.Pipe()
		go func() {
			var from io.Reader
			switch coding {
			case "gzip":
				from, err = gzip.NewReader(resp.Body)
			case "br":
				from = brotli.NewReader(resp.Body)
			case "zstd":
				var z *zstd.Decoder
				z, err = zstd.NewReader(resp.Body, zstd.WithDecoderConcurrency(1))
				from = z
				defer z.Close()
			}
			if err == nil {
				_, err = io.Copy(in, from)
			}
			in.CloseWithError(err)
		}()
		lines := bufio.NewReader(plain)
		for _, event := range []string{"first", "second", "last"} {
			if event != "first" {
				next <- "data: " + event + "\n\n"
			}
			if line, err := lines.ReadString('\n'); err != nil || line != "data: "+event+"\n" {
				t.Fatalf("%s: %q, %v, want %s", coding, line, err, event)
			}
			if _, err := lines.ReadString('\n'); err != nil {
				t.Fatal(coding, err)
			}
		}
		if _, err := lines.ReadByte(); err != io.EOF {
			t.Errorf("%s: the end: %v", coding, err)
		}
	}
}

// The cache keeps the form without a coding, whoever asked first, and whatever else the backend has.
func TestOneUncodedFormIsStored(t *testing.T) {
	b := newCodingBackend(t)
	n := start(t, fmt.Sprintf("vhosts:\n  www.shop.test: {backends: [%s], compress: on, cache: {enabled: true, ttl: 60s}}\n", b.URL))
	for _, target := range []string{"/page?size=9000", "/page?size=200000"} { // one is collected before it is stored, one as it passes
		want := "welcome" + strings.Repeat(" ", map[string]int{"/page?size=9000": 9000, "/page?size=200000": 200_000}[target])
		first := n.get(t, "www.shop.test", target, takes)
		if first.Header.Get("Content-Encoding") != "zstd" || plainText(t, first) != want || len(first.Body) > 500 || !strings.Contains(first.Header.Get("Cache-Status"), "fwd=uri-miss") {
			t.Errorf("%s: %d bytes, %v", target, len(first.Body), first.Header)
		}
		if asked, _ := b.of("www.shop.test/page"); strings.Join(asked, "|") != "identity" {
			t.Errorf("%s: the backend was asked for %q", target, asked)
		}
		n.waitFor(t, n.access, strings.TrimPrefix(target, "/page?"))
		for _, fields := range [][]string{nil, {takes}, {"Accept-Encoding: gzip"}} {
			got := n.get(t, "www.shop.test", target, fields...)
			if !strings.Contains(got.Header.Get("Cache-Status"), "gatehouse; hit") || plainText(t, got) != want || got.Header.Get("Vary") != "Accept-Encoding" {
				t.Errorf("%s, %v: %v", target, fields, got.Header)
			}
		}
	}
	if _, count := b.of("www.shop.test/page"); count != 2 {
		t.Errorf("fetched %d times", count)
	}
}

// Inspection reads what the backend sent, and what was inspected leaves coded.
func TestInspectedAnswersAreCompressed(t *testing.T) {
	b := newCodingBackend(t)
	n := start(t, fmt.Sprintf("vhosts:\n  read.test: {backends: [%s], compress: on, waf: {mode: block, responses: true}}\n", b.URL))
	browser := []string{takes, "User-Agent: test", "Accept: */*"}
	if got := n.get(t, "read.test", "/leak?size=2000", browser...); got.Status != 403 {
		t.Errorf("a leak: status %d", got.Status)
	}
	got := n.get(t, "read.test", "/page?size=200000", browser...)
	if got.Header.Get("Content-Encoding") != "zstd" || len(plainText(t, got)) != 200_000+len("welcome") {
		t.Errorf("a page: %d, %v", got.Status, got.Header)
	}
}

// uncodedCount is the value of one of the server's counters.
func uncodedCount(t testing.TB, n *node, reason string) float64 {
	t.Helper()
	var m dto.Metric
	if err := n.metrics.uncoded.WithLabelValues(reason).Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

// Memory for encoders is bounded, in all and for a tenant: beyond it answers are not compressed, and that is all.
func TestEncodersAreBounded(t *testing.T) {
	var level atomic.Int32 // of overload.Level
	n, _ := startCoded(t, "cache: {enabled: true, ttl: 60s}", func(o *Options) { o.Overload = func() overload.Level { return overload.Level(level.Load()) } })
	tenant := &n.metrics.tenants.meter("shop").encoders
	turn := 0
	plain := func(reason string) {
		t.Helper()
		before := uncodedCount(t, n, reason)
		for _, how := range []string{"", "&chunked"} { // at hand by the cache, and as it streams
			turn++
			got := n.get(t, "www.shop.test", fmt.Sprintf("/?x=%d%s", turn, how), takes)
			if got.Header.Get("Content-Encoding") != "" || got.Header.Get("Vary") != "Accept-Encoding" || string(got.Body) != pageText {
				t.Errorf("%s: %v", reason, got.Header)
			}
		}
		if now := uncodedCount(t, n, reason); now != before+2 {
			t.Errorf("%s: counted %v", reason, now-before)
		}
	}
	n.encoders.all.Store(mostEncoders)
	plain(uncodedBusy)
	n.encoders.all.Store(0)
	tenant.Store(mostEncodersTenant)
	plain(uncodedBusy)
	tenant.Store(0)
	level.Store(int32(overload.NoKeepAlive))
	plain(uncodedMemory)
	level.Store(int32(overload.Normal))
	if got := n.get(t, "www.shop.test", "/?x=last", takes); got.Header.Get("Content-Encoding") != "zstd" || plainText(t, got) != pageText {
		t.Errorf("then: %v", got.Header)
	}
	edgetest.WaitFor(t, "all encoders to be given back", func() bool { return n.encoders.all.Load() == 0 && tenant.Load() == 0 })
}

// A client that leaves in the middle of an answer leaves no encoder behind.
func TestAClientThatLeavesGivesItsEncoderBack(t *testing.T) {
	b := edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		for {
			if _, err := io.Copy(w, io.LimitReader(edgetest.PatternReader(1<<40), 1<<20)); err != nil {
				return
			}
		}
	})})
	n := start(t, shopSite(b.URL, "compress: on"))
	c := edgetest.Dial(t, n.http)
	c.Send(head("GET", "www.shop.test", "/", takes) + "\r\n")
	if _, err := io.ReadFull(c, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if n.encoders.all.Load() != 1 {
		t.Errorf("%d encoders while it streams", n.encoders.all.Load())
	}
	c.Close()
	edgetest.WaitFor(t, "the encoder to be given back", func() bool { return n.encoders.all.Load() == 0 })
}
