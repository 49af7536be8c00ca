package routes

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"unicode/utf8"
)

const (
	// MaxDocument is how many bytes of JSON a document has at most: the rules, pages and certificates of one site fit
	// many times, and all others wait while it is read.
	MaxDocument = 1 << 20
	// maxValues is how many values, keys among them, it has at most.
	maxValues = 100_000
	// maxPlaced is how many of them it may have for what is wrong with it to be looked for in
	// its text: that takes a hundred times the time and memory of reading what is right.
	maxPlaced = 10_000
)

// ParseJSON reads one document as Redis holds it. source names it in problems
// ("vhost:www.shop.test"). A vhost may be partial: it is merged over a list (see
// Vhost.Check for the result). Certificate paths must be absolute: there is no
// folder that they could belong to. More than MaxDocument or maxValues is a problem.
func ParseJSON(key Key, source string, data []byte) Document {
	if len(data) > MaxDocument {
		return Document{Key: key, Problems: Problems{{File: source, Reason: fmt.Sprintf("it is too large: a document has at most %d MiB", MaxDocument>>20)}}}
	}
	return parseJSON(key, source, data, maxValues)
}

// parseJSON is ParseJSON for a document of any size: one that was good once, in a file, may have more.
func parseJSON(key Key, source string, data []byte, most int) Document {
	doc := Document{Key: key}
	if p := jsonProblem(source, data); p != nil {
		doc.Problems = Problems{p}
		return doc
	}
	if moreValues(data, most) {
		doc.Problems = Problems{{File: source, Reason: fmt.Sprintf("it has more than %d values, keys among them: put networks into lists", most)}}
		return doc
	}
	tenant, vhost, problems := decodeFast(key, source, data)
	switch {
	case len(problems) == 0:
		doc.Tenant, doc.Vhost = tenant, vhost
		return doc
	case most == maxValues && moreValues(data, maxPlaced):
		doc.Problems = problems
		return doc
	}
	// Something is wrong: read it again by the slow way that says what and where.
	d, err := NewDecoder(source, data)
	if err != nil {
		doc.Problems = problemsOf(source, err)
		return doc
	}
	return d.documentOf(key, checkPartial)
}

// decodeFast decodes valid JSON by encoding/json. Its problems have no place, and what is a problem to it need
// not be one to a Decoder: see plainForm.
func decodeFast(key Key, source string, data []byte) (*Tenant, *Vhost, Problems) {
	bad := func(reason string) Problems { return Problems{{File: source, Reason: said(reason)}} }
	if !plainForm(data) {
		return nil, nil, bad(fmt.Sprintf("a key stands twice, or is spelled otherwise than a field, or a value is a zero: among more than %d values it is not looked for which; "+
			"take some out, such as networks into a list", maxPlaced))
	}
	if key.Kind == KindTenant {
		t := &Tenant{}
		if err := decodeStrictJSON(data, t); err != nil {
			return nil, nil, bad(err.Error())
		}
		t.Name = key.Name
		return t, nil, asProblems(source, checkTenant(t, checkPartial))
	}
	v := &Vhost{}
	if err := decodeStrictJSON(data, v); err != nil {
		return nil, nil, bad(err.Error())
	}
	problems := asProblems(source, checkVhost(key.Name, v, checkPartial))
	return nil, v.settle(key.Name), problems
}

// moreValues reports whether valid JSON has more than most values and keys.
func moreValues(data []byte, most int) bool {
	n, text := 1, false
	for i := 0; i < len(data) && n <= most; i++ {
		switch c := data[i]; {
		case c == '"':
			text = !text
		case c == '\\':
			i++ // which stands in a text only
		case !text && (c == ',' || c == ':' || c == '{' || c == '['):
			n++
		}
	}
	return n > most
}

// jsonProblem says why data is not JSON, or nil.
func jsonProblem(source string, data []byte) *Problem {
	if len(bytes.TrimSpace(data)) == 0 {
		return &Problem{File: source, Reason: "empty: want a JSON object"}
	}
	if json.Valid(data) {
		return nil
	}
	p := &Problem{File: source, Reason: "not JSON"}
	var any json.RawMessage
	err := json.Unmarshal(data, &any)
	if err != nil {
		p.Reason = "not JSON: " + err.Error()
	}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		before := data[:max(0, min(int(syntax.Offset), len(data))-1)]
		p.Line = bytes.Count(before, []byte("\n")) + 1
		p.Column = utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
		p.Excerpt = Excerpt(data, p.Line, p.Column)
	}
	return p
}

// zeroRefused holds the names of the fields with a zeroTag.
var zeroRefused = func() map[string]bool {
	out := map[string]bool{}
	for _, t := range []reflect.Type{reflect.TypeFor[Tenant](), reflect.TypeFor[WAF](), reflect.TypeFor[Backend](), reflect.TypeFor[Timeouts](), reflect.TypeFor[Cache](), reflect.TypeFor[Rate](), reflect.TypeFor[Health](), reflect.TypeFor[Sticky](), reflect.TypeFor[Redirect](), reflect.TypeFor[Respond]()} {
		for name, at := range fieldsOf(t) {
			if t.FieldByIndex(at).Tag.Get(zeroTag) != "" {
				out[name] = true
			}
		}
	}
	return out
}()

// plainForm reports whether every key in valid JSON is spelled as fields are and
// stands once in its object, and no value can be a zero that is refused.
// encoding/json is more lenient: it takes "Tenant" for "tenant", and the last of
// two, and does not tell a zero from what is not there.
func plainForm(data []byte) bool {
	var stack []map[string]bool // the keys of each open object; nil for a list
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '{':
			stack = append(stack, map[string]bool{})
		case '[':
			stack = append(stack, nil)
		case '}', ']':
			stack = stack[:len(stack)-1]
		case '"':
			end := i + 1
			for data[end] != '"' {
				if data[end] == '\\' {
					end++
				}
				end++
			}
			word := data[i+1 : end]
			i = end
			value, isKey := bytes.CutPrefix(bytes.TrimLeft(data[end+1:], jsonSpace), []byte(":"))
			if !isKey {
				continue
			}
			if zeroRefused[string(word)] && mayBeZero(value) {
				return false
			}
			seen := stack[len(stack)-1]
			if seen[string(word)] || !plainKey(word) {
				return false
			}
			seen[string(word)] = true
		}
	}
	return true
}

// plainKey reports whether a key is spelled as fields are, or as none is in any case: with a hyphen, as header fields have.
func plainKey(word []byte) bool {
	hyphen := bytes.IndexByte(word, '-') >= 0
	return !bytes.ContainsFunc(word, func(r rune) bool {
		return r != '_' && (r < 'a' || r > 'z') && (!hyphen || r != '-' && (r < 'A' || r > 'Z') && (r < '0' || r > '9'))
	})
}

const jsonSpace = " \t\r\n"

// mayBeZero reports whether a number, or a text with a number, that begins here
// can be zero, or is none: "0.5s" may, "50ms" may not.
func mayBeZero(value []byte) bool {
	value = bytes.TrimPrefix(bytes.TrimLeft(value, jsonSpace), []byte(`"`))
	return len(value) == 0 || value[0] < '1' || value[0] > '9'
}

// decodeStrictJSON is the fast way for documents that are right; whoever calls
// it decodes again with a Decoder to say what is wrong.
func decodeStrictJSON(data []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return err
	}
	if dec.More() {
		return fmt.Errorf("more than one value")
	}
	return nil
}
