package edge

import (
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"gatehouse/cache"
	"gatehouse/edge/overload"
)

// How many requests behind stale hits are under way at a time, of all tenants and of one, or a vhost without. Each costs a backend
// as much as a request, and who asks for what is stale does not wait for it: one client could have all of a site's stale pages
// asked for at once. Beyond it hits are served as they are.
const (
	mostRefreshes       = 256
	mostRefreshesTenant = 32
)

// What became of requests behind stale hits, as counted.
const (
	refreshDone   = "done"
	refreshFailed = "failed"
	refreshBusy   = "busy"   // there are enough of them
	refreshMemory = "memory" // see Overload
)

// refresh asks for a stale hit anew, behind the request that got it and those that get it meanwhile (RFC 5861 §3). Nobody's
// connection is tied to it. If that cannot be now, it is up to the next hit.
func (s *Server) refresh(c *cached) {
	stale, owner := c.lookup.Entry, c.r.site.owner
	if s.level() >= overload.NoKeepAlive {
		s.metrics.refreshes.WithLabelValues(refreshMemory).Inc()
		stale.PutOff()
		return
	}
	if !s.refreshes.take(owner) {
		s.metrics.refreshes.WithLabelValues(refreshBusy).Inc()
		stale.PutOff()
		return
	}
	l := cache.Lookup{MayStore: true, Stale: stale, Forward: cache.ForwardStale}
	flight := c.store.Lead(&c.request, &l)
	if flight == nil || l.Entry != nil {
		s.refreshes.release(owner)
		return
	}
	b := c.r.copy()
	s.refreshing.Add(1)
	go func() {
		defer s.refreshing.Add(-1)
		defer s.refreshes.release(owner)
		defer b.done()
		defer flight.Abandon()
		defer func() {
			if v := recover(); v != nil {
				b.tainted = true
				s.log.Error("panic while refreshing a stored answer", "id", b.ID, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			}
		}()
		err := b.fetch(l, flight)
		s.metrics.refreshed(err == nil && b.record.Err == nil)
		if err != nil {
			s.log.Debug("stored answer not refreshed", "id", b.ID, "vhost", b.site.name, "target", b.Target, "err", err)
		}
	}()
}

// fetch gets what the lookup wants from a backend, for the cache alone.
func (r *request) fetch(l cache.Lookup, flight *cache.Flight) error {
	if r.site.profile.Responses {
		// The request that this one is made of was inspected; answers are inspected in the light of theirs.
		if err := r.srv.judgeRequest(r); err != nil {
			return err
		}
	}
	c := &r.cached
	c.begin(r)
	c.lookup = l
	flight.Begin(&c.request)
	if err := c.lead(r.srv.fetch, flight); err != nil {
		return err
	}
	if r.response.stream == nil {
		return nil
	}
	_, err := io.Copy(io.Discard, r.response.stream)
	return err
}

// copy makes a GET for the same as r, whole and without conditions, that owns its memory and has no connection.
func (r *request) copy() *request {
	b := requests.Get().(*request)
	b.renew()
	b.ID, b.Start, b.behind = r.srv.newID(), time.Now(), true
	b.Client, b.Peer, b.Server = r.Client, r.Peer, r.Server
	b.ClientText, b.peerText = strings.Clone(r.ClientText), strings.Clone(r.peerText)
	b.PeerTrusted, b.Scheme, b.Proto, b.Method = r.PeerTrusted, strings.Clone(r.Scheme), "HTTP/1.1", "GET"
	b.Target, b.RawHost, b.Host = strings.Clone(r.Target), strings.Clone(r.RawHost), strings.Clone(r.Host)
	b.srv, b.log, b.via, b.table, b.site = r.srv, r.log, r.via, r.table, r.site
	b.record.Route, b.record.Tenant = r.record.Route, r.record.Tenant
	b.conn = nobody{}
	b.body.reset(nil, 0, 0, nil)
	size := 0
	for _, f := range r.Fields {
		size += len(f.Name) + len(f.Value)
	}
	memory := make([]byte, 0, size)
	own := func(text []byte) []byte {
		start := len(memory)
		memory = append(memory, text...)
		return memory[start:len(memory):len(memory)]
	}
	b.Fields = make([]field, 0, len(r.Fields))
	for _, f := range r.Fields {
		switch {
		case f.Is("range"), f.Is("if-range"), f.Is("if-none-match"), f.Is("if-modified-since"), f.Is("cache-control"), f.Is("pragma"):
		default:
			b.Fields = append(b.Fields, field{Name: own(f.Name), Value: own(f.Value)})
		}
	}
	return b
}

// nobody is the connection of a request that has none.
type nobody struct{}

func (nobody) AbortRead() error         { return nil }
func (nobody) Hurry(time.Time)          {}
func (nobody) Linger()                  {}
func (nobody) Attach(any)               {}
func (nobody) Attached() any            { return nil }
func (nobody) Left() bool               { return false }
func (nobody) Expecting() bool          { return false }
func (nobody) Inform(int, []byte) error { return nil }
func (nobody) Answering(bool)           {}

// refreshes counts the requests behind stale hits that are under way, by who has them. The zero value counts none; it is safe
// for concurrent use.
type refreshes struct {
	mu  sync.Mutex
	all int
	of  map[string]int // by site.owner
}

// take counts one more, of all and of an owner, unless there are too many.
func (f *refreshes) take(owner string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.all >= mostRefreshes || f.of[owner] >= mostRefreshesTenant {
		return false
	}
	if f.of == nil {
		f.of = map[string]int{}
	}
	f.all++
	f.of[owner]++
	return true
}

// release counts one less.
func (f *refreshes) release(owner string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all--
	if f.of[owner]--; f.of[owner] == 0 {
		delete(f.of, owner) // owners come and go
	}
}
