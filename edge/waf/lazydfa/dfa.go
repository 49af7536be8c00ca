package lazydfa

import (
	"errors"
	"fmt"
	"regexp/syntax"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// MaxStates bounds the states of one automaton. With the classes of the largest pattern of the core rules,
// that is half a megabyte.
const MaxStates = 2048

// ErrUnsupported is the error of a pattern that this package would not answer as regexp does.
var ErrUnsupported = errors.New("pattern cannot be decided by an automaton")

// DFA is the automaton of one pattern. It is safe for concurrent use, and grows with the texts
// that it is shown, to a bound.
type DFA struct {
	program program
	classes classes
	anchor  bool // it matches at the beginning of a text or nowhere
	now     func() time.Time

	grown atomic.Pointer[grown]
	mu    sync.Mutex // held to grow
}

// grown is what an automaton has learned: a table that readers use, and for those who add to it, the
// sets behind its rows.
type grown struct {
	table  atomic.Pointer[table]
	states []state          // by number; the first ones are empty
	known  map[state]uint32 // where their rows begin
	since  time.Time
}

// table is one row for each state: for each class of characters, where the next state's row begins, or
// one of the numbers below.
type table struct{ next []atomic.Uint32 }

// Numbers in a table that are no rows, and that of the first state.
const (
	unknown = iota // work it out
	dead           // no text that begins so matches
	matched        // every text that begins so matches
	first          // the state before the first character
)

// New compiles a pattern in the syntax of regexp (syntax.Perl). The error is that of the syntax, or
// [ErrUnsupported].
func New(pattern string) (*DFA, error) {
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("parse pattern: %w", err)
	}
	compiled, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return nil, fmt.Errorf("compile pattern: %w", err)
	}
	d := &DFA{anchor: compiled.StartCond()&syntax.EmptyBeginText != 0, now: time.Now}
	if d.classes, err = newClasses(compiled); err != nil {
		return nil, err
	}
	if d.program, err = newProgram(compiled, &d.classes); err != nil {
		return nil, err
	}
	d.grown.Store(d.begin())
	return d, nil
}

// begin returns an automaton that knows its first state alone.
func (d *DFA) begin() *grown {
	g := &grown{known: map[state]uint32{}, since: d.now(), states: make([]state, first)}
	g.table.Store(&table{next: make([]atomic.Uint32, (first+2)*d.classes.columns)})
	w := newWalk(&d.program)
	w.follow(d.program.start)
	d.row(g, w.state(beforeAll))
	return g
}

// Match reports whether the pattern matches anywhere in the text. If ok is false, it is not decided:
// the states that the text needs are too many.
func (d *DFA) Match(text string) (yes, ok bool) {
	g := d.grown.Load()
	next := g.table.Load().next
	begin := uint32(first * d.classes.columns)
	row := begin
	for i := 0; i < len(text); {
		class := uint32(0)
		if c := text[i]; c < utf8.RuneSelf {
			class = uint32(d.classes.ascii[c])
			i++
		} else {
			r, width := utf8.DecodeRuneInString(text[i:]) // an invalid byte is U+FFFD, as to regexp
			class = uint32(d.classes.of(r))
			i += width
		}
		to := next[row+class].Load()
		if to < begin {
			if to == unknown {
				to = d.learn(g, row, class)
				next = g.table.Load().next
			}
			if to < begin {
				return to == matched, to != unknown
			}
		}
		row = to
	}
	to := next[row+endOfText].Load()
	if to == unknown {
		to = d.learn(g, row, endOfText)
	}
	return to == matched, to != unknown
}

// forget is how old an automaton must be for another one to take its place when it is full. So whoever
// sends texts made to fill it costs others a new beginning now and then.
const forget = time.Second

// learn works out where a class leads from the state with that row; unknown: there is no room for it.
func (d *DFA) learn(g *grown, row, class uint32) uint32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if to := g.table.Load().next[row+class].Load(); to != unknown {
		return to // somebody was faster
	}
	to := d.step(g, g.states[int(row)/d.classes.columns], class)
	if to == unknown {
		if d.grown.Load() == g && d.now().Sub(g.since) >= forget {
			d.grown.Store(d.begin())
		}
		return unknown
	}
	g.table.Load().next[row+class].Store(to)
	return to
}

// row returns where a state's row begins, which it may have to make; unknown: there is no room. The caller
// holds the lock, or is the only one who knows g.
func (d *DFA) row(g *grown, s state) uint32 {
	if row, ok := g.known[s]; ok {
		return row
	}
	if len(g.states) >= MaxStates {
		return unknown
	}
	row := uint32(len(g.states) * d.classes.columns)
	g.states = append(g.states, s)
	g.known[s] = row
	t := g.table.Load()
	if need := len(g.states) * d.classes.columns; need > len(t.next) {
		larger := &table{next: make([]atomic.Uint32, min(need+need/2, MaxStates*d.classes.columns))}
		for i := range t.next {
			larger.next[i].Store(t.next[i].Load())
		}
		g.table.Store(larger)
	}
	return row
}

// Size returns how many states there are, and about how many bytes of memory the automaton holds.
func (d *DFA) Size() (states, bytes int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	g := d.grown.Load()
	bytes = 4*len(g.table.Load().next) + d.program.bytes() + d.classes.bytes()
	for _, s := range g.states[first:] {
		bytes += len(s) + 64
	}
	return len(g.states) - first, bytes
}
