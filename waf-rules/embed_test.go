package wafrules_test

import (
	"io/fs"
	"strings"
	"testing"

	wafrules "gatehouse/waf-rules"
)

// The CRS module's own copy of the base settings lacks these: a thousand arguments then hide an attack.
func TestBaseSettingsHaveTheRulesOfTheEnginesRelease(t *testing.T) {
	text, err := fs.ReadFile(wafrules.Embedded().FS(), "base.conf")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"'200000'", "'200001'", "'200002'", "'200003'", "'200004'", "'200005'", "'200006'", "'200009'",
		"\nSecArgumentsLimit 1000\n", "\nSecRxPreFilter Off\n", "\nSecRuleEngine On\n", "\nSecAuditEngine Off\n", "Apache License",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("base.conf lacks %q", want)
		}
	}
	for line := range strings.Lines(string(text)) {
		for _, file := range []string{"SecDataDir", "SecUploadDir", "SecDebugLog", "SecAuditLog ", "SecAuditLogStorageDir", "setvar"} {
			if strings.HasPrefix(line, file) {
				t.Errorf("base.conf has %q", line)
			}
		}
	}
}

// A value set for everybody would win over every tenant's: rules 901xxx fill in only what is unset.
func TestSetupLeavesTuningToTenants(t *testing.T) {
	text, err := fs.ReadFile(wafrules.Embedded().FS(), "@crs-setup.conf.example")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		for _, variable := range []string{"paranoia_level", "_threshold", "allowed_methods"} {
			if strings.Contains(line, variable) {
				t.Errorf("the setup has %q", line)
			}
		}
	}
}

func TestRulesAreIdentified(t *testing.T) {
	if got := wafrules.Embedded().Version(); strings.Count(got, ".") != 2 {
		t.Errorf("version %q", got)
	}
	if got := wafrules.Embedded().Digest(); len(got) != 64 || got != wafrules.Embedded().Digest() {
		t.Errorf("digest %q", got)
	}
	if _, err := fs.ReadFile(wafrules.Embedded().FS(), "@owasp_crs/unix-shell.data"); err != nil {
		t.Error(err)
	}
	if _, err := wafrules.Embedded().FS().Open("no-such.conf"); err == nil {
		t.Error("a file that does not exist was opened")
	}
}
