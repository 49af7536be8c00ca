package routes

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
)

// ParseJSON reads one document as Redis holds it. source names it in problems
// ("vhost:www.shop.test"). A vhost may be partial: it is merged over a list (see
// Vhost.Check for the result). Certificate paths must be absolute: there is no
// folder that they could belong to.
func ParseJSON(key Key, source string, data []byte) Document {
	doc := Document{Key: key}
	if p := jsonProblem(source, data); p != nil {
		doc.Problems = Problems{p}
		return doc
	}
	if plainForm(data) {
		switch key.Kind {
		case KindTenant:
			t := &Tenant{}
			if decodeStrictJSON(data, t) == nil && len(checkTenant(t, checkPartial)) == 0 {
				t.Name, doc.Tenant = key.Name, t
				return doc
			}
		case KindVhost:
			v := &Vhost{}
			if decodeStrictJSON(data, v) == nil && len(checkVhost(key.Name, v, checkPartial)) == 0 {
				doc.Vhost = v.settle(key.Name)
				return doc
			}
		}
	}
	// Something is wrong: read it again by the slow way that says what and where.
	d, err := NewDecoder(source, data)
	if err != nil {
		doc.Problems = problemsOf(source, err)
		return doc
	}
	return d.documentOf(key, checkPartial)
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
		line := before[bytes.LastIndexByte(before, '\n')+1:]
		p.Column = len([]rune(string(line))) + 1
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
			if seen[string(word)] || bytes.ContainsFunc(word, func(r rune) bool { return r != '_' && (r < 'a' || r > 'z') }) {
				return false
			}
			seen[string(word)] = true
		}
	}
	return true
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
