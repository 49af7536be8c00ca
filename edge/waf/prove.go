package waf

import (
	"context"
	"fmt"

	"github.com/corazawaf/coraza/v3/experimental"
	"github.com/corazawaf/coraza/v3/types"
)

// attacks are refused by every rule set that deserves the name, at paranoia level 1.
var attacks = []struct{ name, target string }{
	{"SQL injection", "/?id=1%27%20UNION%20SELECT%20name%2Cpassword%20FROM%20users--%20-"},
	{"cross-site scripting", "/?q=%3Cscript%3Ealert(document.cookie)%3C/script%3E"},
	{"path traversal", "/?file=../../../../etc/passwd"},
	{"command injection", "/?host=127.0.0.1;cat%20/etc/passwd"},
}

// prove tries freshly compiled rules: text that compiles may still judge nothing, or judge every tenant
// alike. A set from outside must refuse plain attacks by their score, let a plain request pass, and
// take each tenant's settings as they are.
func (r *ruleset) prove() error {
	usual := (&Profile{Mode: Block}).resolve()
	it, _, err := r.try("/", usual)
	if err != nil {
		return err
	}
	if it != nil && evaluates(it.RuleID) { // a rule of the operator's may refuse it for other reasons
		return fmt.Errorf("a plain request is refused by its score (rule %d)", it.RuleID)
	}
	for _, a := range attacks {
		it, _, err := r.try(a.target, usual)
		if err != nil {
			return fmt.Errorf("%s: %w", a.name, err)
		}
		if it == nil {
			return fmt.Errorf("%s is not refused (%s): it is not a whole rule set", a.name, a.target)
		}
	}
	return r.proveTuning()
}

// proveTuning compares what a tenant sets with what is left of it after the request.
func (r *ruleset) proveTuning() error {
	tuned := (&Profile{
		Mode: Block, Paranoia: 4, InboundThreshold: 9999, OutboundThreshold: 9998,
		AllowedMethods: []string{"GET", "PROVE"}, AllowedTypes: []string{"prove/prove"},
	}).resolve()
	it, left, err := r.try(attacks[0].target, tuned)
	if err != nil {
		return err
	}
	for name, want := range map[string]string{
		"blocking_paranoia_level": "4", "detection_paranoia_level": "4",
		"inbound_anomaly_score_threshold": "9999", "outbound_anomaly_score_threshold": "9998",
		"allowed_methods": tuned.methods[0], "allowed_request_content_type": tuned.types[0],
	} {
		if left[name] != want {
			return fmt.Errorf("a rule changes tx.%s from %q to %q: it must leave tenants' settings alone", name, want, left[name])
		}
	}
	if it != nil && evaluates(it.RuleID) {
		return fmt.Errorf("a request below a tenant's threshold is refused (rule %d)", it.RuleID)
	}
	return nil
}

// evaluates reports whether a rule is one that compares scores with thresholds.
func evaluates(id int) bool { return id/1000 == 949 || id/1000 == 980 || id/1000 == 959 }

// try runs a request without a body through phases 1 and 2, and returns the variables of the transaction.
func (r *ruleset) try(target string, t *tuning) (it *types.Interruption, left map[string]string, err error) {
	tx := r.newTx.NewTransactionWithOptions(experimental.Options{ID: "prove", Context: context.Background()}).(engineTx)
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	t.apply(tx.Variables().TX())
	if it, err = plain(tx, target); err != nil {
		return nil, nil, err
	}
	left = map[string]string{}
	for _, m := range tx.Variables().TX().FindAll() {
		left[m.Key()] = m.Value()
	}
	return it, left, tx.Close()
}

// plain runs phases 1 and 2 of a browser's request for a target.
func plain(tx engineTx, target string) (it *types.Interruption, err error) {
	tx.ProcessConnection("192.0.2.1", 1234, "192.0.2.2", 443)
	tx.ProcessURI(target, "GET", "HTTP/1.1")
	tx.SetServerName("www.example.com")
	for _, field := range [][2]string{
		{"Host", "www.example.com"},
		{"User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"},
		{"Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"},
		{"Accept-Language", "en"},
		{"Connection", "keep-alive"},
	} {
		tx.AddRequestHeader(field[0], field[1])
	}
	if it = tx.ProcessRequestHeaders(); it == nil {
		if it, err = tx.ProcessRequestBody(); err != nil {
			return nil, fmt.Errorf("inspect request body: %w", err)
		}
	}
	return it, nil
}
