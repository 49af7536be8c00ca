package gate

import (
	"slices"
	"sync"
)

// A Side is one of the two messages of a transaction.
type Side int

// The sides. The rules of phases 1 and 2 are about requests, those of 3 and 4 about answers.
const (
	Request Side = iota
	Answer
)

// A side is all that a gate knows about the rules of one side. It is never changed once made.
type side struct {
	planner

	screen  *screen
	ofChain [][]uint64             // by chain: its checks
	spots   []*spot                // where values stand that checks look at
	atLevel [maxLevel + 1][]uint64 // by paranoia level: the checks of rules that run
	pool    sync.Pool              // of *scratch
}

// newSide takes what a planner has made of rules. Step is called between checks.
func newSide(p planner, data func(string) ([]byte, error), step func() error) (*side, error) {
	s := &side{planner: p}
	needs := make([]need, len(s.checks))
	s.ofChain = make([][]uint64, len(s.chains.list))
	words := (len(s.checks) + 63) / 64
	for c := range s.ofChain {
		s.ofChain[c] = make([]uint64, words)
	}
	for level := range s.atLevel {
		s.atLevel[level] = make([]uint64, words)
	}
	for i := range s.checks {
		c := &s.checks[i]
		needs[i], _ = needOfOperator(c.link.Name, c.link.Argument, c.link.Negated, data)
		setBit(s.ofChain[c.chain], i)
		if err := step(); err != nil {
			return nil, err
		}
		for level := p.levels[s.groups[c.group].rule]; level <= maxLevel; level++ {
			setBit(s.atLevel[level], i)
		}
	}
	s.screen = newScreen(needs)
	s.spots = newSpots(s)
	s.pool.New = func() any { return newScratch(s) }
	return s, nil
}

// scratch is room for looking at values, for one goroutine at a time.
type scratch struct {
	candidates
	state   state
	texts   []form
	steps   []step
	spare   [][]uint64
	met     []uint16
	counts  []int          // by row: how many values it had
	groups  []bool         // which hold
	tallies map[string]int // by name, of what is counted
}

func newScratch(s *side) *scratch {
	rows := 0
	for _, p := range s.spots {
		rows += 1 + len(p.rows)
	}
	return &scratch{counts: make([]int, rows)}
}

// look returns the checks that a value in a row meets. The result is valid until the next call.
func (s *side) look(r *row, text string, t *Tenant, w *scratch) []uint16 {
	w.met = w.met[:0]
	s.forms(r, text, t.level, w)
	for i := range w.texts {
		f := &w.texts[i]
		s.screen.may(f.text, &w.candidates)
		for k, word := range w.candidates.set {
			for word &= f.checks[k]; word != 0; word &= word - 1 {
				s.decide(k<<6+trailing(word), text, f.text, t, w)
			}
		}
	}
	return w.met
}

// decide asks a check about a text that came of a value, unless an earlier text has met it.
func (s *side) decide(number int, raw, text string, t *Tenant, w *scratch) {
	if slices.Contains(w.met, uint16(number)) {
		return
	}
	w.state.tenant = t
	if s.checks[number].says(raw, text, &w.state) {
		w.met = append(w.met, uint16(number))
	}
}
