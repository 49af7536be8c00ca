package wafrules_test

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	wafrules "gatehouse/waf-rules"
	"gatehouse/waf-rules/crstest"
)

// release returns a folder with the embedded CRS, laid out as a release.
func release(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := crstest.WriteRelease(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func write(t testing.TB, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, dir, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestARelaseIsReadWholeAndOnce(t *testing.T) {
	dir := release(t)
	set, err := wafrules.FromDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	embedded := wafrules.Embedded()
	if set.Version() != embedded.Version() || !maps.Equal(set.ResponseTags(), embedded.ResponseTags()) || len(set.ResponseTags()) == 0 {
		t.Errorf("version %q, %d tags", set.Version(), len(set.ResponseTags()))
	}
	if set.Digest() == embedded.Digest() || len(set.Digest()) != 64 {
		t.Errorf("digest %q", set.Digest())
	}
	again, err := wafrules.FromDir(dir)
	if err != nil || again.Digest() != set.Digest() {
		t.Errorf("another digest: %v", err)
	}
	const name = "rules/REQUEST-942-APPLICATION-ATTACK-SQLI.conf"
	write(t, dir, name, "SecRule")
	if text, err := fs.ReadFile(set.FS(), name); err != nil || len(text) < 10_000 {
		t.Errorf("the set changed with the file: %d bytes, %v", len(text), err)
	}
	if text, err := fs.ReadFile(set.FS(), "base.conf"); err != nil || !strings.Contains(string(text), "'200004'") {
		t.Errorf("base.conf is not ours: %v", err)
	}
}

func TestPluginsAreReadInTheOrderOfTheCRS(t *testing.T) {
	dir := release(t)
	action := func(id int) string {
		return fmt.Sprintf("SecAction \"id:%d,phase:1,pass,nolog\"\n", id)
	}
	write(t, dir, "crs-setup.conf", read(t, dir, "crs-setup.conf.example")+action(9500001))
	write(t, dir, "plugins/b-after.conf", action(9500002))
	write(t, dir, "plugins/b-before.conf", "SecRule ARGS \"@pmFromFile b.data\" \"id:9500003,phase:2,pass,nolog\"\n")
	write(t, dir, "plugins/b-config.conf", action(9500004))
	write(t, dir, "plugins/a-config.conf", action(9500005))
	write(t, dir, "plugins/b.data", "word\n")
	write(t, dir, "plugins/b-config.conf.example", "no directive")
	write(t, dir, "rules/.swp.conf", "no directive")
	write(t, dir, "rules/README.md", "no directive")
	set, err := wafrules.FromDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	at := 0
	for _, name := range []string{
		"base.conf", "crs-setup.conf\n", "plugins/a-config.conf", "plugins/b-config.conf", "plugins/b-before.conf",
		"rules/REQUEST-901-INITIALIZATION.conf", "rules/REQUEST-949-BLOCKING-EVALUATION.conf", "rules/RESPONSE-980-CORRELATION.conf", "plugins/b-after.conf",
	} {
		i := strings.Index(set.Directives(), "Include "+name)
		if i < at {
			t.Errorf("%s stands at %d, after what follows it\n%s", name, i, set.Directives())
		}
		at = i
	}
	for _, name := range []string{"example", "swp", "README", ".data"} {
		if strings.Contains(set.Directives(), name) {
			t.Errorf("%s is included", name)
		}
	}
}

// sqli is a file of the release that the tests break.
const sqli = "rules/REQUEST-942-APPLICATION-ATTACK-SQLI.conf"

func TestWhatIsNoReleaseOrBreaksTenantsIsRefused(t *testing.T) {
	rule := func(operator, actions string) string {
		return `SecRule ARGS "` + operator + `" "id:190001,phase:2,pass,nolog` + actions + `"`
	}
	extra := func(text string) func(testing.TB, string) {
		return func(t testing.TB, dir string) { write(t, dir, "rules/REQUEST-999-OURS.conf", "# ours\n\n"+text+"\n") }
	}
	for name, c := range map[string]struct {
		spoil func(t testing.TB, dir string)
		want  []string // in the error
	}{
		"an empty folder": {func(t testing.TB, dir string) {
			for _, name := range []string{"rules", "crs-setup.conf.example"} {
				if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
		}, []string{"is no release of the CRS", "crs-setup.conf"}},
		"the folder above": {func(t testing.TB, dir string) {
			if err := os.Mkdir(filepath.Join(dir, "coreruleset-4.28.0"), 0o755); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"rules", "crs-setup.conf.example"} {
				if err := os.Rename(filepath.Join(dir, name), filepath.Join(dir, "coreruleset-4.28.0", name)); err != nil {
					t.Fatal(err)
				}
			}
		}, []string{"is no release of the CRS", "did you mean ", "coreruleset-4.28.0?"}},
		"no evaluation": {
			func(t testing.TB, dir string) { remove(t, dir, "rules/REQUEST-949-BLOCKING-EVALUATION.conf") },
			[]string{"rules/REQUEST-949-BLOCKING-EVALUATION.conf: is missing"},
		},
		"no version": {func(t testing.TB, dir string) {
			replace(t, dir, "rules/REQUEST-901-INITIALIZATION.conf", `SecComponentSignature "OWASP_CRS/`, `SecComponentSignature "OURS/`)
		}, []string{"REQUEST-901-INITIALIZATION.conf: does not say which CRS"}},
		"CRS 3": {func(t testing.TB, dir string) {
			replace(t, dir, "rules/REQUEST-901-INITIALIZATION.conf", `SecComponentSignature "OWASP_CRS/4`, `SecComponentSignature "OWASP_CRS/3`)
		}, []string{"is of CRS 3.", "4.0.0 or newer"}},
		"a file cut within a directive": {func(t testing.TB, dir string) {
			text := read(t, dir, sqli)
			write(t, dir, sqli, text[:strings.LastIndex(text, "\\\n")+2])
		}, []string{sqli + ":", "the file ends within this directive"}},
		"a file cut between directives": {func(t testing.TB, dir string) {
			text := read(t, dir, sqli)
			write(t, dir, sqli, text[:strings.LastIndex(text, "\nSecMarker")+1])
		}, []string{sqli + ":", `there is no SecMarker "END-REQUEST-942-APPLICATION-ATTACK-SQLI"`}},
		"a file cut within a chain": {extra(rule("@rx a", ",chain")), []string{"REQUEST-999-OURS.conf: ", "chain"}},
		"a missing list":            {func(t testing.TB, dir string) { remove(t, dir, "rules/php-errors.data") }, []string{"RESPONSE-953", `.conf:`, `"php-errors.data"`}},
		"a rule twice": {
			extra(`SecRule ARGS "@rx a" "id:942100,phase:2,pass"`),
			[]string{"REQUEST-999-OURS.conf:3: rule 942100 stands at " + sqli + ":"},
		},
		"a rule without id":        {extra(`SecRule ARGS "@rx a" "phase:2,pass"`), []string{"OURS.conf:3: the rule has no id"}},
		"the id of a tenant's":     {extra(`SecRule ARGS "@rx a" "id:7,phase:2,pass"`), []string{"OURS.conf:3: the id \"7\""}},
		"a line over the bound":    {extra(rule("@rx "+strings.Repeat("a", 70_000), "")), []string{"OURS.conf:3: a line of 70"}},
		"a list in backquotes":     {extra("SecDataset words `\na\n`"), []string{"OURS.conf:3: a list in backquotes"}},
		"no form of a rule":        {extra("SecRule ARGS @rx"), []string{"OURS.conf:3: it has not the form"}},
		"another file":             {extra("Include /etc/modsecurity/*.conf"), []string{`OURS.conf:3: "Include" must not stand here`}},
		"the engine off":           {extra("SecRuleEngine Off"), []string{`OURS.conf:3: "SecRuleEngine"`, "waf.mode"}},
		"the limit of bodies":      {extra("SecRequestBodyLimit 1"), []string{`"SecRequestBodyLimit"`}},
		"in memory":                {extra("SecRequestBodyInMemoryLimit 1"), []string{`"SecRequestBodyInMemoryLimit"`}},
		"the prefilter":            {extra("SecRxPreFilter On"), []string{`"SecRxPreFilter"`}},
		"a debug log":              {extra("SecDebugLog /tmp/x"), []string{`"SecDebugLog"`}},
		"an audit log":             {extra("  secauditlog /tmp/x"), []string{`"secauditlog"`}},
		"a folder for uploads":     {extra("SecUploadDir /tmp"), []string{`"SecUploadDir"`}},
		"remote rules":             {extra("SecRemoteRules key https://example.com/"), []string{`"SecRemoteRules"`}},
		"errors that are ignored":  {extra("SecIgnoreRuleCompilationErrors On"), []string{`"SecIgnoreRuleCompilationErrors"`}},
		"a continued directive":    {extra("SecDebug\\\nLog /tmp/x"), []string{`OURS.conf:3: "SecDebugLog"`}},
		"a program":                {extra(rule("@inspectFile /x.sh", "")), []string{"OURS.conf:3: the operator @inspectfile"}},
		"a negated program":        {extra(rule("!@inspectFile /x.sh", "")), []string{"@inspectfile"}},
		"name servers":             {extra(rule("@rbl rbl.example.com", "")), []string{"@rbl"}},
		"a list outside":           {extra(rule("@pmFromFile /etc/passwd", "")), []string{`OURS.conf:3: the list "/etc/passwd"`}},
		"a list above":             {extra(rule("@pmf ../../../etc/passwd", "")), []string{`the list "../../../etc/passwd"`}},
		"addresses outside":        {extra(rule("@ipMatchFromFile /etc/hosts", "")), []string{"@ipmatchfromfile"}},
		"exec":                     {extra(rule("@rx a", ",exec:/x.sh")), []string{"the action exec"}},
		"setenv":                   {extra(rule("@rx a", ",setenv:PATH=/tmp")), []string{"the action setenv"}},
		"exec after a quoted text": {extra(rule("@rx a", ",msg:'a, b',exec:/x.sh")), []string{"the action exec"}},
		"the engine off for one":   {extra(rule("@rx a", ",ctl:ruleEngine=Off")), []string{"ctl:ruleEngine"}},
		"bodies unread":            {extra(rule("@rx a", ",ctl:requestBodyAccess=Off")), []string{"ctl:requestBodyAccess"}},
		"a paranoia for all":       {extra(`SecAction "id:900000,phase:1,pass,nolog,setvar:tx.blocking_paranoia_level=2"`), []string{"OURS.conf:3: tx.blocking_paranoia_level", "waf.paranoia"}},
		"a threshold for all":      {extra(`SecAction "id:900110,phase:1,pass,nolog,setvar:'TX.Inbound_Anomaly_Score_Threshold=50'"`), []string{"waf.inbound_threshold"}},
		"methods for all": {func(t testing.TB, dir string) {
			write(t, dir, "crs-setup.conf", read(t, dir, "crs-setup.conf.example")+"SecAction \\\n \"id:900200,phase:1,pass,nolog,\\\n setvar:'tx.allowed_methods=GET'\"\n")
		}, []string{"crs-setup.conf:", "waf.allowed_methods"}},
		"types taken away":      {extra(rule("@rx a", ",setvar:!tx.allowed_request_content_type")), []string{"waf.allowed_types"}},
		"a default that denies": {extra(`SecDefaultAction "phase:2,deny,log"`), []string{`OURS.conf:3: the default action "deny"`}},
		"a skip to nowhere":     {extra(rule("@rx a", ",skipAfter:NOWHERE")), []string{`OURS.conf:3: there is no SecMarker "NOWHERE"`}},
		"a huge file": {func(t testing.TB, dir string) {
			if err := os.Truncate(filepath.Join(dir, "rules/unix-shell.data"), 9<<20); err != nil {
				t.Fatal(err)
			}
		}, []string{"rules/unix-shell.data: is larger than 8 MiB"}},
		"too much in all": {func(t testing.TB, dir string) {
			for i := range 5 {
				name := fmt.Sprintf("rules/%d.data", i)
				write(t, dir, name, "")
				if err := os.Truncate(filepath.Join(dir, name), 8<<20); err != nil {
					t.Fatal(err)
				}
			}
		}, []string{"more than 32 MiB"}},
		"too many files": {func(t testing.TB, dir string) {
			for i := range 500 {
				write(t, dir, fmt.Sprintf("rules/%d.data", i), "")
			}
		}, []string{"at most 500"}},
		"too many files of rules": {func(t testing.TB, dir string) {
			for i := range 90 {
				write(t, dir, fmt.Sprintf("plugins/%d-after.conf", i), "")
			}
		}, []string{"at most 90"}},
		"a pipe": {func(t testing.TB, dir string) {
			if err := syscall.Mkfifo(filepath.Join(dir, "rules/x.data"), 0o644); err != nil {
				t.Fatal(err)
			}
		}, []string{"rules/x.data: is not a regular file"}},
		"a loop of links": {func(t testing.TB, dir string) {
			if err := os.Symlink("x.data", filepath.Join(dir, "rules/x.data")); err != nil {
				t.Fatal(err)
			}
		}, []string{"rules/x.data: cannot be read", "too many levels"}},
		"a file that may not be read": {func(t testing.TB, dir string) {
			if os.Geteuid() == 0 { // whom no mode keeps out
				remove(t, dir, sqli)
				if err := os.Mkdir(filepath.Join(dir, sqli), 0o755); err != nil {
					t.Fatal(err)
				}
				return
			}
			if err := os.Chmod(filepath.Join(dir, sqli), 0); err != nil {
				t.Fatal(err)
			}
		}, []string{sqli + ": "}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := release(t)
			c.spoil(t, dir)
			set, err := wafrules.FromDir(dir)
			if err == nil {
				t.Fatalf("taken: %s", set.Version())
			}
			for _, want := range append(c.want, dir) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in: %v", want, err)
				}
			}
		})
	}
	if _, err := wafrules.FromDir(filepath.Join(t.TempDir(), "absent")); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("a folder that does not exist: %v", err)
	}
}

func remove(t testing.TB, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

func replace(t testing.TB, dir, name, old, fresh string) {
	t.Helper()
	text := read(t, dir, name)
	if !strings.Contains(text, old) {
		t.Fatalf("%s has no %s", name, old)
	}
	write(t, dir, name, strings.ReplaceAll(text, old, fresh))
}

// What an operator may do: rules of his own, limits, the CRS's settings that no tenant has.
func TestOwnRulesAndSettingsForAllAreTaken(t *testing.T) {
	dir := release(t)
	write(t, dir, "crs-setup.conf", strings.ReplaceAll(read(t, dir, "crs-setup.conf.example"), "\n", "\r\n")+
		`SecAction "id:900300,phase:1,pass,nolog,setvar:tx.max_num_args=255,setvar:'tx.restricted_extensions=.bak/'"`+"\n")
	write(t, dir, "rules/REQUEST-900-EXCLUSION-RULES-BEFORE-CRS.conf",
		`SecRule REQUEST_FILENAME "@beginsWith /feed" "id:190000,phase:1,pass,nolog,ctl:ruleRemoveTargetById=942100;ARGS:q"`+"\n"+
			`SecRule REMOTE_ADDR "@ipMatchFromFile blocked.data" "id:190001,phase:1,deny,status:403,msg:'it''s \"blocked\"'"`+"\n")
	write(t, dir, "rules/blocked.data", "203.0.113.0/24\n")
	write(t, dir, "rules/RESPONSE-999-EXCLUSION-RULES-AFTER-CRS.conf", "SecRuleRemoveById 913100\nSecRuleUpdateTargetById 942100 \"!ARGS:bio\"\n")
	if _, err := wafrules.FromDir(dir); err != nil {
		t.Error(err)
	}
}

func TestAFingerprintChangesWithTheFolder(t *testing.T) {
	dir := release(t)
	link := filepath.Join(t.TempDir(), "crs")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	look := func(after string) {
		now := wafrules.Fingerprint(link)
		if before, ok := seen[now]; ok {
			t.Errorf("after %s it is as after %s", after, before)
		}
		if again := wafrules.Fingerprint(link); again != now {
			t.Errorf("after %s it is not twice the same", after)
		}
		seen[now] = after
	}
	look("nothing")
	write(t, dir, sqli, read(t, dir, sqli)+"#\n")
	look("a longer file")
	other := filepath.Join(t.TempDir(), "same")
	write(t, filepath.Dir(other), "same", read(t, dir, sqli))
	info, err := os.Stat(filepath.Join(dir, sqli))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(other, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(other, filepath.Join(dir, sqli)); err != nil {
		t.Fatal(err)
	}
	look("another file of the same size and time")
	write(t, dir, "rules/x.data", "")
	look("a new file")
	before := wafrules.Fingerprint(link)
	write(t, dir, "rules/README", "")
	if wafrules.Fingerprint(link) != before {
		t.Error("it changed with a file that is not read")
	}
	second := release(t)
	if err := os.Symlink(second, link+"~"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link+"~", link); err != nil {
		t.Fatal(err)
	}
	look("a switched link")
	remove(t, second, "crs-setup.conf.example")
	look("a removed setup")
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	look("a removed link")
}

func TestADirectiveIsFoundAgain(t *testing.T) {
	dir := release(t)
	write(t, dir, "rules/REQUEST-999-OURS.conf", "# ours\nSecAction \\\n  \"id:190001\"\nSecMarker A\nSecMarker A\n")
	set, err := wafrules.FromDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for nth, want := range map[int]int{1: 4, 2: 5} {
		if file, line, ok := set.Place("SecMarker A", nth); !ok || file != "rules/REQUEST-999-OURS.conf" || line != want {
			t.Errorf("%s:%d, %t", file, line, ok)
		}
	}
	if _, line, ok := set.Place(`SecAction "id:190001"`, 1); !ok || line != 2 {
		t.Errorf("line %d, %t", line, ok)
	}
	if _, _, ok := set.Place("SecMarker B", 1); ok {
		t.Error("found what is not there")
	}
}
