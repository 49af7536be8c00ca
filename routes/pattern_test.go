package routes

import (
	"fmt"
	"regexp/syntax"
	"strings"
	"testing"
)

// One pattern, and all of a document together, are bounded before anything is compiled.
func TestPatternsOfTargetsAreBounded(t *testing.T) {
	for pattern, reason := range map[string]string{
		`^filter\[[a-z0-9_]+\]\[[0-9]+\]$`:                              "",
		`^(pwd|pass1|pass1-text|pass2|post_password|admin_password2?)$`: "",
		`(`:                    "bad regular expression",
		`((a{90}){3}){3}`:      "too large",
		`(\pL{0,99}){9}N`:      "too large",
		`([ab0-9]{1,99}x?){4}`: "at most 200",
		``:                     "fits every name",
	} {
		got := checkTarget("ARGS:/" + pattern + "/").reason
		if reason == "" && got != "" || !strings.Contains(got, reason) {
			t.Errorf("%s: %q, want %q", pattern, got, reason)
		}
	}
}

func TestPatternsOfADocumentAreBoundedTogether(t *testing.T) {
	list := func(n int, pattern string) (out []Exclusion) {
		for i := range n {
			out = append(out, Exclusion{Rules: []RuleRange{{First: 942100, Last: 942100}}, Target: "ARGS:/" + strings.ReplaceAll(pattern, "N", fmt.Sprint(i)) + "/", Paths: []string{fmt.Sprintf("/%d", i)}})
		}
		return out
	}
	if got := checkExclusions("x", list(1000, `^qN\[[0-9]+\]$`)); len(got) > 0 {
		t.Errorf("small ones: %+v", got[0])
	}
	if got := checkExclusions("x", list(1000, `[^a]{150}`)); len(got) > 0 {
		t.Errorf("the same one many times: %+v", got[0])
	}
	got := checkExclusions("x", list(1000, `[^a]{150}N`))
	if len(got) != 1 || !strings.Contains(got[0].reason, "more than 20000 instructions together") {
		t.Errorf("large ones: %d, %+v", len(got), got[:1])
	}
}

// What is computed from the tree is never less than what is compiled, but for what is folded to nothing.
func TestPatternSizeIsThatOfTheProgram(t *testing.T) {
	for _, pattern := range []string{`a`, `abc`, `^a|b|cd$`, `(a(b))c*`, `[a-c]{2,5}`, `(?:ab?){3,}`, `((a{3}){3}){3}`, `\pL+`, `.*x`, `(a|b)*?c`, `(?:)`} {
		tree, err := syntax.Parse("(?i:"+pattern+")", syntax.Perl)
		if err != nil {
			t.Fatal(err)
		}
		built, err := syntax.Compile(tree.Simplify())
		if err != nil {
			t.Fatal(err)
		}
		got, err := PatternSize(pattern)
		if err != nil || got < len(built.Inst) || got > 2*len(built.Inst)+50 {
			t.Errorf("%s: %d, %v, the program has %d", pattern, got, err, len(built.Inst))
		}
	}
}
