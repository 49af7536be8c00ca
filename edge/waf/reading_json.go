package waf

import (
	"strconv"

	"github.com/tidwall/gjson"
)

// Bounds of the JSON that we read. What is beyond is read by the engine, which has larger ones.
const (
	simpleJSONDepth = 64
	// The engine bounds the names and values of a body together by so many times its length (internal/bodyprocessors/json.go).
	flattenFactor = 8
	flattenFloor  = 4096
)

// A jsonReader flattens a text of JSON (RFC 8259) as the engine does: {"a":[true]} is json.a.0=true and json.a=1, the length of
// the array. What is not valid it leaves to the engine.
type jsonReader struct {
	text   string
	at     int
	key    []byte
	names  []byte // of all values, one behind the other
	ends   []int  // where in names each ends
	values []string
	used   int // bytes of names and values
	most   int // of these
	arrays int
	over   bool // a bound of the engine's own is reached, for which it refuses
}

// flatten returns the values of a text. Not ok: the engine has to read it; over: and will refuse it, as far as it can be told.
func flatten(text string) (out []field, ok, over bool) {
	r := jsonReader{text: text, key: append(make([]byte, 0, 64), "json"...), most: max(flattenFactor*len(text), flattenFloor)}
	r.space()
	if r.at == len(text) || text[r.at] != '{' && text[r.at] != '[' || !r.value(0) {
		return nil, false, r.over
	}
	if r.space(); r.at != len(text) {
		return nil, false, false
	}
	names, from := string(r.names), 0
	out = make([]field, len(r.values))
	for i, value := range r.values {
		out[i] = field{names[from:r.ends[i]], value}
		from = r.ends[i]
	}
	return out, true, false
}

// next returns the next character; 0 at the end.
func (r *jsonReader) next() byte {
	if r.at < len(r.text) {
		return r.text[r.at]
	}
	return 0
}

func (r *jsonReader) space() {
	for r.at < len(r.text) && (r.text[r.at] == ' ' || r.text[r.at] == '\n' || r.text[r.at] == '\t' || r.text[r.at] == '\r') {
		r.at++
	}
}

// take passes over a character, and the spaces behind it.
func (r *jsonReader) take(c byte) bool {
	if r.next() != c {
		return false
	}
	r.at++
	r.space()
	return true
}

// add keeps a value under the key as it stands.
func (r *jsonReader) add(value string) bool {
	if r.used += len(r.key) + len(value); r.used > r.most {
		r.over = true
		return false
	}
	r.names = append(r.names, r.key...)
	r.ends = append(r.ends, len(r.names))
	r.values = append(r.values, value)
	return true
}

// full reports whether there are as many values as the engine reads, which counts the lengths of arrays apart: it looks no further,
// whatever comes.
func (r *jsonReader) full() bool {
	r.over = r.over || len(r.values)-r.arrays >= argumentsLimit
	return r.over
}

// value reads one value.
func (r *jsonReader) value(depth int) bool {
	from := r.at
	switch c := r.next(); {
	case depth > simpleJSONDepth:
		return false
	case c == '{':
		return r.object(depth)
	case c == '[':
		return r.array(depth)
	case c == '"':
		text, ok := r.string()
		return ok && r.add(text)
	case c == '-' || '0' <= c && c <= '9':
		return r.number() && r.add(r.text[from:r.at])
	case c == 'n':
		return r.word("null") && r.add("")
	case c == 't':
		return r.word("true") && r.add("true")
	case c == 'f':
		return r.word("false") && r.add("false")
	}
	return false
}

func (r *jsonReader) object(depth int) bool {
	r.take('{')
	for first := true; !r.take('}'); first = false {
		if !first && !r.take(',') {
			return false
		}
		if r.full() {
			return false
		}
		before := len(r.key)
		name, ok := r.string()
		if r.space(); !ok || !r.take(':') {
			return false
		}
		r.key = append(append(r.key, '.'), name...)
		if !r.value(depth + 1) {
			return false
		}
		r.space()
		r.key = r.key[:before]
	}
	return true
}

func (r *jsonReader) array(depth int) bool {
	r.take('[')
	n := 0
	for ; !r.take(']'); n++ {
		if n > 0 && !r.take(',') {
			return false
		}
		if r.full() {
			return false
		}
		before := len(r.key)
		r.key = strconv.AppendInt(append(r.key, '.'), int64(n), 10)
		if !r.value(depth + 1) {
			return false
		}
		r.space()
		r.key = r.key[:before]
	}
	if n == 0 {
		return true
	}
	if r.over = r.arrays >= argumentsLimit; r.over {
		return false
	}
	r.arrays++
	return r.add(strconv.Itoa(n))
}

// string reads a string and decodes it.
func (r *jsonReader) string() (text string, ok bool) {
	if r.next() != '"' {
		return "", false
	}
	from, plain := r.at, true
	for r.at++; r.at < len(r.text); r.at++ {
		switch c := r.text[r.at]; {
		case c == '"':
			r.at++
			if plain {
				return r.text[from+1 : r.at-1], true
			}
			return gjson.Parse(r.text[from:r.at]).Str, true
		case c < ' ':
			return "", false
		case c == '\\':
			plain = false
			if !r.escape() {
				return "", false
			}
		}
	}
	return "", false
}

// escape passes over an escape but for its last character.
func (r *jsonReader) escape() bool {
	r.at++
	switch r.next() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return true
	case 'u':
		for range 4 {
			if r.at++; unhex(r.next()) < 0 {
				return false
			}
		}
		return true
	}
	return false
}

func (r *jsonReader) number() bool {
	if r.next() == '-' {
		r.at++
	}
	switch c := r.next(); {
	case c == '0':
		r.at++
	case '1' <= c && c <= '9':
		r.digits()
	default:
		return false
	}
	if r.next() == '.' {
		if r.at++; !r.digits() {
			return false
		}
	}
	if c := r.next(); c == 'e' || c == 'E' {
		r.at++
		if c := r.next(); c == '+' || c == '-' {
			r.at++
		}
		return r.digits()
	}
	return true
}

// digits passes over one or more.
func (r *jsonReader) digits() bool {
	from := r.at
	for '0' <= r.next() && r.next() <= '9' {
		r.at++
	}
	return r.at > from
}

func (r *jsonReader) word(word string) bool {
	if len(r.text)-r.at < len(word) || r.text[r.at:r.at+len(word)] != word {
		return false
	}
	r.at += len(word)
	return true
}
