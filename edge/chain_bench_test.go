package edge

import (
	"errors"
	"io"
	"strconv"
	"testing"
	"time"

	"gatehouse/edge/upstream"
	"gatehouse/internal/edgetest"
)

// A path is one way that a whole request takes through the chain.
type path struct {
	name, host, target string
	status             int
	says               string // stands in the answer's head
}

var paths = []path{
	{"pass1k", "pass.test", "/1k", 200, "Content-Length: 1024"},
	{"pass100k", "pass.test", "/100k", 200, "Content-Length: 102400"},
	{"hit1k", "hit.test", "/1k", 200, "Cache-Status: gatehouse; hit"},
	{"hit100k", "hit.test", "/100k", 200, "Cache-Status: gatehouse; hit"},
	{"unknown", "nobody.test", "/", 404, "text/html"},
	{"waf", "waf.test", "/1k?q=red+shoes&page=2", 200, "Content-Length: 1024"},
}

// client returns a connection on which the path's request has been answered as it
// will be from now on.
func (p path) client(t testing.TB, n *node, ca *edgetest.CA) *benchClient {
	t.Helper()
	sni := p.host
	if p.status == 404 {
		sni = "pass.test" // without a name that is served there is no connection
	}
	c := dialBench(t, n, ca, sni, benchRequest(p.host, p.target))
	for range 10 { // the first ones fill pools, and the cache
		if _, err := c.do(); err != nil {
			t.Fatal(err)
		}
	}
	c.expect(t, p.status, p.says)
	return c
}

// BenchmarkChain is a whole request over loopback, from a client that has the
// connection already to a backend and back: the processor time is that of all three.
func BenchmarkChain(b *testing.B) {
	backend := newFixedBackend(b)
	n, ca := startBenchTLS(b, backend.url)
	for _, over := range []struct {
		name string
		ca   *edgetest.CA
	}{{"plain", nil}, {"tls", ca}} {
		for _, p := range paths {
			b.Run(p.name+"/"+over.name, func(b *testing.B) {
				c := p.client(b, n, over.ca)
				b.ReportAllocs()
				for b.Loop() {
					if _, err := c.do(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// A step is one link at work on a request that has come as far as it.
type step struct {
	name, link string
	inner      string           // a further link below it; empty: none
	host       string           // empty: pass.test
	next       handler          // what is below the link
	each       func(r *request) // after the link; nil: nothing
}

// answerSize is the body's of what answering answers.
const answerSize = 1 << 10

var (
	errOfBelow  = refuse(404, "no site answers for this host")
	storable    = []upstream.Field{{Name: []byte("Content-Type"), Value: []byte("text/html")}, {Name: []byte("Cache-Control"), Value: []byte("max-age=60000")}, {Name: []byte("Age"), Value: []byte("5000")}}
	notStorable = []upstream.Field{{Name: []byte("Content-Type"), Value: []byte("text/html")}, {Name: []byte("Cache-Control"), Value: []byte("no-store")}}
)

// A kiloByte is the body of an answer that is read again and again.
type kiloByte struct{ left int }

func (k *kiloByte) Read(p []byte) (int, error) {
	if k.left == 0 {
		return 0, io.EOF
	}
	n := min(len(p), k.left)
	k.left -= n
	return n, nil
}

func (k *kiloByte) Close() error { return nil }

// answering answers as a backend would, with 1 KiB and room for more fields.
func answering(fields []upstream.Field) handler {
	room := append(make([]upstream.Field, 0, 16), fields...)
	body := &kiloByte{}
	return func(r *request) error {
		body.left = answerSize
		r.response = response{status: 200, fields: room, length: answerSize, stream: body, asked: time.Now(), received: time.Now()}
		return nil
	}
}

// steps are the links, outermost first, and the chain's end.
func steps() []step {
	pass := answering(notStorable)
	turn := 0
	return []step{
		{name: "observe", link: "observe", next: pass, each: func(r *request) { // with what it does after the last byte
			r.account()
			r.srv.metrics.inFlight.Dec()
		}},
		{name: "finishBody", link: "finishBody", next: pass},
		{name: "errorPages", link: "errorPages", next: pass},
		{name: "errorPages/404", link: "errorPages", next: func(*request) error { return errOfBelow }},
		{name: "selectVhost", link: "selectVhost", next: pass},
		{name: "allowAddress", link: "allowAddress", next: pass},
		{name: "limitRate/off", link: "limitRate", next: pass},
		{name: "limitRate/on", link: "limitRate", host: "limited.test", next: pass},
		{name: "shedLoad", link: "shedLoad", next: pass},
		{name: "inspectRequest/off", link: "inspectRequest", next: pass},
		{name: "inspectRequest/detect", link: "inspectRequest", host: "detect.test", next: pass},
		{name: "compress/off", link: "compress", next: pass},
		{name: "compress/on", link: "compress", host: "coded.test", next: pass},
		{name: "serveCached/off", link: "serveCached", next: pass},
		{name: "serveCached/hit", link: "serveCached", host: "hit.test", next: answering(storable)},
		{name: "serveCached/miss", link: "serveCached", host: "hit.test", next: pass},
		{name: "serveCached/stored", link: "serveCached", host: "hit.test", next: answering(storable), each: func(r *request) {
			turn++
			r.Target = "/" + strconv.Itoa(turn) // the next one is new
		}},
		{name: "inspectResponse/off", link: "inspectResponse", next: pass},
		// A transaction is over with its answer, so each takes the request's inspection, too.
		{name: "inspectResponse/on", link: "inspectRequest", inner: "inspectResponse", host: "both.test", next: pass},
		{name: "forward", link: "forward"},
	}
}

// start makes what runs the step once, on a server of its own.
func (s step) start(t testing.TB) func() error {
	t.Helper()
	backend := newFixedBackend(t)
	n := startBench(t, backend.url)
	host := s.host
	if host == "" {
		host = "pass.test"
	}
	run := n.forward
	if s.inner != "" {
		s.next = n.link(t, s.inner)(s.next)
	}
	if s.link != "forward" {
		run = n.link(t, s.link)(s.next)
	}
	r := n.hold(t, s.link, benchRequest(host, "/1k"))
	scratch := make([]byte, 4<<10)
	return func() error {
		if err := run(r); err != nil {
			return err
		}
		if s.each != nil {
			s.each(r)
		}
		return r.again(scratch)
	}
}

// again takes the answer and makes r as it was before the link.
func (r *request) again(scratch []byte) error {
	for r.response.stream != nil {
		if _, err := r.response.stream.Read(scratch); err == io.EOF {
			break
		} else if err != nil {
			return err
		}
	}
	for _, f := range r.atEnd {
		f()
	}
	r.response.discard()
	if r.response.status != 200 && r.response.status != 404 {
		return errors.New("answered " + strconv.Itoa(r.response.status))
	}
	r.response = response{}
	r.closeWAF()
	r.leaveBackend()
	if r.outbound != nil {
		r.outbound.release()
		r.outbound = nil
	}
	r.scratch, r.atEnd = r.scratch[:0], r.atEnd[:0]
	r.cached = cached{key: r.cached.key, peeked: r.cached.peeked}
	return nil
}

// BenchmarkLink is each link alone, around a next that answers at once. What is not a
// link's own (taking the answer's body, the WAF's end) is in all of them: that of
// allowAddress is the least.
func BenchmarkLink(b *testing.B) {
	for _, s := range steps() {
		b.Run(s.name, func(b *testing.B) {
			run := s.start(b)
			b.ReportAllocs()
			for b.Loop() {
				if err := run(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
