package waf

import (
	"slices"
	"testing"

	"gatehouse/waf-rules/crstest"
)

// A gap in a text is a run of at least minGap of one of these bytes, which no escaping changes.
const (
	gapWord   = '~' // syllables
	gapDigits = '_'
	gapHex    = '.'
	minGap    = 4
)

// A gap is where a text has something of its own.
type gap struct {
	at, n int
	kind  byte
}

// A draft is a text with gaps.
type draft struct {
	text []byte
	gaps []gap
}

func newDraft(text string) draft {
	d := draft{text: []byte(text)}
	for at := 0; at < len(text); {
		n := 1
		for at+n < len(text) && text[at+n] == text[at] {
			n++
		}
		if c := text[at]; n >= minGap && (c == gapWord || c == gapDigits || c == gapHex) {
			d.gaps = append(d.gaps, gap{at, n, c})
		}
		at += n
	}
	return d
}

// fill gives each gap what no other one has had, of any draft with the same counter: as long as there is
// room in it, which a word of 8 letters has for 13 million.
func (d *draft) fill(counter *uint64) {
	for _, g := range d.gaps {
		*counter++
		spell(d.text[g.at:g.at+g.n], g.kind, *counter)
	}
}

// spell writes a number so that the next one looks unlike it: the factor has no divisor in common with
// any base, so two numbers below what there is room for are never the same.
func spell(into []byte, kind byte, n uint64) {
	n *= 7654321
	for i := range into {
		switch {
		case kind == gapDigits:
			into[i] = '0' + byte(n%10)
			n /= 10
		case kind == gapHex:
			into[i] = "0123456789abcdef"[n%16]
			n /= 16
		case i%2 == 0:
			into[i] = "bdfghklmnprs"[n%12]
			n /= 12
		default:
			into[i] = "aeiou"[n%5]
			n /= 5
		}
	}
}

// A blank is a request with gaps in its target, fields and body.
type blank struct {
	request      crstest.Request
	target, body draft
	fields       []draftField // those that have gaps
}

// A draftField is the value of the field at a place.
type draftField struct {
	at int
	draft
}

func newBlank(r crstest.Request) *blank {
	b := &blank{request: r, target: newDraft(r.Target), body: newDraft(string(r.Body))}
	b.request.Fields = slices.Clone(r.Fields)
	for i, f := range r.Fields {
		if d := newDraft(f[1]); len(d.gaps) > 0 {
			b.fields = append(b.fields, draftField{i, d})
		}
	}
	return b
}

// fill returns the request with new values. What it returned before has then changed, too: body and
// fields are the same memory. It costs some 10 ns a value, see BenchmarkBlank.
func (b *blank) fill(counter *uint64) crstest.Request {
	b.target.fill(counter)
	b.body.fill(counter)
	b.request.Target, b.request.Body = string(b.target.text), b.body.text
	for i := range b.fields {
		d := &b.fields[i]
		d.fill(counter)
		b.request.Fields[d.at][1] = string(d.text)
	}
	return b.request
}

func TestNoTwoGapsAreFilledAlike(t *testing.T) {
	d := newDraft("a-~~~~~~~~-______-......-...")
	if len(d.gaps) != 3 {
		t.Fatalf("%+v", d.gaps)
	}
	counter, seen := uint64(0), map[string]bool{}
	for range 200_000 {
		d.fill(&counter)
		for _, g := range d.gaps {
			text := string(g.kind) + string(d.text[g.at:g.at+g.n])
			if seen[text] {
				t.Fatalf("%q twice, at %d", text, counter)
			}
			seen[text] = true
		}
	}
	if text := string(d.text); text[:2] != "a-" || text[len(text)-3:] != "..." {
		t.Errorf("%q", text)
	}
}
