package routes

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// An Exclusion says what of the WAF does not apply: whole rules, or one target of
// them, everywhere or on some paths and methods. The rules meant are those of Rules
// and of Tags together; one of the two must be set.
type Exclusion struct {
	// ID names it in logs and messages; 1 to 64 letters, digits, dots, hyphens and
	// underscores, once per document. Empty: one is made of its content, see Key.
	ID string `yaml:"id,omitempty" json:"id,omitempty"`
	// Rules are ids (942100) and ranges of ids ("942100-942199").
	Rules []RuleRange `yaml:"rules,omitempty" json:"rules,omitempty"`
	// Tags mean every rule that has one of them ("attack-sqli").
	Tags []string `yaml:"tags,omitempty" json:"tags,omitempty"`
	// Target is what the rules no longer look at: VARIABLE, VARIABLE:name or
	// VARIABLE:/regex/ ("ARGS:q"). Names are compared without regard to case. Empty:
	// the whole rule is off.
	Target string `yaml:"target,omitempty" json:"target,omitempty"`
	// Paths are patterns of which one must fit the whole path; "*" stands for any
	// text and "?" for any one character, "/" included. Empty: every path.
	Paths []string `yaml:"paths,omitempty" json:"paths,omitempty"`
	// Methods are those that it is for. Empty: every method.
	Methods []string `yaml:"methods,omitempty" json:"methods,omitempty"`
	// Note is for people.
	Note string `yaml:"note,omitempty" json:"note,omitempty"`
	// Until is the day at whose beginning (00:00 UTC) it ends. Zero: it does not end.
	Until Date `yaml:"until,omitempty" json:"until,omitempty"`
}

// Key returns the ID, or if it has none, one that is made of what the exclusion
// does: its note and its end may change without changing it.
func (x *Exclusion) Key() string {
	if x.ID != "" {
		return x.ID
	}
	sum := sha256.New()
	for _, r := range x.Rules {
		fmt.Fprintf(sum, "rule %s\n", r)
	}
	for _, list := range []struct {
		name   string
		values []string
	}{{"tag", x.Tags}, {"target", []string{x.Target}}, {"path", x.Paths}, {"method", x.Methods}} {
		for _, v := range list.values {
			fmt.Fprintf(sum, "%s %q\n", list.name, v)
		}
	}
	return "ex-" + hex.EncodeToString(sum.Sum(nil)[:5])
}

// A RuleRange is the rule ids from First to Last, both included; one id if they
// are equal. In a document it is a number, or a text such as "942100-942199".
type RuleRange struct{ First, Last int }

// ParseRuleRange reads an id, or two with a hyphen between.
func ParseRuleRange(s string) (RuleRange, error) {
	first, last, ranged := strings.Cut(s, "-")
	if !ranged {
		last = first
	}
	var r RuleRange
	var err error
	if r.First, err = ruleID(first); err == nil {
		r.Last, err = ruleID(last)
	}
	switch {
	case err != nil:
		return RuleRange{}, fmt.Errorf(`bad rule %q: want a rule's number such as 942100, or a range such as "942100-942199"`, shortText(s))
	case r.First > r.Last:
		return RuleRange{}, fmt.Errorf("bad range of rules %q: the first number is above the last", s)
	}
	return r, nil
}

// ruleID reads a number of at most nine digits, as the WAF's rules have.
func ruleID(s string) (int, error) {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 31)
	if err == nil && (n == 0 || n > 999_999_999) {
		err = strconv.ErrRange
	}
	return int(n), err
}

// String writes what ParseRuleRange reads.
func (r RuleRange) String() string {
	if r.First == r.Last {
		return strconv.Itoa(r.First)
	}
	return strconv.Itoa(r.First) + "-" + strconv.Itoa(r.Last)
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *RuleRange) UnmarshalText(b []byte) (err error) {
	*r, err = ParseRuleRange(string(b))
	return err
}

// UnmarshalJSON reads a number or a text.
func (r *RuleRange) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		var s string
		if err := json.Unmarshal(data, &s); err != nil {
			return err
		}
		return r.UnmarshalText([]byte(s))
	}
	return r.UnmarshalText(data)
}

// MarshalJSON writes a number where that says everything.
func (r RuleRange) MarshalJSON() ([]byte, error) {
	if r.First == r.Last {
		return json.Marshal(r.First)
	}
	return json.Marshal(r.String())
}

// MarshalYAML writes a number where that says everything.
func (r RuleRange) MarshalYAML() (any, error) {
	if r.First == r.Last {
		return r.First, nil
	}
	return r.String(), nil
}

// A Date is a day in a document, as "2027-01-31". The zero value means "not set".
type Date string

// Time returns the beginning of the day in UTC; the zero time if it is not set.
func (d Date) Time() time.Time {
	t, err := time.Parse(time.DateOnly, string(d))
	if err != nil {
		return time.Time{} // not set: any other value was refused by UnmarshalText
	}
	return t
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Date) UnmarshalText(b []byte) error {
	if _, err := time.Parse(time.DateOnly, string(b)); err != nil {
		return fmt.Errorf("bad date %q: want year, month and day, such as 2027-01-31", shortText(string(b)))
	}
	*d = Date(b)
	return nil
}

// shortText keeps a message readable whatever it quotes.
func shortText(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
