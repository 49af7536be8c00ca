package lazydfa

import (
	"fmt"
	"regexp/syntax"
)

// A program is what is left of a syntax.Prog once characters are classes: a fifth of its memory.
type program struct {
	start uint32
	insts []inst
	takes [][]uint64 // the different sets of classes that instructions consume, as bits
}

// An inst is one instruction. What it does not need is 0.
type inst struct {
	op     op
	asks   syntax.EmptyOp // of an assertion
	takes  uint16         // of a consuming one: its place in program.takes
	out    uint32
	branch uint32 // the other way of an alternative
}

type op uint8

const (
	opFail op = iota
	opMatch
	opGo     // on to out
	opBranch // out and branch
	opAssert // out, if asks holds
	opTake   // out, behind a character of takes
)

func newProgram(from *syntax.Prog, c *classes) (program, error) {
	p := program{start: uint32(from.Start), insts: make([]inst, len(from.Inst))}
	known := map[string]uint16{}
	for i := range from.Inst {
		in, out := &from.Inst[i], &p.insts[i]
		out.out = in.Out
		switch in.Op {
		case syntax.InstMatch:
			out.op = opMatch
		case syntax.InstAlt, syntax.InstAltMatch:
			out.op, out.branch = opBranch, in.Arg
		case syntax.InstCapture, syntax.InstNop:
			out.op = opGo
		case syntax.InstEmptyWidth:
			out.op, out.asks = opAssert, syntax.EmptyOp(in.Arg)
		case syntax.InstFail:
			out.op = opFail
		default:
			out.op = opTake
			key := fmt.Sprint(in.Op, in.Arg, in.Rune)
			at, ok := known[key]
			if !ok {
				if len(p.takes) > 0xffff {
					return program{}, fmt.Errorf("%w: it has too many sets of characters", ErrUnsupported)
				}
				at = uint16(len(p.takes))
				known[key] = at
				p.takes = append(p.takes, c.taken(in))
			}
			out.takes = at
		}
	}
	return p, nil
}

// consumes reports whether an instruction takes a character of the class.
func (p *program) consumes(in *inst, class uint32) bool {
	return in.op == opTake && p.takes[in.takes][class/64]&(1<<(class%64)) != 0
}

func (p *program) bytes() int {
	n := 20 * len(p.insts)
	for _, t := range p.takes {
		n += 24 + 8*len(t)
	}
	return n
}
