package redisstore

import (
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/internal/redisconn"
	"gatehouse/routes"
)

// lagging is how long after a deletion it may be acted upon: a connection that is silent for longer is given up (pingEvery and
// redisconn.PingTimeout), and all is read again.
const lagging = 10 * time.Second

// evictions knows which masters delete keys of any kind to make room, and when they last did: what they delete is told of, and
// missing, as what people delete is. An LRU finds the keys of routes first, since a node reads each of them once.
//
// Whoever follows uses it, one after the other, but for Warning, forget and halved, which anybody may call. The zero value knows nothing.
type evictions struct {
	seen map[string]redisconn.Memory // by master, those of earlier sessions, too
	grew map[string]time.Time        // when a master was last seen to have evicted
	// since is when the last reading of everything began: what was gone by then has been judged.
	since time.Time
	told  string // what the log has said of it

	warning atomic.Pointer[string]

	mu sync.Mutex
	// lost are the evicted parts of documents, whose other part would be another document: a site without its WAF's settings.
	lost map[routes.Key]parts
}

// parts are some of the keys of a document.
type parts uint8

func (ps parts) with(p part) parts    { return ps | 1<<p }
func (ps parts) without(p part) parts { return ps &^ (1 << p) }

// maxLost bounds the documents whose parts are remembered.
const maxLost = 100_000

// look asks the masters. What it finds it dates at the end, and all that it may concern later than that is doubted.
func (e *evictions) look(session *redisconn.Session, log *slog.Logger) error {
	first, some := len(e.seen) == 0, false
	for _, m := range e.seen {
		some = some || m.AnyKey()
	}
	warning := ""
	for i, master := range session.Masters() {
		m, refusal, err := session.Memory(i)
		if err != nil {
			return err
		}
		if refusal != nil {
			warning = fmt.Sprintf("redis at %s does not say whether it deletes routes to make room (%v): allow INFO, and set maxmemory-policy noeviction there", master, refusal)
			continue
		}
		before, known := e.seen[master]
		grew := false
		switch {
		case known && before.Run == m.Run:
			grew = m.Evicted != before.Evicted && (m.AnyKey() || before.AnyKey())
		case first:
			grew = m.Evicted > 0 && m.AnyKey() // perhaps since the last good routes were written
		default: // a restart, or a failover: how much was evicted until then is not known
			grew = m.Evicts() || some
		}
		if e.seen == nil {
			e.seen, e.grew = map[string]redisconn.Memory{}, map[string]time.Time{}
		}
		e.seen[master] = m
		if grew {
			e.grew[master] = time.Now()
		}
		if m.Evicts() {
			warning = fmt.Sprintf("redis at %s deletes any key to make room, routes among them (maxmemory-policy %s, maxmemory %d): set maxmemory-policy noeviction, or volatile-ttl", master, m.Policy, m.Limit)
		}
	}
	e.warning.Store(&warning)
	if warning != "" && warning != e.told {
		log.Warn("redis may lose routes by itself", "problem", warning)
	}
	e.told = warning
	return nil
}

// doubt says of which documents the absence need not be meant, where they were there at a time; nil: of none.
func (e *evictions) doubt(session *redisconn.Session, prefix string, there time.Time) func(routes.Key) bool {
	masters := session.Masters()
	evicting := make([]bool, len(masters))
	e.mu.Lock()
	some := len(e.lost) > 0
	e.mu.Unlock()
	for i, master := range masters {
		evicting[i] = e.grew[master].After(there)
		some = some || evicting[i]
	}
	if !some {
		return nil
	}
	return func(doc routes.Key) bool {
		if e.lostPart(doc) {
			return true
		}
		for _, p := range []part{partList, partJSON} {
			if at := session.MasterOf(canonical(prefix, doc, p)); at < 0 || evicting[at] {
				return true
			}
		}
		return false
	}
}

// recently is since when what is told of may have been deleted.
func (e *evictions) recently() time.Time {
	if from := time.Now().Add(-lagging); from.After(e.since) {
		return from
	}
	return e.since
}

// halved makes the change of a document that has lost a part to an eviction one that removes it, for Batch.Doubt to have it held.
func (e *evictions) halved(change routes.Change, values []value) routes.Change {
	e.mu.Lock()
	defer e.mu.Unlock()
	lost, is := e.lost[change.Key]
	if !is {
		return change
	}
	for i := range values {
		lost = lost.without(values[i].key.part)
	}
	if e.lost[change.Key] = lost; lost == 0 { // it is there again
		delete(e.lost, change.Key)
		return change
	}
	return routes.Change{Key: change.Key}
}

func (e *evictions) lostPart(doc routes.Key) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.lost[doc] != 0
}

// lose notes that parts of a document were evicted.
func (e *evictions) lose(doc routes.Key, lost parts) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.lost == nil {
		e.lost = map[routes.Key]parts{}
	}
	if len(e.lost) < maxLost {
		e.lost[doc] |= lost
	}
}

// forget takes it as meant that parts of the documents are gone; no documents: of any.
func (e *evictions) forget(docs ...routes.Key) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(docs) == 0 {
		clear(e.lost)
	}
	for _, doc := range docs {
		delete(e.lost, doc)
	}
}

// look asks the masters whether they make room by deleting.
func (f *follower) look() error { return f.store.evictions.look(f.session, f.store.log) }

// note takes in which of the keys that were told of are gone.
func (f *follower) note(keys []string) {
	for _, raw := range keys {
		key, ok, err := parseKey(f.store.prefix, raw)
		if !ok || err != nil || raw != canonical(f.store.prefix, key.doc, key.part) {
			continue
		}
		lost := f.lost[key.doc].without(key.part)
		if f.reader.asked[raw] {
			lost = lost.with(key.part)
		}
		if f.lost[key.doc] = lost; lost == 0 {
			delete(f.lost, key.doc)
		}
	}
}

// judge doubts what has gone from a server that has made room meanwhile, be it a part of a document.
func (f *follower) judge(batch *routes.Batch) error {
	less := func(c routes.Change) bool { return c.Gone() || f.lost[c.Key] != 0 }
	if !slices.ContainsFunc(batch.Changes, less) {
		return nil
	}
	if err := f.look(); err != nil {
		return err
	}
	e := &f.store.evictions
	batch.Doubt = e.doubt(f.session, f.store.prefix, e.recently())
	for i, c := range batch.Changes {
		lost := f.lost[c.Key]
		delete(f.lost, c.Key)
		if lost != 0 && batch.Doubt != nil && batch.Doubt(c.Key) {
			e.lose(c.Key, lost)
			batch.Changes[i] = routes.Change{Key: c.Key}
		}
	}
	return nil
}

// Warning says why Redis may lose routes by itself; empty: it does not.
func (s *Store) Warning() string {
	if w := s.evictions.warning.Load(); w != nil {
		return *w
	}
	return ""
}
