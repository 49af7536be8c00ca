package lazydfa

import (
	"fmt"
	"regexp/syntax"
	"slices"
	"unicode"
	"unicode/utf8"
)

// endOfText is the class of what stands behind the last character.
const endOfText = 0

// classes sorts the characters into those that a program cannot tell apart.
type classes struct {
	columns int // how many there are, endOfText included
	ascii   [utf8.RuneSelf]uint16
	bounds  []rune   // the first rune of each range of one class, sorted
	ranges  []uint16 // the class of each range
	samples []rune   // one rune of each class
}

// newClasses looks at everything by which the program tells characters apart.
func newClasses(program *syntax.Prog) (classes, error) {
	bounds := []rune{0, utf8.RuneSelf}
	add := func(low, high rune) { bounds = append(bounds, low, high+1) }
	assertions := syntax.EmptyOp(0)
	for i := range program.Inst {
		inst := &program.Inst[i]
		switch inst.Op {
		case syntax.InstRune, syntax.InstRune1:
			if slices.Contains(inst.Rune, utf8.RuneError) && len(inst.Rune) == 1 {
				// regexp looks for the bytes of a pattern's beginning, which U+FFFD has
				// and an invalid byte, which it takes for U+FFFD elsewhere, has not.
				return classes{}, fmt.Errorf("%w: it has U+FFFD as a literal", ErrUnsupported)
			}
			if len(inst.Rune) == 1 {
				r := inst.Rune[0]
				add(r, r)
				if syntax.Flags(inst.Arg)&syntax.FoldCase != 0 {
					for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
						add(f, f)
					}
				}
				break
			}
			for k := 0; k+1 < len(inst.Rune); k += 2 {
				add(inst.Rune[k], inst.Rune[k+1])
			}
		case syntax.InstRuneAnyNotNL:
			add('\n', '\n')
		case syntax.InstEmptyWidth:
			assertions |= syntax.EmptyOp(inst.Arg)
		}
	}
	if assertions&(syntax.EmptyBeginLine|syntax.EmptyEndLine) != 0 {
		add('\n', '\n')
	}
	if assertions&(syntax.EmptyWordBoundary|syntax.EmptyNoWordBoundary) != 0 {
		for _, r := range [][2]rune{{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}} {
			add(r[0], r[1])
		}
	}
	slices.Sort(bounds)
	bounds = slices.Compact(bounds)
	bounds = slices.DeleteFunc(bounds, func(r rune) bool { return r > utf8.MaxRune })
	return merged(program, bounds)
}

// merged gives ranges that all instructions treat alike one class.
func merged(program *syntax.Prog, bounds []rune) (classes, error) {
	c := classes{bounds: bounds, ranges: make([]uint16, len(bounds)), samples: []rune{-1}}
	known := map[string]uint16{}
	different := consumers(program)
	var print []byte
	for i, r := range bounds {
		print = append(print[:0], byte(kindOf(r)))
		for _, inst := range different {
			bit := byte(0)
			if takes(inst, r) {
				bit = 1
			}
			print = append(print, bit)
		}
		class, ok := known[string(print)]
		if !ok {
			if len(c.samples) > 0xffff {
				return classes{}, fmt.Errorf("%w: it tells too many characters apart", ErrUnsupported)
			}
			class = uint16(len(c.samples))
			known[string(print)] = class
			c.samples = append(c.samples, r)
		}
		c.ranges[i] = class
	}
	c.columns = len(c.samples)
	for r := range c.ascii {
		c.ascii[r] = c.search(rune(r))
	}
	return c, nil
}

// consumers returns one of each kind of instruction that consumes a character.
func consumers(program *syntax.Prog) (out []*syntax.Inst) {
	known := map[string]bool{}
	for i := range program.Inst {
		inst := &program.Inst[i]
		switch inst.Op {
		case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
			if key := fmt.Sprint(inst.Op, inst.Arg, inst.Rune); !known[key] {
				known[key] = true
				out = append(out, inst)
			}
		}
	}
	return out
}

// takes reports whether an instruction consumes the character.
func takes(inst *syntax.Inst, r rune) bool {
	switch inst.Op {
	case syntax.InstRune, syntax.InstRune1:
		return inst.MatchRune(r)
	case syntax.InstRuneAny:
		return true
	case syntax.InstRuneAnyNotNL:
		return r != '\n'
	}
	return false
}

// taken returns the classes that an instruction consumes, as bits.
func (c *classes) taken(in *syntax.Inst) []uint64 {
	out := make([]uint64, (c.columns+63)/64)
	for class, r := range c.samples {
		if class != endOfText && takes(in, r) {
			out[class/64] |= 1 << (class % 64)
		}
	}
	return out
}

// of returns the class of a character.
func (c *classes) of(r rune) uint16 {
	if r < utf8.RuneSelf {
		return c.ascii[r]
	}
	return c.search(r)
}

func (c *classes) search(r rune) uint16 {
	at, found := slices.BinarySearch(c.bounds, r)
	if !found {
		at--
	}
	return c.ranges[at]
}

func (c *classes) bytes() int { return len(c.ascii)*2 + 6*len(c.bounds) + 4*len(c.samples) }
