package edge

import (
	"fmt"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"gatehouse/edge/waf"
	"gatehouse/internal/edgetest"
)

const attack = "/?q=%3Cscript%3Ealert(1)%3C/script%3E"

// threeTenants has a vhost of one tenant for each WAF mode, and one more vhost
// that overrides its tenant's.
func threeTenants(backend string) string {
	doc := "tenants:\n"
	for _, mode := range []string{"block", "detect", "off"} {
		doc += fmt.Sprintf("  %s: {waf: {mode: %s}}\n", mode, mode)
	}
	doc += "vhosts:\n"
	for _, mode := range []string{"block", "detect", "off"} {
		doc += fmt.Sprintf("  %s.test: {tenant: %s, backends: [%s]}\n", mode, mode, backend)
	}
	return doc + fmt.Sprintf("  own.test: {tenant: block, backends: [%s], waf: {mode: detect}}\n  none.test: {backends: [%s]}\n", backend, backend)
}

func TestAttackIsBlockedOnlyWhereTheTenantBlocks(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, threeTenants(b.URL))
	for host, status := range map[string]int{
		"block.test": 403, "detect.test": 200, "off.test": 200, "own.test": 200, "none.test": 200,
	} {
		got := n.get(t, host, attack)
		if got.Status != status {
			t.Errorf("%s: status %d, want %d", host, got.Status, status)
		}
		if status == 403 && (!strings.Contains(string(got.Body), got.Header.Get("X-Request-Id")) || strings.Contains(string(got.Body), "941")) {
			t.Errorf("%s: the block page lacks the id or shows a rule: %s", host, got.Body)
		}
		if got := n.get(t, host, "/?q=shoes"); got.Status != 200 {
			t.Errorf("%s: a harmless request got %d", host, got.Status)
		}
	}
	if got := b.Deliveries("/?q=%3C"); got != 4 {
		t.Errorf("%d attacks reached the backend, want 4", got)
	}
	// Detect mode logs what it would have blocked, with rule ids.
	n.waitFor(t, n.log, "action=detect")
	n.waitFor(t, n.log, "941100")
	n.waitFor(t, n.access, `"waf":"detect","rules":[941100`)
	n.waitFor(t, n.access, `"waf":"block","rules":[941100`)
}

func TestAttackInABodyIsBlockedAndAHarmlessBodyArrivesWhole(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, threeTenants(b.URL))
	post := func(body, kind string) *edgetest.RawAnswer {
		return edgetest.Dial(t, n.http).Do("POST", head("POST", "block.test", "/sink",
			fmt.Sprintf("Content-Length: %d", len(body)), "Content-Type: "+kind)+"\r\n"+body)
	}
	if got := post("q=1%27+OR+%271%27%3D%271", "application/x-www-form-urlencoded"); got.Status != 403 {
		t.Errorf("form: status %d", got.Status)
	}
	if got := post(`{"q":"<script>alert(1)</script>"}`, "application/json"); got.Status != 403 {
		t.Errorf("JSON: status %d", got.Status)
	}
	harmless := "name=" + strings.Repeat("shoes+", 3000)
	if got := post(harmless, "application/x-www-form-urlencoded"); got.Status != 200 || !strings.Contains(string(got.Body), sumOf([]byte(harmless))) {
		t.Errorf("harmless: status %d, %s", got.Status, got.Body)
	}
}

func TestResponsesAreInspectedWhereTheTenantWantsIt(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL, "waf: {mode: block, responses: true}")+
		"  plain.test:\n    backends: ["+b.URL+"]\n    waf: {mode: block}\n")
	leak := "/respond?Content-Type=text/html&body=You+have+an+error+in+your+SQL+syntax+near"
	if got := n.get(t, "www.shop.test", leak); got.Status != 403 || strings.Contains(string(got.Body), "SQL") {
		t.Errorf("status %d: %s", got.Status, got.Body)
	}
	if got := n.get(t, "plain.test", leak); got.Status != 200 {
		t.Errorf("without response inspection: status %d", got.Status)
	}
	if got := n.get(t, "www.shop.test", "/respond?Content-Type=text/html&body=welcome"); got.Status != 200 || string(got.Body) != "welcome" {
		t.Errorf("harmless: status %d: %s", got.Status, got.Body)
	}
}

func TestProbeSaysWhatServeWouldDo(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, threeTenants(b.URL))
	for host, verdict := range map[string]string{"block.test": "block", "detect.test": "detect", "off.test": "pass"} {
		got, err := n.Probe(Probe{URL: "http://" + host + attack})
		if err != nil {
			t.Fatal(err)
		}
		if got.Verdict != verdict || verdict != "pass" && (got.Score < got.Threshold || len(got.Matches) == 0) {
			t.Errorf("%s: %+v", host, got)
		}
	}
	if b.Deliveries("") != 0 {
		t.Error("a probe reached the backend")
	}
}

// One rule set is compiled, however many tenants there are.
func TestOneCompiledRuleSetForTwentyTenants(t *testing.T) {
	b := edgetest.NewBackend(t)
	doc := "vhosts:\n"
	for i := range 20 {
		doc += fmt.Sprintf("  t%d.test: {tenant: t%d, backends: [%s], waf: {mode: block, paranoia: %d}}\n", i, i, b.URL, i%4+1)
	}
	n := start(t, doc)
	for i := range 20 {
		if got := n.get(t, fmt.Sprintf("t%d.test", i), attack); got.Status != 403 {
			t.Errorf("tenant %d: status %d", i, got.Status)
		}
	}
	if got := n.opts.WAF.Compiles(); got != 1 {
		t.Errorf("%d rule sets were compiled, want 1", got)
	}
}

// What cannot be inspected goes by the tenant's choice, and detect mode refuses nothing.
func TestFailingEngineGoesByTheTenantsChoice(t *testing.T) {
	b := edgetest.NewBackend(t)
	broken, err := waf.New(waf.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := broken.Close(); err != nil {
		t.Fatal(err)
	}
	doc := "vhosts:\n"
	for _, mode := range []string{"block", "detect"} {
		for _, choice := range []string{"block", "pass"} {
			doc += fmt.Sprintf("  %s-%s.test: {backends: [%s], waf: {mode: %s, on_error: %s}}\n", mode, choice, b.URL, mode, choice)
		}
	}
	n := start(t, doc, func(o *Options) { o.WAF = broken })
	for host, status := range map[string]int{"block-block.test": 503, "block-pass.test": 200, "detect-block.test": 200, "detect-pass.test": 200} {
		if got := n.get(t, host, "/"); got.Status != status {
			t.Errorf("%s: status %d, want %d", host, got.Status, status)
		}
		if got := n.chunked(t, host, "/sink", "text/plain", "some text"); got.Status != status {
			t.Errorf("%s, chunked: status %d, want %d", host, got.Status, status)
		}
	}
	n.waitFor(t, n.log, "waf failed")
}

// The rules' SERVER_NAME is the host that selected the vhost and that the backend
// sees, however the client spelled it.
func TestTheFirewallAndTheBackendSeeOneHost(t *testing.T) {
	b := edgetest.NewBackend(t)
	rules, err := waf.New(waf.Options{Gate: waf.GateOff}) // so that there is a transaction to look into
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := rules.Close(); err != nil {
			t.Error(err)
		}
	})
	n := &node{}
	if n.Server, err = New(Options{WAF: rules}); err != nil {
		t.Fatal(err)
	}
	var inspected atomic.Value
	n.handle = chain(n.links(), func(r *request) error {
		inspected.Store(serverName(t, r.waf))
		return n.forward(r)
	})
	n.apply(t, shopSite(b.URL, "waf: {mode: block}"))
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	n.http = n.listen(t, n.Serve)
	if got := n.get(t, "WWW.Shop.test.:80", "/", "User-Agent: test", "Accept: */*"); got.Status != 200 {
		t.Fatalf("status %d", got.Status)
	}
	if got := inspected.Load(); got != "www.shop.test[www.shop.test]" {
		t.Errorf("the firewall saw %q", got)
	}
	if got := b.Requests()[0].Host; got != "www.shop.test" {
		t.Errorf("the backend saw %q", got)
	}
}

// serverName looks into a transaction for its SERVER_NAME and its Host fields: no rule
// of the CRS shows both.
func serverName(t *testing.T, tx *waf.Transaction) string {
	t.Helper()
	inner := reflect.ValueOf(tx).Elem().FieldByName("tx")
	if !inner.IsValid() || inner.IsNil() {
		t.Error("there is no transaction")
		return ""
	}
	inner = reflect.NewAt(inner.Type(), inner.Addr().UnsafePointer()).Elem() // to call an unexported field's methods
	variables := inner.MethodByName("Variables").Call(nil)[0]
	server := variables.MethodByName("ServerName").Call(nil)[0].MethodByName("Get").Call(nil)[0].String()
	fields := variables.MethodByName("RequestHeaders").Call(nil)[0].MethodByName("Get").Call([]reflect.Value{reflect.ValueOf("host")})[0]
	return fmt.Sprint(server, fields.Interface())
}
