package crstest

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What passes and what does not, a row for each rule.
func TestJudgement(t *testing.T) {
	attack := Expect{Rules: []int{1, 2}}
	harmless := Expect{NoRules: []int{3}}
	strict := Expect{Status: 400}
	text := Expect{Log: regexp.MustCompile("found"), NoLog: regexp.MustCompile("lost")}
	broken := Expect{Error: true, Rules: []int{1}}
	gone := errors.New("reset")
	for _, c := range []struct {
		name   string
		expect Expect
		got    Outcome
		want   string // part of the problem; empty: passes
	}{
		{"all rules match", attack, Outcome{Rules: []int{2, 9, 1}}, ""},
		{"one rule does not", attack, Outcome{Rules: []int{2}}, "rule 1 did not match"},
		{"none of the others", harmless, Outcome{Rules: []int{1}}, ""},
		{"one of the others", harmless, Outcome{Rules: []int{3}}, "rule 3 matched"},
		{"no answer", harmless, Outcome{Err: gone}, "no answer: reset"},
		{"an error as expected", broken, Outcome{Err: gone}, ""},
		{"an answer instead", broken, Outcome{Status: 200, Rules: []int{1}}, "answered 200"},
		{"nobody who could break it", broken, Outcome{Rules: []int{1}}, ""},
		{"status as expected", strict, Outcome{Status: 400, Refused: true}, ""},
		{"another status", strict, Outcome{Status: 505, Refused: true}, "status 505"},
		{"another status of a backend", strict, Outcome{Status: 200}, "status 200"},
		{"nobody who has a status", strict, Outcome{}, ""},
		{"a refused attack is blocked", attack, Outcome{Status: 400, Refused: true}, ""},
		{"a refused broken one, too", broken, Outcome{Status: 400, Refused: true}, ""},
		{"but only by 400", attack, Outcome{Status: 405, Refused: true}, "refused with 405"},
		{"400 of a backend is no block", attack, Outcome{Status: 400}, "rule 1 did not match"},
		{"a refused attack that should pass", Expect{Status: 200, Rules: []int{1}}, Outcome{Status: 400, Refused: true}, "status 400"},
		{"a harmless request is refused", harmless, Outcome{Status: 400, Refused: true}, "refused with 400"},
		{"a text in the log", text, Outcome{Log: []string{"x", "found"}}, ""},
		{"no text in the log", text, Outcome{Log: []string{"x"}}, "lacks \"found\""},
		{"a text that may not be", text, Outcome{Log: []string{"found", "lost"}}, "has \"lost\""},
		{"alone", Expect{Rules: []int{1}, Isolated: true}, Outcome{Rules: []int{1}}, ""},
		{"not alone", Expect{Rules: []int{1}, Isolated: true}, Outcome{Rules: []int{1, 2}}, "not only [1]"},
		{"an answer that says so", Expect{Answer: regexp.MustCompile("b.d")}, Outcome{Status: 200, Answer: []byte("bad")}, ""},
		{"an answer that does not", Expect{Answer: regexp.MustCompile("b.d")}, Outcome{Status: 200}, "the answer lacks"},
	} {
		if got := judge(c.expect, c.got); (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestRulesThatSumUpAreReadFromTheLog(t *testing.T) {
	o := Outcome{Rules: []int{942100}, Log: []string{`[id "949110"] [msg "x"]`, `[id "942100"] [msg "y"]`, `[id "959052"] [msg ""]`, `[id "980170"] [msg "z"]`}}
	o.settle()
	if !slices.Equal(o.Rules, []int{942100, 949110, 980170}) || len(o.Log) != 3 {
		t.Errorf("%+v", o)
	}
}

// A failing test needs an override, and a passing one must not have one.
func TestOverridesAndFailuresMustAgree(t *testing.T) {
	attack := Stage{Expect: Expect{Rules: []int{1}}}
	again := attack
	again.retry = true
	found, missed := Outcome{Status: 200, Rules: []int{1}}, Outcome{Status: 200}
	refused := Outcome{Status: 400, Refused: true}
	for _, c := range []struct {
		name   string
		stages []Stage
		got    []Outcome // one after the other
		known  bool      // there is an override
		fault  string
		want   tally
	}{
		{"passes", []Stage{attack}, []Outcome{found}, false, "", tally{ran: 1, passed: 1}},
		{"fails", []Stage{attack}, []Outcome{missed}, false, "9-1: rule 1 did not match", tally{ran: 1}},
		{"fails, known", []Stage{attack}, []Outcome{missed}, true, "", tally{ran: 1, overridden: []string{"9-1: rule 1 did not match, [] did (why)"}}},
		{"passes, overridden", []Stage{attack}, []Outcome{found}, true, "9-1 passes, but is overridden: why", tally{ran: 1, passed: 1}},
		{"fails at the second stage", []Stage{attack, attack}, []Outcome{found, missed}, false, "9-1: rule 1", tally{ran: 1}},
		{"a second try", []Stage{again}, []Outcome{missed, found}, false, "", tally{ran: 1, passed: 1}},
		{"no third try", []Stage{again}, []Outcome{missed, missed}, false, "9-1: rule 1", tally{ran: 1}},
		{"refused", []Stage{attack}, []Outcome{refused}, false, "", tally{ran: 1, passed: 1, refused: []string{"9-1"}}},
		{"nothing to compare", []Stage{{Expect: Expect{Status: 400}}}, []Outcome{{}}, false, "", tally{ran: 1, passed: 1, idle: []string{"9-1"}}},
	} {
		overrides := map[string]string{}
		if c.known {
			overrides["9-1"] = "why"
		}
		var n tally
		fault := n.count(Test{ID: "9-1", Stages: c.stages}, overrides, func(Stage) Outcome {
			o := c.got[0]
			c.got = c.got[1:]
			return o
		})
		if (fault == "") != (c.fault == "") || !strings.HasPrefix(fault, c.fault) || !reflect.DeepEqual(n, c.want) || len(c.got) != 0 {
			t.Errorf("%s: %q, %+v, %d outcomes left", c.name, fault, n, len(c.got))
		}
	}
}

func TestOverridesNameTheirGrounds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "overrides")
	for text, want := range map[string]string{
		"edge:\n  1-1: RFC 9112 §6.3, two lengths\n":   "",
		"edge:\n  1-1: wire rule version\n":            "",
		"edge:\n  1-1: Coraza keeps both\n":            "",
		"edge:\n  1-1: it fails\n":                     "names no section",
		"edge:\n  1-1: \"RFC 9112 §6.3\\nand more\"\n": "names no section",
		"edge:\n  1-1: Coraza a\n  1-1: Coraza b\n":    "1-1",
		"process: {}\n": "has no section",
		"edge: [":       "read overrides",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := loadOverrides(path, "edge")
		if want == "" && (err != nil || len(got) != 1) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, %v; want %q", text, got, err, want)
		}
	}
	if _, err := loadOverrides(path+"x", "edge"); err == nil {
		t.Error("a file that does not exist was read")
	}
}
