package crstest

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// An Outcome is what came of one request.
type Outcome struct {
	Err    error    // there was no answer
	Status int      // of the answer; 0: there is no server, and statuses are not compared
	Answer []byte   // head and body of it
	Rules  []int    // that matched, apart from those that only sum scores up
	Log    []string // a line for each rule, those too, as [id "942100"] [msg "…"]
	// Refused: the answer came before any rule was asked.
	Refused bool
}

// Options say what is run and what must come of it.
type Options struct {
	// Where names the target in what is printed: "in process".
	Where string
	// Overrides is the path of the file of overrides, and Section the one of its lists that is meant.
	Overrides, Section string
	// MaxOverrides is how long that list may be.
	MaxOverrides int
	// MinPercent of the tests must pass in a full run.
	MinPercent float64
	// Every n-th test is in a sample.
	Every int
}

// Full reports whether every test is run: the environment variable GATEHOUSE_CRS_TESTS is all.
func Full() bool { return os.Getenv("GATEHOUSE_CRS_TESTS") == "all" }

// A tally counts tests.
type tally struct {
	ran, passed int
	refused     []string // passed since their attack was refused with 400 before any rule was asked
	idle        []string // passed without proof: they expect the status of a server that is not there
	overridden  []string // each with its reason
}

// Run sends the tests to a target, all of them or a sample (see [Full]), prints how many passed, and fails
// for each that fails without an override, and for each override whose test passes. send is called
// by one goroutine, once for each stage.
//
// A test passes if all its stages do, as go-ftw sees them, with two differences. A request that is
// refused with 400 before any rule was asked counts as blocked where rules were expected to match, for it
// reaches no backend. Where none were, it fails the test although no rule matched: a harmless request
// must not be refused.
func Run(t *testing.T, opts Options, send func(Stage) Outcome) {
	t.Helper()
	suite, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	overrides, err := loadOverrides(opts.Overrides, opts.Section)
	if err != nil {
		t.Fatal(err)
	}
	if len(overrides) > opts.MaxOverrides {
		t.Errorf("%s has %d lines for %s, more than %d", opts.Overrides, len(overrides), opts.Section, opts.MaxOverrides)
	}
	var n tally
	known := map[string]bool{}
	for i, test := range suite {
		if known[test.ID] {
			t.Errorf("there are two tests %s", test.ID)
		}
		known[test.ID] = true
		if Full() || i%opts.Every == 0 {
			if fault := n.count(test, overrides, send); fault != "" {
				t.Error(fault)
			}
		}
	}
	for id := range overrides {
		if !known[id] {
			t.Errorf("%s: there is no test %s", opts.Overrides, id)
		}
	}
	n.report(t, opts)
}

// count runs one test and returns what has to be done about it, if anything.
func (n *tally) count(test Test, overrides map[string]string, send func(Stage) Outcome) (fault string) {
	problem, refused, idle := run(test, send)
	n.ran++
	reason, overridden := overrides[test.ID]
	switch {
	case problem != "" && !overridden:
		return test.ID + ": " + problem
	case problem != "":
		n.overridden = append(n.overridden, fmt.Sprintf("%s: %s (%s)", test.ID, problem, reason))
		return ""
	case overridden:
		fault = fmt.Sprintf("%s passes, but is overridden: %s", test.ID, reason)
	}
	n.passed++
	if refused {
		n.refused = append(n.refused, test.ID)
	}
	if idle {
		n.idle = append(n.idle, test.ID)
	}
	return fault
}

// run sends a test's stages until one fails. It also says whether an attack was refused before any rule was
// asked, and whether nothing was there to be compared.
func run(test Test, send func(Stage) Outcome) (problem string, refused, idle bool) {
	idle = true
	for _, stage := range test.Stages {
		var o Outcome
		for range 2 {
			o = send(stage)
			o.settle()
			if problem = judge(stage.Expect, o); problem == "" || !stage.retry {
				break
			}
		}
		if problem != "" {
			return problem, false, false
		}
		e := stage.Expect
		refused = refused || blocked(e, o)
		idle = idle && o.Status == 0 && !e.attack() && e.NoRules == nil && e.NoLog == nil
	}
	return "", refused, idle
}

// report prints the totals to standard output, since a passing test's log is seen only with -v.
func (n *tally) report(t *testing.T, opts Options) {
	t.Helper()
	percent := 100 * float64(n.passed) / float64(n.ran)
	var more strings.Builder
	if len(n.refused) > 0 {
		fmt.Fprintf(&more, "; %d of them by a 400 before the rules", len(n.refused))
		t.Logf("by a 400 before the rules: %v", n.refused)
	}
	if len(n.idle) > 0 {
		fmt.Fprintf(&more, "; %d of them only by a status, which is not compared", len(n.idle))
		t.Logf("only by a status, which is not compared: %v", n.idle)
	}
	fmt.Printf("%s: %s of %s (%.2f %%)%s\n", opts.Where, thousands(n.passed), thousands(n.ran), percent, &more)
	for _, line := range n.overridden {
		t.Log("overridden: " + line)
	}
	if n.ran == 0 || Full() && percent < opts.MinPercent {
		t.Errorf("%s: %.2f %% of the tests pass, less than %.1f", opts.Where, percent, opts.MinPercent)
	}
}

func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d,%03d", n/1000, n%1000)
}

// blocked reports whether an attack was refused before any rule was asked.
func blocked(e Expect, o Outcome) bool {
	return o.Refused && o.Status == 400 && e.attack() && (e.Status == 0 || e.Status == 400)
}

// judge returns what is not as expected, or nothing.
func judge(e Expect, o Outcome) string {
	switch {
	case o.Err != nil && e.Error:
		return ""
	case o.Err != nil:
		return "no answer: " + o.Err.Error()
	case blocked(e, o):
		return ""
	case e.Error && o.Status != 0:
		return fmt.Sprintf("answered %d, where no answer is expected", o.Status)
	case e.Status != 0 && o.Status != 0 && e.Status != o.Status:
		return fmt.Sprintf("status %d, not %d", o.Status, e.Status)
	case o.Refused && e.Status == 0:
		return fmt.Sprintf("refused with %d before any rule was asked", o.Status)
	case e.Answer != nil && o.Status != 0 && !e.Answer.Match(o.Answer):
		return fmt.Sprintf("the answer lacks %q", e.Answer)
	}
	return judgeRules(e, o)
}

func judgeRules(e Expect, o Outcome) string {
	log := strings.Join(o.Log, "\n")
	for _, id := range e.Rules {
		if !slices.Contains(o.Rules, id) {
			return fmt.Sprintf("rule %d did not match, %v did", id, o.Rules)
		}
	}
	for _, id := range e.NoRules {
		if slices.Contains(o.Rules, id) {
			return fmt.Sprintf("rule %d matched, with %v", id, o.Rules)
		}
	}
	switch {
	case e.Isolated && len(o.Rules) != 1:
		return fmt.Sprintf("rules %v matched, not only %v", o.Rules, e.Rules)
	case e.Log != nil && !e.Log.MatchString(log):
		return fmt.Sprintf("the log lacks %q: %s", e.Log, clip(log))
	case e.NoLog != nil && e.NoLog.MatchString(log):
		return fmt.Sprintf("the log has %q", e.NoLog)
	}
	return ""
}

// clip keeps what is printed of a log readable.
func clip(s string) string {
	const most = 2000
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// A rule that only sums scores up (949, 959, 980): it is not reported as a match, but there are tests of it.
var sums = regexp.MustCompile(`\[id "((?:949|959|980)\d{3})"\]`)

// settle keeps the lines of rules that have a message, as a log would have them, and adds those that sum up.
func (o *Outcome) settle() {
	o.Log = slices.DeleteFunc(o.Log, func(line string) bool { return strings.Contains(line, `[msg ""]`) })
	for _, line := range o.Log {
		if m := sums.FindStringSubmatch(line); m != nil {
			id, _ := strconv.Atoi(m[1]) // six digits
			o.Rules = append(o.Rules, id)
		}
	}
}
