package waf

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
	"rsc.io/binaryregexp"

	"gatehouse/edge/waf/lazydfa"
)

// maxCaptures is how many groups a rule's captures have room for, the whole match included.
const maxCaptures = 9

// An rx is the operator @rx. An automaton says whether there is a match, which for nearly every value
// that a rule looks at is no; regexp is asked for the groups alone, and where the automaton gives up.
type rx struct {
	pattern string
	re      *regexp.Regexp
	dfa     func() *lazydfa.DFA // nil: regexp decides
}

// newRx compiles a pattern as the engine does: "." is any character and ^ and $ are those of lines, in
// every pattern; one that means bytes that are no UTF-8 is for binaryregexp.
func newRx(options plugintypes.OperatorOptions) (plugintypes.Operator, error) {
	if meansBytes(options.Arguments) {
		re, err := binaryregexp.Compile(options.Arguments)
		if err != nil {
			return nil, fmt.Errorf("compile pattern: %w", err)
		}
		return &binaryRx{re}, nil
	}
	pattern := "(?sm)" + options.Arguments
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("compile pattern: %w", err)
	}
	// Made at the first use: of the rules of ten thousand tenants few are asked.
	return &rx{pattern: pattern, re: re, dfa: sync.OnceValue(func() *lazydfa.DFA {
		dfa, err := lazydfa.New(pattern)
		if err != nil { // regexp took it, so this is lazydfa.ErrUnsupported
			return nil
		}
		return dfa
	})}, nil
}

// Evaluate reports whether the value matches, and tells the transaction the groups if it wants them.
func (o *rx) Evaluate(tx plugintypes.TransactionState, value string) bool {
	if dfa := o.dfa(); dfa != nil {
		yes, decided := dfa.Match(value)
		if decided && (!yes || !tx.Capturing()) {
			return yes
		}
	}
	if !tx.Capturing() {
		return o.re.MatchString(value)
	}
	groups := o.re.FindStringSubmatchIndex(value)
	if groups == nil {
		return false
	}
	for i := 0; i < len(groups)/2 && i < maxCaptures; i++ {
		text := ""
		if groups[2*i] >= 0 { // the group took part
			text = value[groups[2*i]:groups[2*i+1]]
		}
		tx.CaptureField(i, text)
	}
	return true
}

// A binaryRx is @rx for a pattern of bytes.
type binaryRx struct{ re *binaryregexp.Regexp }

// Evaluate is that of rx.
func (o *binaryRx) Evaluate(tx plugintypes.TransactionState, value string) bool {
	if !tx.Capturing() {
		return o.re.MatchString(value)
	}
	groups := o.re.FindStringSubmatch(value)
	for i, text := range groups[:min(len(groups), maxCaptures)] {
		tx.CaptureField(i, text)
	}
	return len(groups) > 0
}

// meansBytes reports whether a pattern means bytes that are no UTF-8: whether it is none itself once
// its escapes \xHH and \x{HH} are put in, which is how the engine decides.
func meansBytes(pattern string) bool {
	var out []byte
	for len(pattern) > 0 {
		b, width := byteEscape(pattern)
		if width == 0 {
			b, width = pattern[0], 1
		}
		out = append(out, b)
		pattern = pattern[width:]
	}
	return !utf8.Valid(out)
}

// byteEscape reads an escape at the beginning of a text; width 0: there is none. Of more than two
// digits in braces the engine takes the first two.
func byteEscape(text string) (b byte, width int) {
	digits, ok := strings.CutPrefix(text, `\x`)
	if !ok || len(text) < len(`\xHH`) {
		return 0, 0
	}
	width = len(`\xHH`)
	if inner, braced := strings.CutPrefix(digits, "{"); braced && len(text) >= len(`\x{HH}`) {
		if end := strings.IndexByte(inner, '}'); end >= 0 {
			digits, width = inner[:end], len(`\x{`)+end+len(`}`)
		}
	}
	if len(digits) < 2 {
		return 0, 0
	}
	n, err := strconv.ParseUint(digits[:2], 16, 8)
	if err != nil {
		return 0, 0
	}
	return byte(n), width
}
