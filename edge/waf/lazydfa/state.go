package lazydfa

import (
	"encoding/binary"
	"regexp/syntax"
	"slices"
)

// kind is all that an assertion asks of the character before it.
type kind uint8

const (
	other     kind = iota
	word           // a letter, digit or underscore of ASCII
	newline        // the line's end
	beforeAll      // there is none: the text begins
)

func kindOf(r rune) kind {
	switch {
	case r == '\n':
		return newline
	case syntax.IsWordChar(r):
		return word
	}
	return other
}

// rune is a character of the kind.
func (k kind) rune() rune { return [...]rune{other: ' ', word: 'a', newline: '\n', beforeAll: -1}[k] }

// A state is where a program may stand between two characters: a byte for what came before, then the
// instructions that consume a character or assert something, sorted, each as the distance from the one
// before. Most take one byte so, and a pattern of many words has hundreds of them in each state.
type state string

// matches in a state's first byte: it has matched, whatever follows.
const matches = 0x80

func (s state) match() bool { return s[0]&matches != 0 }

// after is the kind of the character before; other, if nothing asks for it.
func (s state) after() kind { return kind(s[0] &^ matches) }

// each calls visit with every instruction.
func (s state) each(visit func(pc uint32)) {
	pc, rest := uint32(0), []byte(s[1:])
	for len(rest) > 0 {
		distance, n := binary.Uvarint(rest)
		pc, rest = pc+uint32(distance), rest[n:]
		visit(pc)
	}
}

// walk gathers the instructions that can be reached without a character.
type walk struct {
	program *program
	holds   syntax.EmptyOp // the assertions that hold here; 0: it is not known yet
	seen    []bool
	at      []uint32
	match   bool
	asks    bool // an assertion waits for the next character
}

func newWalk(p *program) *walk {
	return &walk{program: p, seen: make([]bool, len(p.insts))}
}

// follow adds what is reached from an instruction. Assertions are passed if they hold.
func (w *walk) follow(pc uint32) {
	for !w.seen[pc] {
		w.seen[pc] = true
		in := &w.program.insts[pc]
		switch in.op {
		case opBranch:
			w.follow(in.branch)
		case opAssert:
			if in.asks&^w.holds != 0 {
				w.asks = true
				w.at = append(w.at, pc)
				return
			}
		case opMatch:
			w.match = true
			return
		case opFail:
			return
		case opTake:
			w.at = append(w.at, pc)
			return
		}
		pc = in.out
	}
}

// state is what was gathered, behind a character of that kind.
func (w *walk) state(after kind) state {
	b := make([]byte, 1, 1+2*len(w.at))
	if w.asks {
		b[0] = byte(after)
	}
	if w.match {
		b[0] |= matches
	}
	slices.Sort(w.at)
	before := uint32(0)
	for _, pc := range w.at {
		b = binary.AppendUvarint(b, uint64(pc-before))
		before = pc
	}
	return state(b)
}

// step returns the row of the state behind the next character; unknown: there is no room.
func (d *DFA) step(g *grown, s state, class uint32) uint32 {
	if s.match() {
		return matched
	}
	next := d.classes.samples[class] // -1 at the end, as regexp has it
	// First what the assertions here let through, now that both neighbours are known.
	here := newWalk(&d.program)
	here.holds = syntax.EmptyOpContext(s.after().rune(), next)
	s.each(here.follow)
	if here.match {
		return matched
	}
	if class == endOfText {
		return dead
	}
	// Then the character.
	w := newWalk(&d.program)
	for _, pc := range here.at {
		if in := &d.program.insts[pc]; d.program.consumes(in, class) {
			w.follow(in.out)
		}
	}
	if !d.anchor {
		w.follow(d.program.start) // a match may begin at every character
	}
	switch {
	case w.match:
		return matched
	case len(w.at) == 0:
		return dead
	}
	return d.row(g, w.state(kindOf(next)))
}
