package seclang

import (
	"fmt"
	"reflect"
	"regexp/syntax"
	"slices"
	"strings"
	"testing"

	"gatehouse/routes"
)

// A text of what people write, and what the engine gets of it.
func TestReadWritesWhatItUnderstood(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"a rule": {
			`SecRule ARGS:coupon "@rx ^[A-Z]{9}$" "id:1000,phase:2,deny,status:429,msg:'too many coupons, sir: no',severity:2,tag:'shop/coupon',t:none,t:urlDecodeUni,t:lowercase"`,
			`SecRule ARGS:coupon "@rx ^[A-Z]{9}$" "id:1000,phase:2,log,deny,status:429,msg:'too many coupons, sir: no',severity:'CRITICAL',tag:'shop/coupon',t:urlDecodeUni,t:lowercase"` + "\n",
		},
		"continued lines, comments and spaces between": {
			"# ours\n\n  SecRule REQUEST_URI|!ARGS:q|&ARGS \\\n\n    # why\n    \"@BeginsWith /admin\" \\\n  \t\"id:'7', \\\n phase:1,block\"\n",
			`SecRule REQUEST_URI|&ARGS|!ARGS:q "@beginsWith /admin" "id:7,phase:1,log,deny,status:403,msg:'own rule 7'"` + "\n",
		},
		"an operator without a name": {
			`secrule args "!^\d+\"$" "id:1,nolog"`,
			`SecRule ARGS "!@rx ^\d+\"$" "id:1,phase:2,log,pass"` + "\n",
		},
		"a chain": {
			"SecRule REQUEST_METHOD \"@streq POST\" \"id:2,phase:2,deny,chain,setvar:tx.a=+1\"\nSecRule &REQUEST_COOKIES:session \"@eq 0\" \"chain\"\nSecRule ARGS:/^item_[0-9]+$/ \"@gt %{TX.a}\"",
			"SecRule REQUEST_METHOD \"@streq POST\" \"id:2,phase:2,log,deny,status:403,msg:'own rule 2',chain,setvar:'tx.a=+1'\"\n" +
				"SecRule &REQUEST_COOKIES:session \"@eq 0\" \"chain\"\nSecRule ARGS:/^item_[0-9]+$/ \"@gt %{TX.a}\"\n",
		},
		"markers, skips and ctl": {
			"SecAction \"id:3,phase:1,pass,nolog,skipAfter:'end',ctl:ruleRemoveTargetById=4;args:q,setvar:'!tx.old'\"\nSecRule XML:/*|XML://@* \"@pm  union  select\" \"id:4,deny,capture,multiMatch,skip:1\"\nSecMarker end",
			"SecAction \"id:3,phase:1,log,pass,setvar:'!tx.old',ctl:'ruleRemoveTargetById=4;ARGS:q',skipAfter:'end'\"\n" +
				"SecRule XML:/*|XML://@* \"@pm union select\" \"id:4,phase:2,log,deny,status:403,msg:'own rule 4',capture,multiMatch,skip:1\"\nSecMarker end\n",
		},
		"addresses, bytes and libinjection": {
			"SecRule REMOTE_ADDR \"!@ipMatch 10.0.0.0/8, 2001:db8::1\" \"id:5,phase:1,deny\"\nSecRule ARGS \"@validateByteRange 10,13,32-126\" \"id:6\"\nSecRule ARGS \"@detectSQLi\" \"id:8\"",
			"SecRule REMOTE_ADDR \"!@ipMatch 10.0.0.0/8, 2001:db8::1\" \"id:5,phase:1,log,deny,status:403,msg:'own rule 5'\"\n" +
				"SecRule ARGS \"@validateByteRange 10,13,32-126\" \"id:6,phase:2,log,pass\"\nSecRule ARGS \"@detectSQLi\" \"id:8,phase:2,log,pass\"\n",
		},
		"nothing but a comment": {"# nothing yet\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			set, problems := Read(test.text)
			if len(problems) > 0 {
				t.Fatal(problems[0])
			}
			if set.Directives != test.want {
				t.Errorf("got  %s\nwant %s", set.Directives, test.want)
			}
			again, problems := Read(set.Directives)
			if len(problems) > 0 {
				t.Fatalf("does not read its own: %v", problems[0])
			}
			if !reflect.DeepEqual(again, set) {
				t.Errorf("reads its own as %+v, not %+v", again, set)
			}
		})
	}
}

// refused is one line of a text that must not pass, and words of the reason.
func refused(t *testing.T, text string, words ...string) {
	t.Helper()
	set, problems := Read(text)
	if set != nil || len(problems) == 0 {
		t.Errorf("taken: %s", shown(text))
		return
	}
	said := problems[0].Error()
	for _, w := range words {
		if !strings.Contains(said, w) {
			t.Errorf("%s\nsays %q, without %q", shown(text), said, w)
		}
	}
}

// Each of these Coraza v3.8.1 takes from whoever may write a rule.
func TestAttackWritesAFile(t *testing.T) {
	for _, d := range []string{"SecDebugLog /tmp/x", "SecAuditLog /etc/cron.d/x", "SecAuditLogStorageDir /tmp", "SecDataDir /tmp", "SecUploadDir /tmp", "SecTmpDir /tmp"} {
		refused(t, d, "line 1, column 1", "is not taken", "it writes")
	}
}

func TestAttackReadsAFile(t *testing.T) {
	refused(t, "Include /etc/passwd", "it reads a file")
	for _, op := range []string{"@pmFromFile /etc/passwd", "@pmf /etc/passwd", "@ipMatchFromFile /etc/hosts", "@ipMatchF x", "@validateSchema /etc/x.xsd", "@fuzzyHash /etc/x"} {
		refused(t, `SecRule ARGS "`+op+`" "id:1"`, "line 1, column 15", "it reads a file")
	}
}

func TestWhatIsNotTakenIsToldWithWhatIs(t *testing.T) {
	refused(t, `SecRule REMOTE_HOST "@rx ." "id:1"`, "REMOTE_HOST", "REMOTE_ADDR is the address")
	for _, text := range []string{`SecRule AUTH_TYPE "@rx ." "id:1"`, `SecRule ARGS "@nosuch ." "id:1"`, `SecRule ARGS "@rx ." "id:1,nosuch"`} {
		refused(t, text, "is not taken", `"Own rules" in docs/operations.md`)
	}
}

func TestAttackRunsAProgram(t *testing.T) {
	refused(t, `SecRule ARGS "@inspectFile /tmp/x.sh" "id:1"`, "it runs a program")
	refused(t, `SecRule ARGS "@rx ." "id:1,exec:/tmp/x.sh"`, "it runs a program")
	refused(t, `SecRule ARGS "@rx ." "id:1,EXEC:'/tmp/x.sh'"`, "it runs a program")
}

func TestAttackAsksTheNetwork(t *testing.T) {
	refused(t, `SecRule REMOTE_ADDR "@rbl attacker.test" "id:1"`, "name servers")
	refused(t, "SecRemoteRules key https://attacker.test/rules", "network")
}

func TestAttackChangesTheEngine(t *testing.T) {
	for _, d := range []string{
		"SecArgumentsLimit 100000", "SecRequestBodyLimit 1", "SecRuleEngine Off", "SecRxPreFilter On", "SecRuleRemoveById 1-999999",
		"SecRuleUpdateTargetById 942100 !ARGS", "SecDefaultAction \"phase:2,pass\"", "SecComponentSignature x", "SecDataset x `", "SecUnknown",
	} {
		refused(t, d, "is not taken")
	}
	for _, c := range []string{
		"ruleEngine=Off", "requestBodyAccess=Off", "requestBodyLimit=1", "requestBodyProcessor=XML", "auditEngine=On", "debugLogLevel=9",
		"forceRequestBodyVariable=Off", "ruleRemoveByTag=attack-sqli", "ruleRemoveByMsg=x", "ruleRemoveTargetByTag=x;ARGS",
	} {
		refused(t, `SecAction "id:1,ctl:`+c+`"`, "of ctl")
	}
}

func TestAttackTurnsTheCoreRulesOff(t *testing.T) {
	refused(t, `SecAction "id:1,ctl:ruleRemoveById=942100"`, "waf.exclusions")
	refused(t, `SecAction "id:1,ctl:ruleRemoveById=1-99999"`, "one own rule")
	refused(t, `SecAction "id:1,ctl:ruleRemoveById=55555"`, "no rule 55555", "waf.exclusions")
	refused(t, `SecRule REMOTE_ADDR "@ipMatch 192.0.2.1" "id:1,allow"`, "would pass the core rules unseen")
	refused(t, `SecRule ARGS "x" "id:1,allow:request"`, "would pass the core rules unseen")
	refused(t, `SecRule ARGS "x" "id:942100,deny"`, "1 to 99999")
	refused(t, `SecRule ARGS "x" "id:0,deny"`, "1 to 99999")
	refused(t, `SecRule ARGS "x" "id:-1,deny"`, "1 to 99999")
}

func TestAttackReadsTheProcess(t *testing.T) {
	refused(t, `SecRule ENV:GATEHOUSE_SEAL_KEYS "@rx ." "id:1"`, "belongs to the process")
	refused(t, `SecRule ARGS "@streq %{ENV.HOME}" "id:1"`, "belongs to the process")
	refused(t, `SecAction "id:1,setvar:'tx.a=%{env.home}'"`, "belongs to the process")
	refused(t, `SecAction "id:1,setenv:PATH=/tmp"`, "changes the process")
}

func TestAttackRemembersBetweenRequests(t *testing.T) {
	for _, a := range []string{"initcol:ip=%{REMOTE_ADDR}", "setvar:ip.count=+1", "expirevar:ip.count=60", "setsid:x"} {
		refused(t, `SecAction "id:1,`+a+`"`)
	}
}

// What two readers understand differently is how one is led past the other.
func TestAttackSpeaksToTheEngineBehindTheReader(t *testing.T) {
	for name, text := range map[string]string{
		"a directive after a line break in a value": "SecRule ARGS \"x\" \"id:1,msg:'a\nSecDebugLog /tmp/x\n'\"",
		"a carriage return alone":                   "SecRule ARGS \"x\" \"id:1\"\rSecDebugLog /tmp/x",
		"a backtick list":                           "SecRule ARGS `\nSecDebugLog /tmp/x\n`",
		"a backtick in a message":                   "SecRule ARGS \"x\" \"id:1,msg:'`'\"",
		"a NUL":                                     "SecRule ARGS \"x\" \"id:1\"\x00",
		"not UTF-8":                                 "SecRule ARGS \"\xff\" \"id:1\"",
		"a text that ends within a directive":       "SecRule ARGS \"x\" \"id:1,deny\" \\\n",
		"a comment that hides the end":              "SecRule ARGS \"x\" \\\n# \"id:1,deny\"",
		"an escaped quote in a message":             `SecRule ARGS "x" "id:1,msg:'a\',exec:/tmp/x,tag:\'b'"`,
		"quotes that cross":                         `SecRule ARGS "x" "id:1,msg:'a'b',deny"`,
		"a double quote in a message":               `SecRule ARGS "x" "id:1,msg:'a\"b'"`,
		"something after the actions":               `SecRule ARGS "x" "id:1" "exec:/tmp/x"`,
		"an operator without quotes":                `SecRule ARGS @inspectFile "id:1"`,
		"a \\ before the closing quote":             `SecRule ARGS "@contains C:\\\" "id:1"`,
		"a name within a name":                      `SecRule ARGS "@rx@inspectFile x" "id:1"`,
		"a tab after the operator's name":           "SecRule ARGS \"@rx\tx\" \"id:1\"",
		"a bar in a key":                            `SecRule ARGS:a'b|ENV "x" "id:1"`,
		"a marker that is a directive":              "SecMarker a`",
		"a macro in a name":                         `SecAction "id:1,setvar:'tx.%{args.a}=1'"`,
		"an action in capitals":                     `SecRule ARGS "x" "id:1,CTL:ruleEngine=Off"`,
		"an empty action":                           `SecRule ARGS "x" "id:1,,deny"`,
		"bytes beyond ASCII in an expression":       `SecRule ARGS "@rx \xac\xed" "id:1"`,
		"the same in braces":                        `SecRule ARGS "@rx \x{ac}" "id:1"`,
		"an expression of a key in capitals":        `SecRule REQUEST_HEADERS:/^\D/ "x" "id:1"`,
		"a slash in a key's expression":             `SecRule ARGS:/a/b/ "x" "id:1"`,
	} {
		t.Run(name, func(t *testing.T) { refused(t, text) })
	}
}

func TestAttackSkipsWhatFollows(t *testing.T) {
	refused(t, "SecMarker above\nSecAction \"id:1,skipAfter:above\"", "line 2", "no SecMarker above below it")
	refused(t, `SecAction "id:1,skipAfter:nowhere"`, "no SecMarker nowhere")
}

func TestSizeBombs(t *testing.T) {
	many := func(n int, line string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, line+"\n", i+1)
		}
		return b.String()
	}
	for name, test := range map[string]struct{ text, says string }{
		"a long text":                           {strings.Repeat("#", MaxText+1), "at most 65536"},
		"a long directive":                      {`SecRule ARGS "@rx ` + strings.Repeat("a", maxDirective) + `" "id:1"`, "at most 8192"},
		"a line that the engine would lose":     {`SecRule ARGS "x" "id:1,msg:'` + strings.Repeat("a ", 32000) + `'"`, "at most 8192"},
		"many rules":                            {many(MaxRules+1, `SecAction "id:%d"`), "more than 200 rules"},
		"many markers":                          {many(MaxRules+1, "SecMarker m%d"), "more than 200 markers"},
		"a long chain":                          {"SecRule ARGS \"x\" \"id:1,chain\"\n" + strings.Repeat("SecRule ARGS \"x\" \"chain\"\n", 12), "a chain of more than"},
		"repetitions in repetitions":            {`SecRule ARGS "@rx ((((a{100}){100}){100}){100})" "id:1"`, "regular expression"},
		"repetitions that double":               {`SecRule ARGS "@rx (?:a{300}b{300}){2}" "id:1"`, "too large"},
		"a repetition in a key":                 {`SecRule ARGS:/(?:a{500}){500}/ "x" "id:1"`, "regular expression"},
		"many large classes":                    {`SecRule ARGS "@rx ` + strings.Repeat(`\pL`, 500) + `" "id:1"`, "too large"},
		"many groups":                           {`SecRule ARGS "@rx ` + strings.Repeat("()", 50) + `" "id:1"`, "more than 20 groups"},
		"deep nesting":                          {`SecRule ARGS "@rx ` + strings.Repeat("(?:a", 1200) + strings.Repeat(")*", 1200) + `" "id:1"`, "too deeply"},
		"many middling expressions":             {many(60, `SecRule ARGS "@rx a{600}" "id:%d"`), "too large together"},
		"many words":                            {many(20, `SecRule ARGS "@pm `+strings.Repeat("abcdefgh ", 50)+`" "id:%d"`), "@pm"},
		"many variables":                        {`SecRule ARGS:a` + manyKeys(25) + ` "x" "id:1"`, "more than 20 variables"},
		"many transformations":                  {`SecRule ARGS "x" "id:1` + strings.Repeat(",t:urlDecode", 9) + `"`, "more than 8 transformations"},
		"many notes":                            {`SecAction "id:1` + strings.Repeat(",setvar:tx.a=1", 11) + `"`, "more than 10 setvar"},
		"many tags":                             {`SecAction "id:1` + strings.Repeat(",tag:a", 11) + `"`, "more than 10 tags"},
		"a note that doubles with each rule":    {`SecAction "id:1,setvar:'tx.a=%{tx.a}%{tx.a}'"`, "alone"},
		"a note that grows with each rule":      {`SecAction "id:1,setvar:'tx.a=%{tx.a}x'"`, "alone"},
		"a note that copies a body":             {`SecAction "id:1,setvar:'tx.a=+%{REQUEST_BODY}'"`, "alone"},
		"transformations that grow":             {`SecRule ARGS "x" "id:1,t:hexEncode,t:lowercase,t:urlEncode"`, "a second transformation that makes"},
		"transformations that grow, many times": {`SecRule ARGS "x" "id:1` + strings.Repeat(",t:urlEncode", 8) + `"`, "a second transformation that makes"},
		"copies of a body":                      {many(40, `SecRule ARGS:/^a%[1]d/ "x" "id:%[1]d,t:lowercase,t:uppercase,t:trim,t:md5"`), "the transformations are too many"},
		"copies that are not shared":            {many(40, `SecRule ARGS "x" "id:%d,multiMatch,t:lowercase,t:uppercase,t:trim,t:md5"`), "the transformations are too many"},
		"passes over a body":                    {`SecRule REQUEST_BODY` + manyKeys(19) + ` "@rx a{600}" "id:1"` + "\n" + `SecRule REQUEST_BODY` + manyKeys(19) + ` "@rx a{600}" "id:2"`, "too much work"},
		"a message put together for each":       {`SecRule ARGS "x" "id:1,msg:'%{REQUEST_BODY}'"`, "fixed text"},
		"logdata put together for each":         {`SecRule ARGS "x" "id:1,logdata:'%{REQUEST_BODY}'"`, "is not taken"},
		"a comparand put together for each":     {`SecRule ARGS "@contains %{REQUEST_BODY}%{REQUEST_BODY}" "id:1"`, "alone"},
		"a comparand searched for each value":   {`SecRule ARGS "@within %{REQUEST_BODY}" "id:1"`, "not in @within"},
	} {
		t.Run(name, func(t *testing.T) { refused(t, test.text, test.says) })
	}
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "|ARGS:k%d", i)
	}
	return b.String()
}

// Whoever mistypes is told where, and what he probably meant.
func TestProblemsHavePlaceAndGuess(t *testing.T) {
	for _, test := range []struct {
		text        string
		row, col    int
		says, guess string
	}{
		{"SecRul ARGS \"x\" \"id:1\"", 1, 1, "only SecRule", "SecRule"},
		{"# é\n  SecRule ARGSS \"x\" \"id:1\"", 2, 11, "ARGSS", "ARGS"},
		{"SecRule ARGS \"@beginWith x\" \"id:1\"", 1, 15, "beginWith", "beginsWith"},
		{"SecRule ARGS \"x\" \\\n   \"id:1,\\\n   t:lowercas\"", 3, 4, "lowercas", "lowercase"},
		{"SecRule ARGS \"x\" \"id:1, phas:2\"", 1, 25, "phas", "phase"},
		{"SecRule ARGS \"(\" \"id:1\"", 1, 15, "missing closing )", ""},
		{"SecRule ARGS \"(?=x)\" \"id:1\"", 1, 15, "look-around", ""},
		{"SecRule ARGS \"x\" \"id:1\"\nSecRule ARGS \"x\" \"id:1\"", 2, 19, "the first is in line 1", ""},
		{"SecRule ARGS \"x\" \"phase:2,deny\"", 1, 1, "id:1000", ""},
		{"SecRule ARGS \"x\" \"id:1,chain\"", 1, 1, "chain of rule 1", ""},
		{"SecRule ARGS \"x\" \"id:1,chain\"\nSecRule ARGS \"x\" \"deny\"", 2, 19, "first rule of a chain", ""},
		{"SecRule RESPONSE_BODY \"x\" \"id:1\"", 1, 9, "look at requests", ""},
		{"SecRule ARGS \"x\" \"id:1,phase:4,deny\"", 1, 24, "look at requests", ""},
		{"SecRule ARGS \"@eq many\" \"id:1\"", 1, 15, "whole number", ""},
		{"SecRule REMOTE_ADDR \"@ipMatch 10.0.0.0/33\" \"id:1\"", 1, 22, "10.0.0.0/33", ""},
		{"SecRule ARGS \"x\" \"id:1,status:200,deny\"", 1, 24, "400 to 599", ""},
		{"SecRule ARGS \"x\" \"id:1,deny,nolog\"", 1, 18, "explained", ""},
	} {
		_, problems := Read(test.text)
		if len(problems) != 1 {
			t.Errorf("%q: %d problems: %v", test.text, len(problems), problems)
			continue
		}
		p := problems[0]
		if p.Line != test.row || p.Column != test.col || !strings.Contains(p.Reason, test.says) || p.Guess != test.guess {
			t.Errorf("%q\ngot  %v\nwant line %d, column %d: …%s… %q", test.text, p, test.row, test.col, test.says, test.guess)
		}
	}
}

// One mistake in a chain is one problem; mistakes in several directives are told together.
func TestEachDirectiveHasItsOwnProblem(t *testing.T) {
	_, problems := Read("SecRule ARGSS \"x\" \"id:1,chain\"\nSecRule ARGS \"x\" \"chain\"\nSecRule ARGS \"x\"\nSecRule ARGS \"x\" \"id:2\"\nSecDebugLog x\nSecRule ARGS \"x\" \"id:2\"")
	var lines []int
	for _, p := range problems {
		lines = append(lines, p.Line)
	}
	if !slices.Equal(lines, []int{1, 5, 6}) {
		t.Errorf("problems in lines %v: %v", lines, problems)
	}
}

// FuzzRead: what is taken reads back as the same, a directive a line, and names nothing that is not on the lists.
func FuzzRead(f *testing.F) {
	f.Add("SecRule ARGS:a|!ARGS:b \"@rx ^a{2,3}$\" \"id:1,phase:2,deny,chain,t:lowercase\"\nSecRule &ARGS \"@eq 1\"\nSecMarker x")
	f.Add("SecAction \"id:1,setvar:'tx.a=%{tx.b}',ctl:'ruleRemoveTargetById=1;ARGS:x',skipAfter:x\" \nSecMarker 'x'")
	f.Add("SecRule ARGS:/^a\\/b$/|XML:/* \"!@pm a \\\" b\" \\\n#\n \"id:'2',msg:'a,b:c'\"")
	f.Fuzz(func(t *testing.T, text string) {
		set, problems := Read(text)
		if (set == nil) == (len(problems) == 0) {
			t.Fatalf("both or neither of %v and %v", set, problems)
		}
		if set == nil {
			return
		}
		for line := range strings.Lines(set.Directives) {
			name, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
			if name != "SecRule" && name != "SecAction" && name != "SecMarker" || strings.HasSuffix(rest, "\\") || strings.HasSuffix(rest, "`") || strings.TrimSpace(rest) != rest {
				t.Fatalf("writes %q", line)
			}
		}
		again, problems := Read(set.Directives)
		if len(problems) > 0 || !reflect.DeepEqual(again, set) {
			t.Fatalf("%q\nreads as %+v, and that as %+v, %v", text, set, again, problems)
		}
	})
}

// What is estimated is never far below what it becomes: the estimate is what keeps a bomb from being built.
func TestSizeIsEstimatedBeforeItIsBuilt(t *testing.T) {
	for _, pattern := range []string{
		`abc`, `(?i)select`, `^a{3}$`, `a{2,5}`, `a{2,}`, `(?:ab|cd|e)+f*`, `(a(b(c)))`, `[a-z]{10,20}\d`, `\b\w+\b`, `(?:(?:a{9}){9}){9}`, `()`, `.*?x??`, `\pL{20}`,
	} {
		tree, err := syntax.Parse("(?sm)"+pattern, syntax.Perl)
		if err != nil {
			t.Fatal(err)
		}
		built, err := syntax.Compile(tree.Simplify())
		if err != nil {
			t.Fatal(err)
		}
		if estimate := routes.TreeSize(tree); estimate+4 < len(built.Inst) {
			t.Errorf("%s: estimated %d, built %d", pattern, estimate, len(built.Inst))
		}
	}
}
