package redisconn

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unsafe"
)

// Bounds of what a server may send: its data is written by others.
const (
	maxLine  = 64 << 10 // bytes of a simple string, an error or a length
	maxDepth = 8        // arrays in arrays
	maxItems = 1 << 20  // items of one array
)

// MaxReply is how many bytes of one reply are kept; see Reply.TooLarge.
const MaxReply = 4 << 20

var errProtocol = errors.New("redis: not a RESP reply")

// A Reply is one value of RESP3.
type Reply struct {
	// Text of a string, a number or an error.
	Text string
	// Items of an array, a set or a push; keys and values of a map in turn.
	Items []Reply
	// Null: there is no such value.
	Null bool
	// Failed: the server refused the command; Text says why ("WRONGTYPE …").
	Failed bool
	// TooLarge: the value, or one within it, was longer than what is kept.
	TooLarge bool
	// Left: there was no room for it; see Conn.Read. It has to be asked for again.
	Left bool

	push bool
}

// Err returns the server's refusal as an error, or nil.
func (r *Reply) Err() error {
	if !r.Failed {
		return nil
	}
	return errors.New(r.Text)
}

// size is about how many bytes of memory the reply takes.
func (r *Reply) size() int {
	n := int(unsafe.Sizeof(*r)) + len(r.Text)
	for i := range r.Items {
		n += r.Items[i].size()
	}
	return n
}

// decoder reads RESP2 and RESP3 replies with bounds on everything.
type decoder struct {
	r      *bufio.Reader
	budget int
	// leave: what a reply holds is passed over, and left says that there was something.
	leave, left bool
}

// read returns the next reply or push.
func (d *decoder) read() (Reply, error) {
	d.budget, d.left = MaxReply, false
	reply, err := d.value(0)
	reply.Left = d.left
	return reply, err
}

func (d *decoder) value(depth int) (Reply, error) {
	line, err := d.line()
	if err != nil {
		return Reply{}, err
	}
	if len(line) == 0 || depth > maxDepth {
		return Reply{}, errProtocol
	}
	kind, rest := line[0], line[1:]
	switch kind {
	case '+', ':', ',', '(', '#':
		return Reply{Text: rest}, nil
	case '-':
		return Reply{Text: rest, Failed: true}, nil
	case '_':
		return Reply{Null: true}, nil
	case '$', '=', '!':
		return d.bulk(rest, kind == '!')
	case '*', '~', '>':
		return d.array(rest, 1, depth, kind == '>')
	case '%':
		return d.array(rest, 2, depth, false)
	case '|': // attributes of the value that follows
		if _, err := d.array(rest, 2, depth, false); err != nil {
			return Reply{}, err
		}
		return d.value(depth + 1)
	}
	return Reply{}, fmt.Errorf("%w: it begins with %q", errProtocol, kind)
}

// line reads up to CRLF and returns what stands before it.
func (d *decoder) line() (string, error) {
	var out []byte
	for {
		part, err := d.r.ReadSlice('\n')
		out = append(out, part...)
		if len(out) > maxLine {
			return "", fmt.Errorf("%w: a line of more than %d bytes", errProtocol, maxLine)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil {
			return "", err
		}
		break
	}
	if len(out) < 2 || out[len(out)-2] != '\r' {
		return "", errProtocol
	}
	return string(out[:len(out)-2]), nil
}

// length reads the count after $, * and the like; -1 is RESP2's null.
func length(text string, most int) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < -1 || n > most {
		return 0, fmt.Errorf("%w: bad length %.20q", errProtocol, text)
	}
	return n, nil
}

func (d *decoder) bulk(text string, failed bool) (Reply, error) {
	n, err := length(text, 512<<20) // Redis' own limit
	if err != nil {
		return Reply{}, err
	}
	if n < 0 {
		return Reply{Null: true}, nil
	}
	out := Reply{Failed: failed}
	if tooLarge := n > d.budget; tooLarge || d.leave && !failed {
		out.TooLarge = tooLarge
		d.left = d.left || !tooLarge
		if _, err := d.r.Discard(n); err != nil {
			return Reply{}, err
		}
	} else {
		d.budget -= n
		buf := make([]byte, n)
		if _, err := io.ReadFull(d.r, buf); err != nil {
			return Reply{}, err
		}
		out.Text = string(buf)
	}
	var end [2]byte
	if _, err := io.ReadFull(d.r, end[:]); err != nil {
		return Reply{}, err
	}
	if end != [2]byte{'\r', '\n'} {
		return Reply{}, errProtocol
	}
	return out, nil
}

func (d *decoder) array(text string, each, depth int, push bool) (Reply, error) {
	n, err := length(text, maxItems)
	if err != nil {
		return Reply{}, err
	}
	if n < 0 {
		return Reply{Null: true, push: push}, nil
	}
	n *= each
	if push { // which comes in between, and only once
		defer func(leave bool) { d.leave = leave }(d.leave)
		d.leave = false
	}
	// The count is only a claim: space is made as the items come.
	out := Reply{push: push, Items: make([]Reply, 0, min(n, 256))}
	for range n {
		item, err := d.value(depth + 1)
		if err != nil {
			return Reply{}, err
		}
		out.TooLarge = out.TooLarge || item.TooLarge
		if d.left = d.left || d.leave; !d.leave {
			out.Items = append(out.Items, item)
		}
	}
	return out, nil
}
