package compress

import (
	"bytes"

	"gatehouse/internal/octets"
)

// Accepts is what the Accept-Encoding fields of a request say (RFC 9110 §12.5.3). The zero value
// is that of a request without the field. It is not safe for concurrent use.
type Accepts struct {
	named [codings]weight
	other weight // of "*"
}

// A weight is a qvalue in thousandths and one more; 0: none was given.
type weight uint16

// Add reads the value of one field line. Members that are malformed count as not there: nothing can
// be told from them, and others in the list may be fine. Of a coding that is named twice the smaller
// weight counts, so that a refusal always does.
func (a *Accepts) Add(value []byte) {
	for len(value) > 0 {
		var member []byte
		member, value, _ = bytes.Cut(value, []byte(","))
		name, parameter, weighted := bytes.Cut(member, []byte(";"))
		name = octets.TrimOWS(name)
		w := weight(1001)
		if weighted {
			var ok bool
			if w, ok = parseWeight(octets.TrimOWS(parameter)); !ok {
				continue
			}
		}
		if octets.Is(name, "*") {
			a.other.add(w)
		} else if c, ok := codingOf(name); ok {
			a.named[c].add(w)
		}
	}
}

func (w *weight) add(other weight) {
	if *w == 0 || other < *w {
		*w = other
	}
}

// parseWeight reads "q=" and a qvalue (RFC 9110 §12.4.2): 0 to 1, three digits behind the point at
// most, and nothing behind it.
func parseWeight(b []byte) (weight, bool) {
	if len(b) < 3 || len(b) > len("q=0.000") || b[0]|0x20 != 'q' || b[1] != '=' || b[2] != '0' && b[2] != '1' {
		return 0, false
	}
	thousandths := weight(b[2]-'0') * 1000
	if b = b[3:]; len(b) > 0 && b[0] != '.' {
		return 0, false
	}
	for i, scale := 1, weight(100); i < len(b); i, scale = i+1, scale/10 {
		if b[i] < '0' || b[i] > '9' {
			return 0, false
		}
		thousandths += weight(b[i]-'0') * scale
	}
	return thousandths + 1, thousandths <= 1000
}

// Best returns the coding that the client wants most, of those that it accepts; between equals our own
// order decides. Identity is the answer to a client that names nothing that we have, prefers
// it in words, or accepts nothing at all: RFC 9110 §12.5.3 asks for an answer without a coding
// rather than for none.
func (a *Accepts) Best() Coding {
	best, most := Identity, weight(1) // 1: the weight 0, which is a refusal
	for c := codings - 1; c > Identity; c-- {
		w := a.named[c]
		if w == 0 {
			w = a.other
		}
		if w > most {
			best, most = c, w
		}
	}
	if a.named[Identity] > most {
		return Identity
	}
	return best
}

// All returns the codings that the client takes of those that we know, in one form for all who take the same, with which a backend can be
// asked in the client's place: "zstd, br, gzip" at most, "identity" if it takes none. What the client wants more is lost: the
// backend makes the choice anyway.
func (a *Accepts) All() string {
	taken := 0
	for c := Identity + 1; c < codings; c++ {
		w := a.named[c]
		if w == 0 {
			w = a.other
		}
		if w > 1 {
			taken |= 1 << (c - 1)
		}
	}
	return spelled[taken]
}

var spelled = func() (spelled [1 << (codings - 1)]string) {
	for taken := range spelled {
		for c := codings - 1; c > Identity; c-- {
			if taken&(1<<(c-1)) != 0 {
				if spelled[taken] != "" {
					spelled[taken] += ", "
				}
				spelled[taken] += c.String()
			}
		}
		if taken == 0 {
			spelled[taken] = Identity.String()
		}
	}
	return spelled
}()
