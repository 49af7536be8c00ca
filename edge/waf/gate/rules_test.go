package gate

import (
	"io/fs"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"

	"rsc.io/binaryregexp"

	wafrules "gatehouse/waf-rules"
	"gatehouse/waf-rules/crstest"
)

// A needed is the operator of one rule of the embedded set.
type needed struct {
	rule, name, argument string
	negated              bool
	paranoia             int // from which the rule is asked
	need                 need
	some                 bool // it needs something
	matches              func(text string) bool
}

var (
	ruleHead  = regexp.MustCompile(`(?s)^SecRule\s+(?:"(?:[^"\\]|\\.)*"|\S+)\s+"((?:[^"\\]|\\.)*)"`)
	ruleID    = regexp.MustCompile(`\bid:\s*(\d+)`)
	ruleLevel = regexp.MustCompile(`paranoia-level/(\d)`)
)

func readRuleFile(name string) ([]byte, error) {
	set := wafrules.Embedded()
	if text, err := fs.ReadFile(set.FS(), name); err == nil {
		return text, nil
	}
	return fs.ReadFile(set.FS(), "@owasp_crs/"+name)
}

// checks are the operators of all rules, chained ones too.
var checks = sync.OnceValues(func() ([]*needed, error) {
	set := wafrules.Embedded()
	files, err := fs.Glob(set.FS(), "@owasp_crs/*.conf")
	if err != nil {
		return nil, err
	}
	var out []*needed
	for _, file := range files {
		text, err := fs.ReadFile(set.FS(), file)
		if err != nil {
			return nil, err
		}
		rule, level := "", 1
		joined := strings.ReplaceAll(string(text), "\\\n", " ")
		for line := range strings.Lines(joined) {
			line = strings.TrimSpace(line)
			m := ruleHead.FindStringSubmatch(line)
			if m == nil {
				continue
			}
			if id := ruleID.FindStringSubmatch(line[len(m[0]):]); id != nil {
				rule, level = id[1], 1
			}
			if l := ruleLevel.FindStringSubmatch(line[len(m[0]):]); l != nil {
				level = int(l[1][0] - '0')
			}
			c := newCheck(strings.ReplaceAll(m[1], `\"`, `"`))
			c.rule, c.paranoia = rule, level
			out = append(out, c)
		}
	}
	return out, nil
})

func newCheck(operator string) *needed {
	c := &needed{name: "rx", argument: operator}
	if strings.HasPrefix(operator, "!") {
		c.negated = true
		operator = operator[1:]
	}
	if strings.HasPrefix(operator, "@") {
		name, argument, _ := strings.Cut(operator[1:], " ")
		c.name, c.argument = name, strings.TrimSpace(argument)
	}
	c.need, c.some = needOfOperator(c.name, c.argument, c.negated, readRuleFile)
	c.matches = oracleOf(c)
	return c
}

// oracleOf returns what says of a text whether the operator says yes to it; nil: it is not played here.
func oracleOf(c *needed) func(text string) bool {
	if c.negated || strings.Contains(c.argument, "%{") {
		return nil
	}
	switch c.name {
	case "rx":
		return matcherOf(c.argument)
	case "pm", "pmFromFile":
		words := strings.Split(strings.ToLower(c.argument), " ")
		if c.name == "pmFromFile" {
			text, err := readRuleFile(c.argument)
			if err != nil {
				panic(err)
			}
			words = wordsOfFile(text)
		}
		find := newAutomaton(words)
		var h hits
		return func(text string) bool {
			find.scan(text, &h)
			return len(h.list) > 0
		}
	case "contains":
		return func(text string) bool { return strings.Contains(text, c.argument) }
	case "streq":
		return func(text string) bool { return text == c.argument }
	case "beginsWith":
		return func(text string) bool { return strings.HasPrefix(text, c.argument) }
	case "endsWith":
		return func(text string) bool { return strings.HasSuffix(text, c.argument) }
	}
	return nil
}

// matcherOf says whether regexp finds the pattern as the engine compiles it, or binaryregexp as it does for bytes.
func matcherOf(pattern string) func(text string) bool {
	re, err := regexp.Compile("(?sm)" + pattern)
	if err != nil {
		return nil
	}
	if regexp.MustCompile(`[^\x00-\x7f]|\\x`).MatchString(pattern) {
		if bytes, err := binaryregexp.Compile(pattern); err == nil {
			return func(text string) bool { return re.MatchString(text) || bytes.MatchString(text) }
		}
	}
	return re.MatchString
}

func allChecks(t testing.TB) []*needed {
	t.Helper()
	out, err := checks()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// suiteValues are the parameters, fields and bodies of the rule set's own tests, as they come and decoded.
func suiteValues(t *testing.T) []string {
	t.Helper()
	tests, err := crstest.Load()
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	var out []string
	add := func(v string) {
		if !known[v] {
			known[v] = true
			out = append(out, v)
		}
	}
	for _, test := range tests {
		for _, stage := range test.Stages {
			head, body, _ := strings.Cut(string(stage.Request), "\r\n\r\n")
			add(body)
			for i, line := range strings.Split(head, "\r\n") {
				_, value, _ := strings.Cut(line, " ")
				add(value)
				if i == 0 {
					_, query, _ := strings.Cut(value, "?")
					body = query + "&" + body
				}
			}
			for pair := range strings.SplitSeq(body, "&") {
				_, value, _ := strings.Cut(pair, "=")
				add(value)
				if decoded, err := url.QueryUnescape(value); err == nil {
					add(decoded)
				}
			}
		}
	}
	return out
}
