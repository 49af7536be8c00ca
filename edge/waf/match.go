package waf

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/corazawaf/coraza/v3/types"
)

const (
	// MaxMatches bounds what [Transaction.Matches] returns: a request may match on a thousand arguments.
	MaxMatches = 100
	// maxData is how many bytes of a target or of its value are kept.
	maxData = 128
)

// Redacted stands in [Match.Data] for a value that may be a secret.
const Redacted = "[redacted]"

// Match is one rule that matched one target.
type Match struct {
	// ID is the rule's number, such as 942100.
	ID int
	// Message is the rule's own explanation.
	Message string
	// Severity is critical, error, warning, notice or another of the engine's words; empty if the
	// rule states none.
	Severity string
	// Tags are the rule's. They are shared by all matches of the rule and must not be changed.
	Tags []string
	// Target is what matched: a variable and a name in it, such as ARGS:q or REQUEST_HEADERS:User-Agent, or a
	// variable alone. At most 128 bytes.
	Target string
	// Data is the beginning, at most 128 bytes, of the value as the rule saw it, which is after its
	// transformations. It is [Redacted] if the target is a cookie, or its name, or for a whole body or
	// query its text, speaks of passwords, tokens, sessions or cards.
	Data string
	// Score is what the match added to the anomaly score; 0 for a rule that refuses on its own.
	Score int
	// Partial: Target is not all that the rule matched on, as with a chain of conditions, or is the rules'
	// own. An exclusion of it may not be enough.
	Partial bool
}

// Matches returns the rules that matched so far, in their order, the tenant's own first: one entry for each target of a
// rule, but one in all for a chain of conditions, and at most [MaxMatches]. Bookkeeping of the rule
// set (901xxx, 905xxx, 949xxx, 959xxx, 980xxx, and rules without a message) is left out. The result is the
// caller's and stays valid after Close.
func (t *Transaction) Matches() []Match {
	if t == nil || !t.begun {
		return nil
	}
	defer t.rescue("list matches")
	matches := t.front.found()
	if t.tx == nil {
		return matches
	}
	for _, rule := range t.tx.MatchedRules() {
		if t.rules.catalog.bookkeeping(rule) {
			continue
		}
		matches = appendRule(matches, rule)
		if len(matches) >= MaxMatches {
			return matches[:MaxMatches]
		}
	}
	return matches
}

// bookkeeping reports whether a match is nothing to tell: rules without a message only help others, unless
// they refuse.
func (c *catalog) bookkeeping(rule types.MatchedRule) bool {
	id := rule.Rule().ID()
	return keepsBooks(id) || rule.Message() == "" && !c.refuses[id]
}

// keepsBooks reports whether a rule is of the families that find nothing themselves.
func keepsBooks(id int) bool {
	switch id / 1000 {
	case 901, 905, 949, 959, 980:
		return true
	}
	return false
}

// appendRule adds the entries of one matched rule.
func appendRule(matches []Match, rule types.MatchedRule) []Match {
	meta := rule.Rule()
	proto := Match{
		ID:      meta.ID(),
		Message: strings.Clone(rule.Message()),
		Tags:    meta.Tags(),
	}
	if meta.Severity() != types.RuleSeverityUnset {
		proto.Severity = meta.Severity().String()
	}
	each := scoreOf(meta)
	data, chained := decisive(rule.MatchedDatas())
	if chained {
		m := proto
		d := evidence(rule.MatchedDatas())
		m.setTarget(d)
		m.Score = each * len(data)
		m.Partial = !fromClient(d) || slices.ContainsFunc(rule.MatchedDatas(), func(o types.MatchData) bool {
			return fromClient(o) && targetOf(o) != m.Target
		})
		return append(matches, m)
	}
	first := len(matches)
	for _, d := range data {
		m := proto
		m.setTarget(d)
		m.Score, m.Partial = each, !fromClient(d)
		if same := slices.IndexFunc(matches[first:], func(o Match) bool { return o.Target == m.Target }); same >= 0 {
			matches[first+same].Score += each
			continue
		}
		if matches = append(matches, m); len(matches) > MaxMatches {
			break
		}
	}
	return matches
}

// decisive returns the data of the last condition of a chain, which is the one that scores, once
// for each value. Without a chain that is all of it.
func decisive(data []types.MatchData) (last []types.MatchData, chained bool) {
	level := 0
	for _, d := range data {
		level = max(level, d.ChainLevel())
	}
	if level == 0 {
		return data, false
	}
	for _, d := range data {
		if d.ChainLevel() == level {
			last = append(last, d)
		}
	}
	return last, true
}

// evidence picks the datum of a chain that tells most: the last one that came from the client.
func evidence(data []types.MatchData) types.MatchData {
	for _, d := range slices.Backward(data) {
		if fromClient(d) {
			return d
		}
	}
	return data[0]
}

func fromClient(d types.MatchData) bool {
	switch d.Variable().Name() {
	case "TX", "MATCHED_VAR", "MATCHED_VARS", "MATCHED_VAR_NAME", "MATCHED_VARS_NAMES", "UNKNOWN":
		return false
	}
	return true
}

// scoreOf is what the CRS adds for each match of a rule: its severity decides. Rules that score are
// marked with their paranoia level.
func scoreOf(rule types.RuleMetadata) int {
	scores := slices.ContainsFunc(rule.Tags(), func(tag string) bool {
		return strings.HasPrefix(tag, "paranoia-level/")
	})
	if !scores {
		return 0
	}
	switch rule.Severity() {
	case types.RuleSeverityCritical:
		return 5
	case types.RuleSeverityError:
		return 4
	case types.RuleSeverityWarning:
		return 3
	case types.RuleSeverityNotice:
		return 2
	}
	return 0
}

// targetOf is a variable and a name in it, as rules and exclusions write them.
func targetOf(d types.MatchData) string {
	name := nameOf(d.Variable())
	if d.Key() != "" {
		name += ":" + d.Key()
	}
	return shorten(name)
}

func (m *Match) setTarget(d types.MatchData) {
	m.Target = targetOf(d)
	m.Data = shorten(d.Value())
	if name := d.Variable().Name(); name == "REQUEST_COOKIES" || secretive(d.Key()) || wholes[name] && secretive(d.Value()) {
		m.Data = Redacted
	}
}

// wholes are the variables that hold a whole query, body or header, where a secret may stand next to
// what matched.
var wholes = map[string]bool{
	"REQUEST_BODY": true, "REQUEST_LINE": true, "REQUEST_URI": true, "REQUEST_URI_RAW": true,
	"QUERY_STRING": true, "REQUEST_HEADERS": true, "RESPONSE_HEADERS": true, "RESPONSE_BODY": true,
	"MATCHED_VAR": true, "MATCHED_VARS": true, "TX": true,
}

// secrets are the parts of names whose values are not to be written into a log.
var secrets = []string{
	"pass", "pwd", "secret", "token", "auth", "cred", "cookie", "sess", "csrf", "xsrf", "jwt", "otp",
	"apikey", "api_key", "api-key", "access_key", "private", "signature", "cvv", "cvc", "card", "iban", "ssn",
}

func secretive(text string) bool {
	text = strings.ToLower(text)
	return slices.ContainsFunc(secrets, func(s string) bool { return strings.Contains(text, s) })
}

// shorten returns a copy of at most maxData bytes that does not end within a character.
func shorten(s string) string {
	if len(s) > maxData {
		end := maxData
		for end > maxData-utf8.UTFMax && !utf8.RuneStart(s[end]) {
			end--
		}
		s = s[:end]
	}
	return strings.Clone(s)
}
