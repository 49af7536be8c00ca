package filestore

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/token"

	"gatehouse/routes"
)

const (
	indentStep = 2
	// flowWidth is how long a line may get before a list or mapping is written one
	// item a line.
	flowWidth = 100
)

// A field is one key of a mapping and its value: a string (YAML text of a
// scalar), multiline, []any or []field.
type field struct {
	name  string
	value any
}

// A multiline is a text of several lines, not yet YAML: a block of lines where it is a
// field's value and reads back so, else a quoted scalar.
type multiline string

// fieldsOf returns the fields of a document that are set, in the order in which
// the type declares them, named by their json tags.
func fieldsOf(v reflect.Value) []field {
	out := []field{}
	for _, f := range reflect.VisibleFields(v.Type()) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		value, err := v.FieldByIndexErr(f.Index) // an error: its embedded struct is not there
		if name == "" || name == "-" || err != nil || value.IsZero() {
			continue
		}
		out = append(out, field{name, valueOf(value)})
	}
	return out
}

func documentFields(doc *routes.Document) []field {
	switch {
	case doc == nil:
		return nil
	case doc.Tenant != nil:
		return fieldsOf(reflect.ValueOf(doc.Tenant).Elem())
	case doc.Vhost != nil:
		return fieldsOf(reflect.ValueOf(doc.Vhost).Elem())
	}
	return nil
}

func valueOf(v reflect.Value) any {
	switch x := v.Interface().(type) {
	case routes.Backend:
		if x.URLAlone() {
			return scalar(x.URL)
		}
	case routes.HSTS:
		if !x.Subdomains && !x.Preload {
			return valueOf(reflect.ValueOf(x.MaxAge))
		}
	case routes.Switch:
		if x == "true" || x == "false" {
			return string(x)
		}
	case routes.RuleRange:
		if x.First == x.Last {
			return x.String() // a number needs no quotes
		}
		return scalar(x.String())
	case encoding.TextMarshaler:
		text, err := x.MarshalText()
		if err != nil {
			return scalar(err.Error()) // does not read back: verify refuses it
		}
		return scalar(string(text))
	}
	switch v.Kind() {
	case reflect.Pointer:
		return valueOf(v.Elem())
	case reflect.Struct:
		return fieldsOf(v)
	case reflect.Slice:
		out := make([]any, v.Len())
		for i := range out {
			out[i] = valueOf(v.Index(i))
		}
		return out
	case reflect.Map:
		out := []field{}
		for _, key := range v.MapKeys() {
			out = append(out, field{key.String(), valueOf(v.MapIndex(key))})
		}
		slices.SortFunc(out, func(a, b field) int { return strings.Compare(a.name, b.name) })
		return out
	case reflect.String:
		if strings.Contains(v.String(), "\n") {
			return multiline(v.String())
		}
		return scalar(v.String())
	}
	return fmt.Sprint(v.Interface())
}

// plainText is what needs no quotes anywhere, also within [ ] and { }.
var plainText = regexp.MustCompile(`^[A-Za-z0-9/][A-Za-z0-9_./:@%+=~-]*$`)

// scalar writes a string as YAML.
func scalar(s string) string {
	if plainText.MatchString(s) && !token.IsNeedQuoted(s) && !strings.HasSuffix(s, ":") {
		return s
	}
	var b strings.Builder
	enc := json.NewEncoder(&b) // a JSON string is a double-quoted YAML one
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return `""` // strings encode; were it not so, verify would refuse this
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// flow writes a value on one line.
func flow(v any) string {
	var parts []string
	switch x := v.(type) {
	case string:
		return x
	case multiline:
		return scalar(string(x))
	case []any:
		for _, item := range x {
			parts = append(parts, flow(item))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case []field:
		for _, f := range x {
			parts = append(parts, scalar(f.name)+": "+flow(f.value))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	panic(fmt.Sprintf("filestore: no YAML for %T", v))
}

// block writes "name: value" at an indent: on one line if that is short enough and
// no text of several lines is in it.
func block(indent int, f field) []string {
	pad := strings.Repeat(" ", indent)
	head := pad + scalar(f.name) + ":"
	line := head + " " + flow(f.value)
	if len(line) <= flowWidth && !hasLines(f.value) {
		return []string{line}
	}
	out := []string{head}
	switch x := f.value.(type) {
	case multiline:
		if written, ok := literal(indent, f.name, string(x)); ok {
			return written
		}
		return []string{line}
	case []any:
		for _, item := range x {
			out = append(out, pad+strings.Repeat(" ", indentStep)+"- "+flow(item))
		}
	case []field:
		for _, inner := range x {
			out = append(out, block(indent+indentStep, inner)...)
		}
	default:
		return []string{line}
	}
	return out
}

// hasLines tells whether a text of several lines is a field's value in v. Lists are
// written on one line for each item, with such texts quoted.
func hasLines(v any) bool {
	switch x := v.(type) {
	case multiline:
		return true
	case []field:
		return slices.ContainsFunc(x, func(f field) bool { return hasLines(f.value) })
	}
	return false
}

// literal writes a text as a block of lines ("name: |"). It is false for a text that
// such a block cannot hold, or that the parser would not read back as it is, with
// either kind of line end: white space where YAML counts it as indentation,
// characters that only an escape can write, several line ends at the end.
func literal(indent int, name, text string) ([]string, bool) {
	body, ended := strings.CutSuffix(text, "\n")
	if strings.HasPrefix(body, "\n") || strings.HasSuffix(body, "\n") || strings.ContainsFunc(body, needsEscape) {
		return nil, false
	}
	pad := strings.Repeat(" ", indent)
	out := []string{pad + scalar(name) + ": |"}
	if !ended {
		out[0] += "-"
	}
	for line := range strings.SplitSeq(body, "\n") {
		if line != strings.TrimSpace(line) && (len(out) == 1 || strings.TrimSpace(line) == "") {
			return nil, false
		}
		if line != "" {
			line = pad + strings.Repeat(" ", indentStep) + line
		}
		out = append(out, line)
	}
	for _, newline := range []string{"\n", "\r\n"} {
		var back map[string]string
		source := strings.Join(out, newline) + newline + pad + "end: x" + newline
		if err := yaml.Unmarshal([]byte(source), &back); err != nil || back[name] != text || back["end"] != "x" {
			return nil, false
		}
	}
	return out, true
}

// needsEscape is what cannot stand in a block of lines as it is.
func needsEscape(r rune) bool {
	return r != '\n' && r != '\t' && !unicode.IsPrint(r) || r == utf8.RuneError
}

// documentLines writes a whole document, always one field a line.
func documentLines(indent int, key string, fields []field) []string {
	pad := strings.Repeat(" ", indent)
	if len(fields) == 0 {
		return []string{pad + scalar(key) + ": {}"}
	}
	out := []string{pad + scalar(key) + ":"}
	for _, f := range fields {
		out = append(out, block(indent+indentStep, f)...)
	}
	return out
}

// sections are the keys of a file, by the kind of the documents in them.
var sections = map[routes.Kind]string{routes.KindTenant: "tenants", routes.KindVhost: "vhosts"}

// newFile returns a file with nothing but the document.
func newFile(doc routes.Document) []byte {
	lines := append([]string{sections[doc.Key.Kind] + ":"}, documentLines(indentStep, doc.Key.Name, documentFields(&doc))...)
	return []byte(strings.Join(lines, "\n") + "\n")
}
