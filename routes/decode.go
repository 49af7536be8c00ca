package routes

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// A Decoder reads YAML (or JSON, which is YAML) into Go values strictly and
// reports what is wrong with a place, not only the first thing (maxProblems of them): an
// unknown key, a key given twice, a value of the wrong kind, a zero that would
// count as not set (tag `zero`). Field names are the `json` tags. The zero value is not usable; see NewDecoder.
type Decoder struct {
	file      string
	source    []byte
	root      ast.Node
	problems  Problems                // maxProblems at most
	more      int                     // for which there was no room
	positions map[string]*token.Token // field path → where its value stands
}

func newPositions() map[string]*token.Token { return map[string]*token.Token{} }

// NewDecoder parses source. An error means that it is not YAML at all; it is a
// *Problem that says where. file is the name used in problems.
func NewDecoder(file string, source []byte) (*Decoder, error) {
	source = bytes.TrimPrefix(source, []byte("\ufeff"))
	// The parser counts some of the line breaks of Windows twice.
	source = bytes.ReplaceAll(source, []byte("\r\n"), []byte("\n"))
	d := &Decoder{file: file, source: source, positions: newPositions()}
	tokens := lexer.Tokenize(string(source))
	if at := tooDeep(tokens); at != nil {
		return nil, d.problemAt(at, "", fmt.Sprintf("nested more than %d levels deep", maxDepth))
	}
	parsed, err := parse(tokens)
	if err != nil {
		return nil, d.syntaxProblem(err)
	}
	if len(parsed.Docs) > 1 && parsed.Docs[1].Body != nil {
		return nil, d.problemAt(parsed.Docs[1].Body.GetToken(), "", "one YAML document per file: remove the line ---")
	}
	if len(parsed.Docs) > 0 {
		d.root = parsed.Docs[0].Body
	}
	return d, nil
}

// maxDepth bounds nesting: the parser's time grows with its square.
const maxDepth = 64

// tooDeep returns the token that goes one level too deep, or nil.
func tooDeep(tokens token.Tokens) *token.Token {
	brackets, dashes, line := 0, 0, 0
	for _, t := range tokens {
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			brackets++
		case token.SequenceEndType, token.MappingEndType:
			brackets = max(0, brackets-1)
		case token.SequenceEntryType, token.MappingKeyType, token.TagType, token.AnchorType:
			if t.Position.Line != line { // "- - - a" nests on one line
				line, dashes = t.Position.Line, 0
			}
			dashes++
		default:
			continue
		}
		if brackets > maxDepth || dashes > maxDepth {
			return t
		}
	}
	return nil
}

// parse turns a panic of the parser into an error: one tenant's document must
// not take the process down.
func parse(tokens token.Tokens) (file *ast.File, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the parser gave up: %v", r)
		}
	}()
	return parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
}

func (d *Decoder) syntaxProblem(err error) *Problem {
	var at interface{ GetToken() *token.Token }
	if !errors.As(err, &at) || at.GetToken() == nil {
		return &Problem{File: d.file, Reason: "not YAML: " + err.Error()}
	}
	var said interface{ GetMessage() string }
	reason := "not YAML"
	if errors.As(err, &said) {
		reason += ": " + said.GetMessage()
	}
	p := d.problemAt(at.GetToken(), "", reason)
	if d.bareWildcard(p.Line) {
		p.Reason += ` (a name that begins with * needs quotes: "*.shop.test")`
	} else if d.holdsIPv6(p.Line) {
		p.Reason += quoteIPv6
	}
	return p
}

// holdsIPv6 reports whether the line of a syntax error, whose braces the parser takes
// for those of a mapping, has two colons in a row.
func (d *Decoder) holdsIPv6(line int) bool {
	lines := strings.Split(string(d.source), "\n")
	return line > 0 && line <= len(lines) && strings.Contains(lines[line-1], "::") && strings.ContainsAny(lines[line-1], "{[")
}

// bareWildcard reports whether a * without quotes begins the line of a syntax
// error or one of the two before it: YAML takes it for an alias, and the parser
// notices late.
func (d *Decoder) bareWildcard(line int) bool {
	lines := strings.Split(string(d.source), "\n")
	for i := max(0, line-3); i < min(line, len(lines)); i++ {
		if strings.HasPrefix(strings.TrimLeft(lines[i], " -"), "*") {
			return true
		}
	}
	return false
}

// Decode fills into, a pointer to a struct, from the whole text. Problems
// returns what was wrong.
func (d *Decoder) Decode(into any) {
	if d.root == nil {
		return
	}
	d.value(d.root, "", reflect.ValueOf(into).Elem())
}

var (
	textType    = reflect.TypeFor[encoding.TextUnmarshaler]()
	backendType = reflect.TypeFor[Backend]()
	hstsType    = reflect.TypeFor[HSTS]()
	ratesType   = reflect.TypeFor[Rates]()
)

// value decodes node n, which stands at path, into v.
func (d *Decoder) value(n ast.Node, path string, v reflect.Value) {
	n = plain(n)
	d.positions[path] = n.GetToken()
	if _, null := n.(*ast.NullNode); null {
		return // "key:" with nothing after it: not set
	}
	if v.Kind() == reflect.Pointer {
		fresh := reflect.New(v.Type().Elem())
		d.value(n, path, fresh.Elem())
		v.Set(fresh)
		return
	}
	switch {
	case v.Type() == backendType && isScalar(n):
		d.value(n, path, v.FieldByName("URL"))
	case v.Type() == ratesType && !isSequence(n): // one stands for a list of one
		v.Set(reflect.MakeSlice(ratesType, 1, 1))
		d.value(n, path, v.Index(0))
	case v.Type() == hstsType && isScalar(n):
		d.value(n, path, v.FieldByName("MaxAge"))
	case v.Type() == backendType && splitURL(n) != "":
		v.FieldByName("URL").SetString(splitURL(n))
	case v.Kind() == reflect.String && splitURL(n) != "":
		v.SetString(splitURL(n))
	case v.CanAddr() && v.Addr().Type().Implements(textType):
		d.text(n, path, v.Addr().Interface().(encoding.TextUnmarshaler))
	case v.Kind() == reflect.Struct:
		d.mapping(n, path, v)
	case v.Kind() == reflect.Slice:
		d.sequence(n, path, v)
	case v.Kind() == reflect.Map:
		d.table(n, path, v)
	default:
		d.scalar(n, path, v)
	}
}

func (d *Decoder) text(n ast.Node, path string, into encoding.TextUnmarshaler) {
	s, ok := scalarText(n)
	if !ok {
		d.fail(n, path, "want one value here, not %s", kindOf(n))
		return
	}
	if err := into.UnmarshalText([]byte(s)); err != nil {
		d.fail(n, path, "%v", err)
	}
}

func (d *Decoder) mapping(n ast.Node, path string, v reflect.Value) {
	entries, ok := Entries(n)
	if !ok {
		d.fail(n, path, "want a mapping (key: value) here, not %s", kindOf(n))
		return
	}
	fields := fieldsOf(v.Type())
	seen := map[string]bool{}
	for _, e := range entries {
		at := join(path, e.Key)
		index, known := fields[e.Key]
		switch {
		case !known && d.full():
		case !known:
			p := d.problemAt(e.Token, "", fmt.Sprintf("unknown key %q%s", shortText(e.Key), inside(path)))
			p.Guess = Nearest(e.Key, keys(fields))
			d.problems = append(d.problems, p)
		case seen[e.Key]:
			d.failAt(e.Token, at, "given twice")
		default:
			seen[e.Key] = true
			before := d.found()
			field := fieldAt(v, index)
			d.value(e.Value, at, field)
			if d.found() == before {
				d.explicitZero(e.Value, at, field, v.Type().FieldByIndex(index).Tag.Get(zeroTag))
			}
		}
	}
}

// table decodes a mapping whose keys are free text: v is a map[string]T.
func (d *Decoder) table(n ast.Node, path string, v reflect.Value) {
	entries, ok := Entries(n)
	if !ok {
		d.fail(n, path, "want a mapping (key: value) here, not %s", kindOf(n))
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for _, e := range entries {
		at, key := join(path, e.Key), reflect.ValueOf(e.Key)
		if v.MapIndex(key).IsValid() {
			d.failAt(e.Token, at, "given twice")
			continue
		}
		value := reflect.New(v.Type().Elem()).Elem()
		d.value(e.Value, at, value)
		v.SetMapIndex(key, value)
	}
}

// zeroTag is the struct tag of a field whose zero means "not set": why a zero that
// stands in the text is refused. Silently, it would be the default.
const zeroTag = "zero"

func (d *Decoder) explicitZero(n ast.Node, path string, v reflect.Value, reason string) {
	n = plain(n)
	if _, null := n.(*ast.NullNode); reason != "" && !null && v.IsZero() {
		d.fail(n, path, "%s: leave it out for the default", reason)
	}
}

func isSequence(n ast.Node) bool {
	_, ok := n.(*ast.SequenceNode)
	return ok
}

func (d *Decoder) sequence(n ast.Node, path string, v reflect.Value) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		d.fail(n, path, "want a list ([a, b]) here, not %s", kindOf(n))
		return
	}
	out := reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values))
	for i, item := range seq.Values {
		d.value(item, path+"["+strconv.Itoa(i)+"]", out.Index(i))
	}
	v.Set(out)
}

func (d *Decoder) scalar(n ast.Node, path string, v reflect.Value) {
	s, ok := scalarText(n)
	if !ok && bareIPv6(n) {
		d.fail(n, path, "want one value here, not a mapping%s", quoteIPv6)
		return
	}
	if !ok {
		d.fail(n, path, "want one value here, not %s", kindOf(n))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(s)
	case reflect.Bool:
		b, isBool := n.(*ast.BoolNode)
		if !isBool {
			d.fail(n, path, "want true or false, not %q", s)
			return
		}
		v.SetBool(b.Value)
	case reflect.Int, reflect.Int64:
		i, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			d.fail(n, path, "want a whole number, not %q", s)
			return
		}
		v.SetInt(i)
	default:
		panic("routes: no decoder for " + v.Type().String())
	}
}

// fieldsOf maps the json names of a struct's fields, those of embedded structs included, to where they are.
func fieldsOf(t reflect.Type) map[string][]int {
	out := map[string][]int{}
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name != "" && name != "-" {
			out[name] = f.Index
		}
	}
	return out
}

// fieldAt returns a field to write to, and makes the embedded struct that it is in.
func fieldAt(v reflect.Value, index []int) reflect.Value {
	for _, i := range index[:len(index)-1] {
		if v = v.Field(i); v.Kind() == reflect.Pointer {
			if v.IsNil() {
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
	}
	return v.Field(index[len(index)-1])
}

func keys(m map[string][]int) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func inside(path string) string {
	if path == "" {
		return ""
	}
	return " in " + path
}
