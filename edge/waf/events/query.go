package events

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Query says which events are wanted: those that meet all that is set. Its zero value
// wants all that are kept.
type Query struct {
	Tenant string
	Vhost  string
	ID     string // of the request
	Rule   int
	Since  time.Time
}

func (q *Query) match(e *Event) bool {
	return (q.Tenant == "" || q.Tenant == e.Tenant) && (q.Vhost == "" || q.Vhost == e.Vhost) &&
		(q.ID == "" || q.ID == e.ID) && !e.Time.Before(q.Since) &&
		(q.Rule == 0 || slices.ContainsFunc(e.Rules, func(r Rule) bool { return r.ID == q.Rule }))
}

// needles are what a line that matches has in it, as Log writes lines.
func (q *Query) needles() [][]byte {
	var out [][]byte
	add := func(name, value string) {
		if value == "" {
			return
		}
		if raw, err := json.Marshal(value); err == nil && !strings.Contains(string(raw), `\u00`) { // escaped otherwise than in lines
			out = append(out, append([]byte(`"`+name+`":`), raw...))
		}
	}
	add("tenant", q.Tenant)
	add("vhost", q.Vhost)
	add("id", q.ID)
	if q.Rule != 0 {
		out = append(out, []byte(`"id":`+strconv.Itoa(q.Rule)+","))
	}
	return out
}

// oldest is how long ago an event may be for the query, at time now.
func (l *Log) oldest(q *Query, now time.Time) time.Time {
	if until := now.Add(-l.opts.MaxAge); q.Since.Before(until) {
		return until
	}
	return q.Since
}

// A Found is the answer to a Query.
type Found struct {
	Events []*Event // the newest first; they are not to be changed
	More   bool     // there are older ones
	Missing
}

// Find returns the newest events that match, most of them at most. It reads the files
// only if memory does not have them all, and then one caller at a time. The error is
// the context's.
func (l *Log) Find(ctx context.Context, q Query, most int) (Found, error) {
	q.Since = l.oldest(&q, time.Now())
	held, floor := l.held(&q)
	list := newest{most: most + 1, floor: q.Since} // one more, to know whether there are more
	seen := map[key]bool{}
	for _, e := range held {
		list.add(e)
		seen[keyOf(e)] = true
	}
	list.trim()
	var out Found
	if l.folder != nil && list.floor.Before(floor) {
		miss, err := l.read(ctx, &q, func() time.Time { return list.floor }, func(e *Event) {
			if !seen[keyOf(e)] {
				list.add(e)
			}
		})
		if err != nil {
			return out, err
		}
		out.Missing = miss
	}
	list.trim()
	out.Events = list.events
	if len(out.Events) > most {
		out.Events, out.More = out.Events[:most], true
	}
	return out, nil
}

// held returns what memory has for the query; from floor on, that is everything.
func (l *Log) held(q *Query) (out []*Event, floor time.Time) {
	floor = l.begun
	l.mu.Lock()
	for _, s := range l.memory.shelves {
		if q.Tenant != "" && s.owner != q.Tenant {
			continue
		}
		if s.floor.After(floor) {
			floor = s.floor
		}
		out = append(out, s.events...) // they are looked at later: requests wait for the lock
	}
	l.mu.Unlock()
	out = slices.DeleteFunc(out, func(e *Event) bool { return !q.match(e) })
	return out, floor.Add(time.Millisecond) // others of the floor's own time may be missing
}

// Each calls visit once with every event that matches, in no order; they are not to be
// changed. It reads the files only if memory does not have them all, and then one
// caller at a time. The error is the context's.
func (l *Log) Each(ctx context.Context, q Query, visit func(*Event)) (Missing, error) {
	q.Since = l.oldest(&q, time.Now())
	held, floor := l.held(&q)
	seen := map[key]bool{}
	for _, e := range held {
		seen[keyOf(e)] = true
		visit(e)
	}
	if l.folder == nil || !q.Since.Before(floor) {
		return Missing{}, nil
	}
	return l.read(ctx, &q, func() time.Time { return q.Since }, func(e *Event) {
		if !seen[keyOf(e)] {
			visit(e)
		}
	})
}

// read scans the files, one caller at a time: it takes a processor's whole time.
func (l *Log) read(ctx context.Context, q *Query, need func() time.Time, visit func(*Event)) (Missing, error) {
	select {
	case l.scans <- struct{}{}:
	case <-ctx.Done():
		return Missing{}, ctx.Err()
	}
	defer func() { <-l.scans }()
	return l.folder.scan(ctx, q, need, visit)
}

// Elsewhere returns the node that gave a request its id, if that was another than this
// one; a trusted proxy's own ids name none.
func (l *Log) Elsewhere(id string) (node string, ok bool) {
	i := strings.LastIndexByte(id, '-')
	if i <= 0 || len(id)-i-1 != idDigits || strings.Trim(id[i+1:], "0123456789abcdef") != "" {
		return "", false
	}
	return id[:i], id[:i] != l.opts.Node
}

// idDigits are the random part of an id, behind the node's name and a hyphen.
const idDigits = 16

// A key tells events apart. A request has one of each phase.
type key struct {
	id, phase string
	time      int64
}

func keyOf(e *Event) key { return key{e.ID, e.Phase, e.Time.UnixMilli()} }

// newest keeps the newest of many events.
type newest struct {
	most   int
	events []*Event
	floor  time.Time // from when on an event may still be one of them
}

func (n *newest) add(e *Event) {
	if n.events = append(n.events, e); len(n.events) >= 2*n.most {
		n.trim()
	}
}

func (n *newest) trim() {
	slices.SortStableFunc(n.events, func(a, b *Event) int { return cmp.Compare(b.Time.UnixMilli(), a.Time.UnixMilli()) })
	if len(n.events) < n.most {
		return
	}
	clear(n.events[n.most:])
	n.events = n.events[:n.most]
	n.floor = n.events[n.most-1].Time
}
