// Package seldom bounds what one tenant writes into the log by what he does: one whose only backend is dead has a line for each of his
// requests, thousands in a second, and the lines of all others are lost among them.
package seldom

import (
	"sync"
	"time"
)

const (
	// Every is how often the same is told of an owner.
	Every = 30 * time.Second
	// Most is how many different things are told of an owner in that time.
	Most = 20
	// many is how many owners are kept before those of whom nothing is to be told any more are looked for.
	many = 1000
)

// A Teller says which events of owners are told: the first of a kind at once, then one in each Every, which says how many there were.
// The zero value is ready; it is safe for concurrent use.
type Teller struct {
	mu    sync.Mutex
	of    map[string]*owner
	swept time.Time
}

// owner is what was told of one since begun.
type owner struct {
	begun  time.Time
	kinds  map[any]int // not told since the line of that kind
	others int         // not told, of kinds without a line
}

// A Telling is what a line says of those that were not told.
type Telling struct {
	alike, others int
	last          bool
}

// Args are the key-value pairs of a line.
func (t Telling) Args() []any {
	var out []any
	if t.alike > 0 {
		out = append(out, "suppressed", t.alike)
	}
	if t.others > 0 {
		out = append(out, "suppressed_others", t.others)
	}
	if t.last {
		out = append(out, "others", "counted, not told, for "+Every.String())
	}
	return out
}

// Tell reports whether an event of an owner gets a line. kind is comparable, and the same for events that are alike.
func (t *Teller) Tell(of string, kind any) (Telling, bool) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.of[of]
	var before *owner
	if o == nil || now.Sub(o.begun) >= Every {
		t.sweep(now)
		before, o = o, &owner{begun: now, kinds: map[any]int{}}
		t.of[of] = o
		if before != nil { // what was not told yet
			o.others = before.others
			for k, n := range before.kinds {
				if k != kind {
					o.others += n
				}
			}
		}
	}
	if _, told := o.kinds[kind]; told {
		o.kinds[kind]++
		return Telling{}, false
	}
	if len(o.kinds) >= Most {
		o.others++
		return Telling{}, false
	}
	o.kinds[kind] = 0
	out := Telling{others: o.others, last: len(o.kinds) == Most}
	if o.others = 0; before != nil {
		out.alike = before.kinds[kind]
	}
	return out, true
}

// sweep forgets owners of whom nothing was told for long, and makes room for one.
func (t *Teller) sweep(now time.Time) {
	if t.of == nil {
		t.of = map[string]*owner{}
	}
	if len(t.of) < many || now.Sub(t.swept) < Every {
		return
	}
	t.swept = now
	for of, o := range t.of {
		if now.Sub(o.begun) >= 2*Every {
			delete(t.of, of)
		}
	}
}
