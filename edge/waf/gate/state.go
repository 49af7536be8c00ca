package gate

import (
	"regexp"
	"strings"

	"github.com/corazawaf/coraza/v3/collection"
	"github.com/corazawaf/coraza/v3/debuglog"
	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
	"github.com/corazawaf/coraza/v3/types"
	"github.com/corazawaf/coraza/v3/types/variables"
)

// A state is what operators see of a transaction while they decide about one value: whether to keep the groups of a pattern, and
// the variables that the macros of their arguments name. Whatever else they may ask for makes it panic, and
// then the value counts as one that matches.
type state struct {
	plugintypes.TransactionState // none; for the methods that no operator calls

	tenant    *Tenant
	capturing bool
	groups    [10]string
	captured  int // how many groups there are
	matched   string
}

// Capturing reports whether the link wants the groups.
func (s *state) Capturing() bool { return s.capturing }

// CaptureField keeps a group.
func (s *state) CaptureField(i int, text string) {
	if i < len(s.groups) {
		s.groups[i] = text
		s.captured = max(s.captured, i+1)
	}
}

// DebugLogger is silent.
func (s *state) DebugLogger() debuglog.Logger { return debuglog.Noop() }

// Collection returns the variables that rules set.
func (s *state) Collection(v variables.RuleVariable) collection.Collection {
	if v != variables.TX {
		panic("an operator asks for " + v.Name())
	}
	return settings{s}
}

// settings are the variables that rules set, for macros.
type settings struct{ of *state }

// Get returns the values of a variable.
func (s settings) Get(name string) []string {
	if isCapture(name) {
		if n := int(name[0] - '0'); n < s.of.captured {
			return []string{s.of.groups[n]}
		}
		panic("an operator asks for a group that there is not")
	}
	return s.of.tenant.values[strings.ToLower(name)]
}

// expand returns a text with its macros replaced, which are groups, the value that matched, and the tenant's settings.
func (s *state) expand(text string) string {
	var out strings.Builder
	for {
		before, rest, ok := strings.Cut(text, "%{")
		out.WriteString(before)
		if !ok {
			return out.String()
		}
		inner, after, _ := strings.Cut(rest, "}")
		text = after
		name := strings.ToLower(inner)
		switch values := s.valuesOf(name); {
		case name == "matched_var":
			out.WriteString(s.matched)
		case len(values) > 0:
			out.WriteString(values[0])
		default:
			out.WriteString(inner) // as the engine does
		}
	}
}

func (s *state) valuesOf(name string) []string {
	if name, tx := strings.CutPrefix(name, "tx."); tx {
		return settings{s}.Get(name)
	}
	return nil
}

// The rest of what a collection has is not for macros.

// FindAll is not called.
func (s settings) FindAll() []types.MatchData { panic("an operator lists variables") }

// FindRegex is not called.
func (s settings) FindRegex(*regexp.Regexp) []types.MatchData { panic("an operator lists variables") }

// FindString is not called.
func (s settings) FindString(string) []types.MatchData { panic("an operator lists variables") }

// Name is that of the variables.
func (s settings) Name() string { return variables.TX.Name() }
