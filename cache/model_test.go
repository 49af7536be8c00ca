package cache

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// The model: clients of a few keys, two of which share a hash, do what package edge does with a store, one step at a time.
// Reads run on their own goroutines; a step is over when nobody can move any more, and then everything is looked at.

const (
	modelMaxBody = 64
	modelStep    = 20_000   // what a source says at once
	shortage     = 16 << 20 // what all fills together may have
)

var errLeader = errors.New("what the leader got")

// A modelResponse is a response of the model, and the template of its entry.
type modelResponse struct {
	id     int
	key    string
	foo    string // what it varies by; empty: it does not
	shared bool
	whole  bool   // its body came to its end, as far as the source is concerned
	body   []byte // all that has come of it
	asked  int    // the step of its request's lookup
}

// data is n bytes of a body from off on: no other response has them.
func (p *modelResponse) data(off, n int) string {
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(p.id*131 + (off+i)*7 + (off+i)>>8)
	}
	return string(out)
}

// A modelClient is a request.
type modelClient struct {
	req    *Request
	key    string
	lookup Lookup
	asked  int
	flight *Flight // that it leads, or waits for
	leads  bool
}

// A modelFill is a fill and its source.
type modelFill struct {
	*Fill
	src      *script
	resp     *modelResponse
	length   int
	ended    bool // the source has said its last word
	storedAt int  // the step by which it was stored
	tasks    []<-chan struct{}
	unwanted int // reads of the source when nobody wanted more of what is too large
}

// A modelReader is a reader, and what it has got.
type modelReader struct {
	*Reader
	of     *modelFill
	got    []byte
	result chan modelRead // of the Read that runs; nil: none does
	held   time.Time      // since when it waits for a slower one
	over   bool           // it has seen the end, or an error
	closed bool
}

type modelRead struct {
	data []byte
	err  error
	late bool // the reader had left before
}

// begin has the reader read up to so many bytes.
func (r *modelReader) begin(most int) {
	buffer, result := make([]byte, most), make(chan modelRead, 1)
	r.result = result
	r.f.mu.Lock()
	late := r.left
	r.f.mu.Unlock()
	go func() {
		n, err := r.Read(buffer)
		result <- modelRead{buffer[:n], err, late}
	}()
}

type model struct {
	*rapid.T
	s           *Store
	ahead       *atomic.Int64 // of the clock
	step        int
	responses   int
	short       bool // now
	wasShort    bool
	focused     bool           // on bodies: all are asked for alike and may be shared
	alone       []*modelClient // go to the backend: leaders, too
	waiting     []*modelClient
	posts       []*modelClient // unsafe requests that are under way
	fills       []*modelFill
	readers     []*modelReader
	invalidated map[string]int
}

// TestModelOfFillsAndFlights does everything.
func TestModelOfFillsAndFlights(t *testing.T) {
	runModel(t, false, func(m *model) map[string]func(*rapid.T) {
		return map[string]func(*rapid.T){
			"request": m.request, "request again": m.request, "request once more": m.request, "rejoin": m.rejoin, "whole": m.answerWhole, "fill": m.answerFill, "fill another": m.answerFill,
			"give up": m.giveUp, "take": m.take, "take another": m.take, "take one more": m.take, "leave": m.leave, "refresh": m.refresh, "stale": m.onError,
			"feed": m.feed, "feed more": m.feed, "feed well": m.feedWell, "read": m.read, "read more": m.read, "read on": m.read,
			"reader leaves": m.readerLeaves, "reader closes": m.readerCloses, "another closes": m.readerCloses, "gather": m.gather, "finish": m.finishFill,
			"post": m.post, "post answered": m.posted, "invalidate": m.invalidate, "purge": m.purge, "resize": m.resize, "time": m.pass, "memory": m.memory,
		}
	})
}

// TestModelOfBodies has many readers of few bodies, most of which are too large to be stored.
func TestModelOfBodies(t *testing.T) {
	runModel(t, true, func(m *model) map[string]func(*rapid.T) {
		return map[string]func(*rapid.T){
			"request": m.request, "request again": m.request, "fill": m.answerFill, "take": m.take, "take another": m.take, "leave": m.leave,
			"feed": m.feed, "feed more": m.feed, "feed well": m.feedWell, "read": m.read, "read more": m.read, "read on": m.read, "read and read": m.read,
			"reader leaves": m.readerLeaves, "reader closes": m.readerCloses, "gather": m.gather, "finish": m.finishFill, "time": m.pass, "memory": m.memory,
		}
	})
}

// runModel runs a model with the actions that it is given.
func runModel(t *testing.T, focused bool, actions func(*model) map[string]func(*rapid.T)) {
	t.Helper()
	runs := map[string]string{"rapid.checks": "300", "rapid.steps": "300"}
	if raceEnabled {
		runs["rapid.checks"] = "60"
	}
	flag.Visit(func(f *flag.Flag) { delete(runs, f.Name) })
	for name, value := range runs {
		if err := flag.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(struct{ rapid.TB }{t}, func(rt *rapid.T) { // without t.Deadline, which a bubble has not
			m := &model{T: rt, focused: focused, ahead: &atomic.Int64{}, invalidated: map[string]int{}}
			var err error
			m.s, err = New(Options{MaxBytes: MinMaxBytes, Now: func() time.Time { return epoch.Add(time.Duration(m.ahead.Load())) }})
			if err != nil {
				rt.Fatal(err)
			}
			defer m.s.Close()
			hash := m.s.hash
			m.s.hash = func(key []byte) uint64 {
				if key[len(key)-1] == 'b' {
					key = append(bytes.Clone(key[:len(key)-1]), 'a') // collides
				}
				return hash(key)
			}
			defer m.release()
			steps := actions(m)
			steps[""] = func(*rapid.T) { m.check() }
			rt.Repeat(steps)
			m.drain()
		})
	})
}

// one picks one of a list, or skips the step.
func one[T any](m *model, list []T) T {
	if len(list) == 0 {
		m.Skip("nobody")
	}
	return list[rapid.IntRange(0, len(list)-1).Draw(m.T, "which")]
}

func remove[T comparable](list []T, of T) []T {
	return slices.DeleteFunc(list, func(x T) bool { return x == of })
}

// request looks a request up, and has it join.
func (m *model) request(*rapid.T) {
	m.step++
	c := &modelClient{key: rapid.SampledFrom([]string{"/a", "/a", "/a", "/b", "/c"}).Draw(m.T, "key"), asked: m.step}
	if m.focused {
		c.key = "/a"
		m.s.setMark(m.s.hash(get("/a").Key), false)
	}
	fields := []string{"Foo", rapid.SampledFrom([]string{"1", "1", "2"}).Draw(m.T, "foo")}
	if field := rapid.SampledFrom([]string{"", "", "", "", "", "", "Authorization", "no-cache", "max-age=0", "min-fresh=50"}).Draw(m.T, "field"); m.focused {
		fields[1] = "1"
	} else if field == "Authorization" {
		fields = append(fields, field, "x")
	} else if field != "" {
		fields = append(fields, "Cache-Control", field)
	}
	c.req = get(c.key, fields...)
	c.req.Vhost = m.s.Vhost("shop", c.key)
	c.lookup = m.s.Lookup(c.req, m.policy())
	m.join(c)
}

func (m *model) policy() *Policy { return &Policy{MaxBody: modelMaxBody} }

// join does what serveCached does after a lookup.
func (m *model) join(c *modelClient) {
	if c.lookup.Entry == nil && c.lookup.MayStore {
		var leads bool
		seq := c.req.seq
		c.flight, leads = m.s.Join(c.req, &c.lookup)
		if c.req.seq != seq { // it was looked up anew
			m.step++
			c.asked = m.step
		}
		if c.flight != nil && has(c.req.Header, "Authorization") {
			m.Fatal("a request with credentials is part of a flight")
		}
		if c.flight != nil && !leads {
			m.waiting = append(m.waiting, c)
			return
		}
		c.leads = leads
	}
	if m.wantHit(c, c.lookup.Entry, nil); c.lookup.Entry == nil {
		m.alone = append(m.alone, c)
	}
	m.wantStale(&c.lookup)
}

// wantHit checks that e, if any, may answer c; r reads its body, or it has it.
func (m *model) wantHit(c *modelClient, e *Entry, r *Reader) {
	if e == nil {
		return
	}
	p := e.Template.(*modelResponse)
	switch {
	case p.key != c.key:
		m.Fatalf("%s gets the response to %s", c.key, p.key)
	case p.foo != "" && p.foo != string(c.req.Header.PeekAll("Foo")[0]):
		m.Fatalf("gets the variant %q", p.foo)
	case c.asked > m.invalidated[c.key] && p.asked < m.invalidated[c.key]:
		m.Fatal("gets what was asked for before the last invalidation")
	case has(c.req.Header, "Authorization"):
		m.Fatal("a request with credentials gets a stored response that does not permit it")
	case r == nil && (!p.whole || !bytes.Equal(e.Body, p.body) || len(e.Body) > modelMaxBody):
		m.Fatalf("%d bytes that are not the response, whole: %v", len(e.Body), p.whole)
	case r != nil && !p.shared:
		m.Fatal("a waiter gets a response that may not be shared")
	}
}

// wantStale checks that what may be validated, or serve while the backend fails, has its body.
func (m *model) wantStale(l *Lookup) {
	if e := l.Stale; e != nil {
		if p := e.Template.(*modelResponse); !p.whole || !bytes.Equal(e.Body, p.body) {
			m.Fatalf("the stale response has %d bytes of %d", len(e.Body), len(p.body))
		}
	}
}

// rejoin has one who goes alone look and join anew.
func (m *model) rejoin(*rapid.T) {
	c := one(m, m.alone)
	if c.leads {
		m.Skip("it leads")
	}
	m.step++
	m.alone = remove(m.alone, c)
	c.asked = m.step
	c.lookup = m.s.Lookup(c.req, m.policy())
	m.join(c)
}

// modelKinds are the Cache-Control, and further fields, of responses.
var modelKinds = [][]string{
	{"Cache-Control", "max-age=60"},
	{"Cache-Control", "max-age=60", "ETag", `"1"`, "Vary", "Foo"},
	{"Cache-Control", "max-age=10, stale-while-revalidate=20, stale-if-error=40", "ETag", `"1"`},
	{"Cache-Control", "max-age=60, no-cache", "ETag", `"1"`},
	{"Cache-Control", "max-age=0", "ETag", `"1"`},
	{"Cache-Control", "private"},
}

// respond takes a client and makes the response that the backend gives him; e is nil if it is not stored.
func (m *model) respond(length int) (c *modelClient, p *modelResponse, e *Entry, d Decision) {
	c = one(m, m.alone)
	m.step++
	m.alone = remove(m.alone, c)
	m.responses++
	p = &modelResponse{id: m.responses, key: c.key, asked: c.asked}
	kind := max(rapid.IntRange(-4, len(modelKinds)-1).Draw(m.T, "kind"), 0)
	if m.focused {
		kind = 0
	}
	fields := modelKinds[kind]
	if slices.Contains(fields, "Vary") {
		p.foo = string(c.req.Header.PeekAll("Foo")[0])
	}
	resp := &Response{Status: 200, Header: head(fields...), BodyLength: int64(length), Received: m.s.now()}
	d = Decide(c.req, resp, m.policy())
	p.shared = d.Shared
	if !d.Store {
		if c.flight != nil {
			c.flight.Release(true)
		}
		return c, p, nil, d
	}
	e = NewEntry(c.req, resp, d, p, 100, nil, "")
	return c, p, e, d
}

// answerWhole stores a response whose body is there.
func (m *model) answerWhole(*rapid.T) {
	c, p, e, d := m.respond(-1)
	if e == nil {
		return
	}
	p.body = []byte(p.data(0, rapid.IntRange(0, modelMaxBody+1).Draw(m.T, "size")))
	p.whole = len(p.body) <= modelMaxBody
	e.complete(p.body)
	if err := m.s.Put(e); err == nil && c.asked < m.invalidated[c.key] {
		m.Fatal("stored although it was invalidated")
	}
	switch {
	case c.flight == nil:
	case d.Shared && p.whole:
		c.flight.Answer(e)
	default:
		c.flight.Release(true)
	}
}

// answerFill begins to store one whose body comes.
func (m *model) answerFill(*rapid.T) {
	if m.focused && slices.ContainsFunc(m.fills, func(f *modelFill) bool { ended, _ := f.Outcome(); return !ended }) {
		m.Skip("there is one")
	}
	length := rapid.SampledFrom([]int{-1, -1, -1, -1, 0, 1, 40, modelMaxBody, modelMaxBody + 1}).Draw(m.T, "length")
	c, p, e, d := m.respond(length)
	if e == nil {
		return
	}
	f := &modelFill{src: newScript(), resp: p, length: length}
	f.src.pause = rapid.SampledFrom([]time.Duration{0, time.Millisecond}).Draw(m.T, "pause")
	f.Fill = m.s.NewFill(e, int64(length), func() Source { return f.src })
	if f.Fill == nil {
		if !m.short {
			m.Fatal("no memory")
		}
		if c.flight != nil {
			c.flight.Release(false)
		}
		return
	}
	m.fills = append(m.fills, f)
	m.readers = append(m.readers, &modelReader{Reader: f.Reader(), of: f})
	switch {
	case c.flight == nil:
	case d.Shared:
		c.flight.Share(f.Fill)
	default:
		c.flight.Release(true)
	}
}

// giveUp has a request that goes to the backend get no answer.
func (m *model) giveUp(*rapid.T) {
	c := one(m, m.alone)
	m.alone = remove(m.alone, c)
	if c.flight == nil {
		return
	}
	switch rapid.IntRange(0, 3).Draw(m.T, "how") {
	case 0:
		c.flight.Fail(errLeader)
	case 1:
		c.flight.Release(false)
	case 2:
		c.flight.Release(true)
	}
	c.flight.Abandon()
}

// take gives a waiter what was decided.
func (m *model) take(*rapid.T) {
	c := one(m, m.waiting)
	select {
	case <-c.flight.Decided():
	default:
		m.Skip("nothing is decided")
	}
	m.waiting = remove(m.waiting, c)
	fill := c.flight.fill
	l, body, err := c.flight.Take(c.req)
	c.flight = nil
	if fill != nil && m.focused && l.Entry == nil && fill.head.TTL(m.s.now()) > 0 {
		if _, err := fill.Outcome(); err == nil || Refused(err) != "" {
			m.Fatal("a reader that was expected is turned away")
		}
	}
	switch {
	case err == ErrAgain:
		m.join(c)
		return
	case err == errLeader:
		return
	case err != nil:
		m.Fatal(err)
	case l.Entry == nil && body != nil || l.Entry == nil && l.Forward == "":
		m.Fatalf("no hit, and yet a body, or no reason: %+v", l)
	case body != nil:
		f := m.fills[slices.IndexFunc(m.fills, func(f *modelFill) bool { return f.resp == l.Entry.Template })]
		m.readers = append(m.readers, &modelReader{Reader: body, of: f})
	}
	m.wantStale(&l)
	if m.wantHit(c, l.Entry, body); l.Entry == nil {
		c.lookup = l
		m.alone = append(m.alone, c)
	} else if !l.Entry.Template.(*modelResponse).shared {
		m.Fatal("a waiter gets a response that may not be shared")
	}
}

// leave has a waiter's client leave.
func (m *model) leave(*rapid.T) {
	c := one(m, m.waiting)
	m.waiting = remove(m.waiting, c)
	c.flight.Leave()
}

// refresh asks for what is stored behind the one who got it.
func (m *model) refresh(*rapid.T) {
	m.step++
	c := &modelClient{key: rapid.SampledFrom([]string{"/a", "/c"}).Draw(m.T, "key"), asked: m.step}
	c.req = get(c.key, "Foo", "1")
	c.req.Vhost = m.s.Vhost("shop", c.key)
	l := m.s.Lookup(c.req, m.policy())
	m.wantHit(c, l.Entry, nil)
	if !l.Refresh {
		m.Skip("nothing to refresh")
	}
	c.lookup = Lookup{MayStore: true, Stale: l.Entry, Forward: ForwardStale}
	if c.flight = m.s.Lead(c.req, &c.lookup); c.flight != nil {
		behind := get(c.key, "Foo", "1")
		behind.Vhost = c.req.Vhost
		c.flight.Begin(behind)
		c.req, c.leads = behind, true
		m.alone = append(m.alone, c)
	}
}

// onError has the backend of one who goes alone fail.
func (m *model) onError(*rapid.T) {
	c := one(m, m.alone)
	l := c.lookup
	if m.s.ServesOnError(&l) {
		if e := l.Entry; e == nil || e.terms.noCache || !e.Template.(*modelResponse).whole {
			m.Fatalf("serves on error: %+v", l)
		}
	}
}

// feed has a source say something, good or bad.
func (m *model) feed(*rapid.T) {
	f := m.speaking()
	size := rapid.SampledFrom([]int{0, 1, 1, 7, 20, 40, 64, 5000, modelStep}).Draw(m.T, "size")
	err := rapid.SampledFrom([]error{nil, nil, nil, nil, io.EOF, io.ErrUnexpectedEOF, errLeader}).Draw(m.T, "err")
	if m.focused && rapid.IntRange(0, 3).Draw(m.T, "well") > 0 {
		err = nil
	}
	m.say(f, size, err)
}

// feedWell has a source say the rest of what it has announced, or the end of what it has not.
func (m *model) feedWell(*rapid.T) {
	f := m.speaking()
	m.say(f, max(f.length-len(f.resp.body), 0), io.EOF)
}

// speaking picks a fill whose source has not said its last word.
func (m *model) speaking() *modelFill {
	return one(m, slices.DeleteFunc(slices.Clone(m.fills), func(f *modelFill) bool { return f.ended || len(f.src.steps) > 20 || f.src.isClosed() }))
}

// say has a source say so many bytes and then, maybe, an error. It keeps book of what that makes of the body.
func (m *model) say(f *modelFill, size int, err error) {
	p := f.resp
	text := p.data(len(p.body), size)
	f.src.say(step{data: text, err: err})
	if f.length > 0 && len(p.body)+size > f.length { // the error is behind the end
		text, err = text[:f.length-len(p.body)], nil
	}
	p.body = append(p.body, text...)
	switch {
	case f.length > 0 && len(p.body) == f.length || f.length == 0 && len(p.body) == 0:
		f.ended, p.whole = true, err == nil || err == io.EOF
	case err != nil:
		f.ended, p.whole = true, err == io.EOF && f.length < 0
	}
}

// idle picks a reader that is not reading.
func (m *model) idle() *modelReader {
	return one(m, slices.DeleteFunc(slices.Clone(m.readers), func(r *modelReader) bool { return r.result != nil || r.closed }))
}

func (m *model) read(*rapid.T) {
	r := one(m, slices.DeleteFunc(slices.Clone(m.readers), func(r *modelReader) bool { return r.result != nil || r.closed || r.over }))
	r.begin(rapid.SampledFrom([]int{1, 10, 1000, 32 << 10}).Draw(m.T, "buffer"))
}

func (m *model) readerLeaves(*rapid.T) { m.open().Leave() }

// open picks a reader that is not closed.
func (m *model) open() *modelReader {
	return one(m, slices.DeleteFunc(slices.Clone(m.readers), func(r *modelReader) bool { return r.closed }))
}

func (m *model) readerCloses(*rapid.T) {
	r := m.idle()
	r.closed = true
	r.Close()
}

func (m *model) gather(*rapid.T) {
	f := one(m, slices.DeleteFunc(slices.Clone(m.readers), func(r *modelReader) bool { return r.closed || r.left || r.over })).of
	done := make(chan struct{})
	f.tasks = append(f.tasks, done)
	most := int64(rapid.IntRange(1, 100).Draw(m.T, "most"))
	go func() {
		defer close(done)
		f.Gather(most, 5*time.Millisecond)
	}()
}

// finishFill is for one that somebody reads.
func (m *model) finishFill(*rapid.T) {
	m.open().of.Finish()
}

func (m *model) invalidate(*rapid.T) {
	key := rapid.SampledFrom([]string{"/a", "/b", "/c"}).Draw(m.T, "key")
	m.step++
	m.invalidated[key] = m.step
	m.s.Invalidate(get(key).Key)
}

// post sends an unsafe request.
func (m *model) post(*rapid.T) {
	m.step++
	c := &modelClient{key: rapid.SampledFrom([]string{"/a", "/b", "/c"}).Draw(m.T, "key"), asked: m.step}
	c.req = get(c.key)
	c.req.Method, c.req.Vhost = "POST", m.s.Vhost("shop", c.key)
	m.s.Lookup(c.req, m.policy())
	m.posts = append(m.posts, c)
}

// posted answers one with what a GET would get from then on, unless something has been invalidated or purged meanwhile.
func (m *model) posted(*rapid.T) {
	c := one(m, m.posts)
	m.posts = remove(m.posts, c)
	overtaken := c.asked < m.invalidated[c.key]
	m.step++
	m.responses++
	m.invalidated[c.key] = m.step
	p := &modelResponse{id: m.responses, key: c.key, asked: m.step, shared: true, whole: true}
	p.body = []byte(p.data(0, 10))
	resp := &Response{Status: 200, Header: head(modelKinds[0]...), BodyLength: -1, Received: m.s.now()}
	m.s.Answered(c.req, resp.Header, &Changes{})
	c.req.Method, c.req.Explicit = "GET", true
	e := NewEntry(c.req, resp, Decide(c.req, resp, m.policy()), p, 100, p.body, "")
	if err := m.s.Put(e); err == nil && overtaken {
		m.Fatal("an answer is stored although something was invalidated while it was asked for")
	}
}

// purge purges all of one of the vhosts, or of their tenant.
func (m *model) purge(*rapid.T) {
	p := Purge{Tenant: "shop", Vhost: rapid.SampledFrom([]string{"/a", "/b", "/c", ""}).Draw(m.T, "vhost"), Kind: PurgeAll}
	m.step++
	for _, key := range []string{"/a", "/b", "/c"} {
		if p.Vhost == "" || p.Vhost == key {
			m.invalidated[key] = m.step
		}
	}
	m.s.Purge(p)
}

func (m *model) resize(*rapid.T) {
	if rapid.Bool().Draw(m.T, "shrink") {
		m.s.Shrink(0.5)
	} else {
		m.s.Grow(MinMaxBytes)
	}
}

func (m *model) pass(*rapid.T) {
	m.ahead.Add(int64(rapid.SampledFrom([]time.Duration{time.Second, 12 * time.Second, 3 * time.Minute}).Draw(m.T, "ahead")))
	time.Sleep(rapid.SampledFrom([]time.Duration{5 * time.Millisecond, time.Second, maxHeld}).Draw(m.T, "sleep")) // the first is patience
}

// memory takes all that fills may have, or gives it back.
func (m *model) memory(*rapid.T) {
	m.short = !m.short
	m.wasShort = true
	if m.short {
		m.s.filling.Add(shortage)
	} else {
		m.s.filling.Add(-shortage)
	}
}
