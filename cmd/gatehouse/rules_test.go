package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"gatehouse/admin"
	"gatehouse/edge/waf"
	"gatehouse/internal/edgetest"
	"gatehouse/waf-rules/crstest"
)

// A folder is judged when it has changed and rests, and once for each change.
func TestFolderOfRulesIsJudgedWhenItRests(t *testing.T) {
	edgetest.Sequential(t)
	dir := t.TempDir()
	if err := crstest.WriteRelease(dir); err != nil {
		t.Fatal(err)
	}
	const ours = "rules/REQUEST-900-OURS.conf"
	put := func(text string) { write(t, filepath.Join(dir, ours), text) }
	var log bytes.Buffer
	cfg := defaultConfig()
	cfg.WAF.CRS = dir
	w := newRuleWatch(dir, slog.New(slog.NewTextHandler(&log, nil)))
	engine, err := openRules(cfg, waf.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	replaced := 0
	w.engine, w.replaced = engine, func() { replaced++ }
	first := engine.Set().Digest()
	state := func(what string, compiles int64, swaps int, lines string) {
		t.Helper()
		want(t, what+": compilations", engine.Compiles(), compiles)
		want(t, what+": replaced", replaced, swaps)
		var said []string
		for line := range strings.Lines(log.String()) {
			_, message, _ := strings.Cut(line, "msg=\"")
			message, _, _ = strings.Cut(message, "\"")
			said = append(said, message)
		}
		want(t, what+": log", strings.Join(said, "\n"), lines)
		log.Reset()
	}
	w.look()
	w.look()
	state("as it was", 1, 0, "")

	put("# good\n")
	w.look()
	state("it has just changed", 1, 0, "")
	put("# better\n")
	w.look()
	state("it changes again", 1, 0, "")
	w.look()
	state("it rests", 2, 1, "")
	w.look()
	state("nothing new", 2, 1, "")

	put("SecRule\n")
	for range 4 {
		w.look()
	}
	state("no rule", 2, 1, "waf rules not replaced, those before stay in force")
	if err := w.problem(); err == nil || !strings.Contains(err.Error(), "REQUEST-900-OURS.conf") {
		t.Errorf("the watch keeps %v, want what is wrong with the file", err)
	}
	put("# better\n")
	for range 3 {
		w.look()
	}
	state("as in force", 2, 1, "waf rules are those in force again")
	want(t, "kept problem", w.problem(), nil)

	if err := os.Rename(dir, dir+".gone"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		w.look()
	}
	state("the folder is gone", 2, 1, "waf rules not replaced, those before stay in force")
	if err := os.Rename(dir+".gone", dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, ours)); err != nil {
		t.Fatal(err)
	}
	w.look()
	w.look()
	state("as at first", 3, 2, "")
	want(t, "digest", engine.Set().Digest(), first)
}

// The settings reach whatever judges requests.
func TestGateIsAsTheSettingsSay(t *testing.T) {
	edgetest.Sequential(t)
	for _, c := range []struct {
		gate     string
		shadow   int
		asked    float64 // of 4 requests, those that the gate looked at
		verified float64 // and those that all rules were compared on
	}{{"on", 2, 4, 2}, {"on", 0, 4, 0}, {"shadow", 0, 4, 4}, {"off", 2, 0, 0}} {
		t.Run(fmt.Sprint(c.gate, c.shadow), func(t *testing.T) {
			cfg, metrics := defaultConfig(), prometheus.NewRegistry()
			cfg.WAF.Gate, cfg.WAF.Shadow = c.gate, c.shadow
			rules, err := openRules(cfg, waf.Options{Registerer: metrics})
			if err != nil {
				t.Fatal(err)
			}
			defer rules.Close()
			rules.MakeGate()
			want(t, "gate", ruleset{rules}.Gate(), admin.Gate{Mode: c.gate, Active: c.gate == "on", Made: c.gate != "off"})
			for range 4 {
				tx := rules.Begin(nil, "id")
				tx.Request("GET", "/", "HTTP/1.1", "shop.test")
				tx.RequestHeader("Host", "shop.test")
				tx.RequestHeaders()
				tx.RequestBody(false)
				tx.Close()
			}
			want(t, "asked", sum(t, metrics, "gatehouse_waf_gate_answers_total"), c.asked)
			want(t, "verified", sum(t, metrics, "gatehouse_waf_gate_verified_total"), c.verified)
			want(t, "missed", sum(t, metrics, "gatehouse_waf_gate_missed_total"), 0.0)
		})
	}
	cfg := defaultConfig()
	cfg.WAF.Gate = "ajar"
	_, err := openRules(cfg, waf.Options{})
	want(t, "no mode", fmt.Sprint(err), `waf.gate: unknown waf gate "ajar": on, shadow or off`)
}

// sum adds a counter up over its labels.
func sum(t *testing.T, metrics prometheus.Gatherer, name string) (total float64) {
	t.Helper()
	families, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.Metric {
			total += m.GetCounter().GetValue()
		}
		return total
	}
	t.Fatal("no metric ", name)
	return 0
}

func TestCheckCompilesAFolderOfRules(t *testing.T) {
	edgetest.Sequential(t)
	t.Chdir(t.TempDir())
	if err := crstest.WriteRelease("etc/crs"); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll("etc/conf.d", 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, "etc/gatehouse.yaml", "waf: {crs: crs}\n") // below the file's folder
	write(t, "etc/conf.d/a.yaml", "vhosts: {shop.test: {backends: [\"http://127.0.0.1:1\"], waf: {exclusions: [{rules: [190001]}]}}}\n")
	code, out, _ := invoke(t, "check", "-c", "etc/gatehouse.yaml")
	want(t, "a copy", code, exitOK)
	contains(t, "a copy", out, "there is no rule 190001")

	const ours = "etc/crs/rules/REQUEST-900-OURS.conf"
	write(t, ours, `SecRule ARGS "@rx ." "id:190001,phase:1,pass,nolog"`+"\n")
	code, out, _ = invoke(t, "check", "-c", "etc/gatehouse.yaml")
	want(t, "with a rule", code, exitOK)
	if strings.Contains(out, "there is no rule") {
		t.Errorf("exclusions were compared with other rules:\n%s", out)
	}
	write(t, ours, `SecRule REQUEST_URI "@restpath /office/{name}" "id:190001,phase:1,pass,nolog"`+"\n")
	for gate, warns := range map[string]bool{"on": true, "shadow": true, "off": false} {
		code, out, _ = invoke(t, "check", "-c", "etc/gatehouse.yaml", "--waf.gate", gate)
		want(t, "a rule that the gate cannot look through", code, exitOK)
		want(t, gate+": warning", strings.Contains(out, "warning: etc/gatehouse.yaml:1:12: waf.crs: the gate cannot be used with these rules"), warns)
	}
	for text, says := range map[string]string{
		"\nSecDebugLog x\n":                       `rule set in etc/crs: rules/REQUEST-900-OURS.conf:2: "SecDebugLog"`,
		`SecRule ARGS "@rx (" "id:190001"` + "\n": "rules/REQUEST-900-OURS.conf:1: failed to compile",
	} {
		write(t, ours, text)
		code, out, _ = invoke(t, "check", "-c", "etc/gatehouse.yaml")
		want(t, text, code, exitFailed)
		contains(t, text, out, "etc/gatehouse.yaml:1:12: waf.crs: ", says, "1 | waf: {crs: crs}", "           ^")
	}
	code, out, _ = invokeWith(t, []string{"GATEHOUSE_WAF_CRS=etc/crs"}, "check")
	want(t, "from the environment", code, exitFailed)
	contains(t, "from the environment", out, "GATEHOUSE_WAF_CRS: ")
}
