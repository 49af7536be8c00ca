package edge

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"gatehouse/edge/waf"
	"gatehouse/internal/edgetest"
	"gatehouse/routes"
	wafrules "gatehouse/waf-rules"
)

// Every file is as good as a tenant's document has to be, and none of it is without effect.
func TestPresetsAreGoodAgainstTheEmbeddedRules(t *testing.T) {
	rules, err := engine()
	if err != nil {
		t.Fatal(err)
	}
	for kind, files := range map[string]map[string][]byte{"profile": wafrules.Profiles(), "app": wafrules.Apps()} {
		for name, text := range files {
			p, err := parsePreset(name, text)
			if err != nil {
				t.Errorf("%s %s: %v", kind, name, err)
				continue
			}
			list := Exclusions(p.Exclusions)
			for _, x := range rules.Ignored(list) {
				t.Errorf("%s %s: exclusion %d: %s: %s", kind, name, x.Index, x.Field, x.Reason)
			}
			if err := (&waf.Profile{Shared: waf.NewShared(waf.NewExclusions(list))}).Validate(); err != nil {
				t.Errorf("%s %s: %v", kind, name, err)
			}
			for i, x := range p.Exclusions {
				if kind == "app" && x.Target == "" && len(x.Paths) == 0 {
					t.Errorf("app %s: exclusion %d turns whole rules off everywhere", name, i)
				}
				if x.Until != "" || x.ID != "" {
					t.Errorf("%s %s: exclusion %d has an end or an id", kind, name, i)
				}
			}
		}
	}
	same := func(what string, words []string, files map[string][]byte) {
		t.Helper()
		slices.Sort(words)
		if have := slices.Sorted(maps.Keys(files)); !slices.Equal(words, have) {
			t.Errorf("%s: documents may say %v, the files are %v", what, words, have)
		}
	}
	same("profiles", routes.WAFProfiles(), wafrules.Profiles())
	same("apps", routes.WAFApps(), wafrules.Apps())
}

func TestBadPresetsAreNotTaken(t *testing.T) {
	for text, want := range map[string]string{
		"exclusions: [{rules: [942100]":                      "not YAML",
		"exlusions: []":                                      `unknown key "exlusions"`,
		"exclusions: [{rules: [949110]}]":                    "cannot be excluded",
		"exclusions: [{target: ARGS}]":                       "name rules or tags",
		"exclusions: [{rules: [942100], paths: [admin]}]":    "bad path",
		"exclusions: [{rules: [942100], target: \"ARG:q\"}]": "unknown variable",
	} {
		if _, err := parsePreset("x", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// families has an attack of each family of rules, and the profiles that refuse it.
var families = []struct {
	ask     appAsk
	refused []string
}{
	{appAsk{name: "911 methods", request: "DELETE /thing"}, from("basic")},
	{appAsk{name: "913 scanners", request: "GET /", header: [][2]string{{"User-Agent", "sqlmap/1.7"}}}, from("basic")},
	{appAsk{name: "920 protocol", request: "POST /", kind: "text/plain", body: "a"}, from("basic")},
	{appAsk{name: "921 protocol attacks", request: "GET /?q=a%0d%0aSet-Cookie:%20a=b"}, from("basic")},
	{appAsk{name: "922 multipart", request: "POST /", kind: appMultipart, body: "--b\r\nContent-Disposition: form-data; name=\"a\"\r\nContent-Type: text/plain; charset=utf-7\r\n\r\nx\r\n--b--\r\n"}, from("basic")},
	{appAsk{name: "2000 parsers", request: "POST /", kind: jsonType, body: `{"a"`}, from("basic")},
	{appAsk{name: "932 remote code execution", request: "GET /?q=%24%28id%29"}, from("strong")},
	{appAsk{name: "941 cross-site scripting", request: "GET /?q=%3Cscript%3Ealert(1)%3C/script%3E"}, from("strong")},
	{appAsk{name: "942 SQL injection", request: "GET /?q=1%27%20OR%20%271%27=%271"}, from("strong")},
	{appAsk{name: "930 local files", request: "GET /?q=../../../x"}, from("complete")},
	{appAsk{name: "931 remote files", request: "GET /?q=http://192.0.2.1/shell.txt"}, from("complete")},
	{appAsk{name: "933 PHP", request: "GET /?q=php://input"}, from("complete")},
	{appAsk{name: "934 generic", request: "GET /?q=constructor.prototype.a"}, from("complete")},
	{appAsk{name: "943 session fixation", request: "GET /?PHPSESSID=a", header: [][2]string{{"Referer", "https://evil.test/"}}}, from("complete")},
	{appAsk{name: "944 Java", request: "GET /?q=java.lang.Runtime"}, from("complete")},
}

// from returns the profiles from one on.
func from(profile string) []string {
	all := routes.WAFProfiles()
	return all[slices.Index(all, profile):]
}

func profileNode(t *testing.T, backend string, further string) *node {
	t.Helper()
	doc := fmt.Sprintf("vhosts:\n  default.test: {backends: [%s], waf: {mode: block%s}}\n", backend, further)
	for _, p := range routes.WAFProfiles() {
		doc += fmt.Sprintf("  %[1]s.test: {backends: [%[2]s], waf: {mode: block, profile: %[1]s%[3]s}}\n", p, backend, further)
	}
	return start(t, doc)
}

// Each profile refuses the attacks of its families and leaves those of the others alone.
func TestProfilesHoldTheirFamilies(t *testing.T) {
	n := profileNode(t, "http://127.0.0.1:9", "")
	for _, f := range families {
		for _, p := range append(routes.WAFProfiles(), "default") {
			t.Run(p+"/"+f.ask.name, func(t *testing.T) {
				got := n.inspect(t, p+".test", f.ask)
				if refused := p == "default" || slices.Contains(f.refused, p); (got.Verdict == "block") != refused {
					t.Errorf("want refused: %t: %s", refused, summaryOf(got))
				} else if !refused && len(got.Matches) > 0 {
					t.Errorf("not refused, but matched: %s", summaryOf(got))
				}
			})
		}
	}
	for _, p := range append(routes.WAFProfiles(), "default") {
		a := appAsk{name: "usual", request: "POST /?page=2", body: formOf("name", "Ann O'Neil", "text", "Thank you, it works")}
		if got := n.inspect(t, p+".test", a); got.Verdict != "pass" || len(got.Matches) > 0 {
			t.Errorf("%s: a usual request: %s", p, summaryOf(got))
		}
	}
}

// What a profile leaves out is all that it changes: its tenant's other settings act as ever, and the tests of
// alproxy's users (none lets a script pass, strong does not) hold over a connection.
func TestProfilesThroughTheEdge(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, fmt.Sprintf(`tenants:
  none: {waf: {mode: block, profile: none}}
  strong: {waf: {mode: block, profile: strong}}
vhosts:
  none.test: {tenant: none, backends: [%[1]s]}
  ruled.test: {tenant: none, backends: [%[1]s], waf: {rules: 'SecRule ARGS:ticket "@contains EVIL" "id:1,phase:2,deny,status:403,msg:''no''"'}}
  own.test: {tenant: none, backends: [%[1]s], waf: {profile: basic}}
  strong.test: {tenant: strong, backends: [%[1]s]}
  detect.test: {tenant: strong, backends: [%[1]s], waf: {mode: detect}}
  high.test: {tenant: strong, backends: [%[1]s], waf: {inbound_threshold: 100}}
  excluded.test: {tenant: strong, backends: [%[1]s], waf: {exclusions: [{rules: [941100, 941110, 941160, 941390]}]}}
  methods.test: {tenant: strong, backends: [%[1]s], waf: {allowed_methods: [GET]}}
`, b.URL))
	const attack = "/?param=%22%3E%3Cscript%3Ealert(1);%3C/script%3E"
	for _, c := range []struct {
		host, target string
		status       int
	}{
		{"none.test", attack, 200},
		{"ruled.test", attack, 200},
		{"ruled.test", "/?ticket=EVIL", 403}, // own rules act in every profile
		{"none.test", "/?ticket=EVIL", 200},
		{"own.test", attack, 200}, // a vhost's replaces its tenant's
		{"own.test", "/?q=a%0d%0aSet-Cookie:%20a=b", 403},
		{"strong.test", attack, 403},
		{"strong.test", "/?q=../../../x", 200},
		{"detect.test", attack, 200},
		{"high.test", attack, 200},
		{"excluded.test", attack, 200},
		{"excluded.test", "/?q=1%27%20OR%20%271%27=%271", 403},
	} {
		if got := n.get(t, c.host, c.target).Status; got != c.status {
			t.Errorf("%s%s: status %d, want %d", c.host, c.target, got, c.status)
		}
	}
	if got := n.post(t, "methods.test", "/", "a=b"); got != 403 {
		t.Errorf("a method that is not allowed: status %d", got)
	}
	if got := n.opts.WAF.Compiles(); got != 1 {
		t.Errorf("%d rule sets were compiled", got)
	}
}

// The rules for responses go by the setting for them, in every profile but none.
func TestProfilesLeaveResponsesToTheirSetting(t *testing.T) {
	b := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<b>Fatal error</b>: Uncaught Error: You have an error in your SQL syntax; check the manual that corresponds to your MySQL server version")
	}))
	t.Cleanup(b.Close)
	n := profileNode(t, b.URL, ", responses: true")
	for p, want := range map[string]int{"none": 200, "basic": 403, "strong": 403, "complete": 403, "default": 403} {
		if got := n.get(t, p+".test", "/").Status; got != want {
			t.Errorf("%s: status %d, want %d", p, got, want)
		}
	}
}

// An app is its tenant's only, live with the document, and a vhost's list replaces its tenant's.
func TestAppsThroughTheEdge(t *testing.T) {
	b := edgetest.NewBackend(t)
	doc := func(apps string) string {
		return fmt.Sprintf(`tenants:
  shop: {waf: {mode: block, apps: %[2]s}}
  blog: {waf: {mode: block}}
vhosts:
  shop.test: {tenant: shop, backends: [%[1]s]}
  cloud.test: {tenant: shop, backends: [%[1]s], waf: {apps: [nextcloud]}}
  plain.test: {tenant: shop, backends: [%[1]s], waf: {apps: []}}
  blog.test: {tenant: blog, backends: [%[1]s]}
`, b.URL, apps)
	}
	n := start(t, doc("[wordpress]"))
	save := formOf("content", markup+code)
	posts := func(host string, want int) {
		t.Helper()
		if got := n.post(t, host, "/wp-admin/post.php", save); got != want {
			t.Errorf("%s: the editor saves: status %d, want %d", host, got, want)
		}
		if got := n.post(t, host, "/contact", save); got != 403 {
			t.Errorf("%s: the same elsewhere: status %d", host, got)
		}
		if got := n.post(t, host, "/wp-admin/../contact", save); got != 403 && got != 400 {
			t.Errorf("%s: the same elsewhere by a way up: status %d", host, got)
		}
	}
	posts("shop.test", 200)
	for _, host := range []string{"cloud.test", "plain.test", "blog.test"} {
		posts(host, 403)
	}
	stores := func(host string, want int) {
		t.Helper()
		lines := []string{"Content-Type: image/png", "Content-Length: 5"}
		if got := edgetest.Dial(t, n.http).Do("PUT", head("PUT", host, "/remote.php/dav/files/ann/a.png", lines...)+"\r\n\x89PN\x00\x01").Status; got != want {
			t.Errorf("%s: a file is stored: status %d, want %d", host, got, want)
		}
	}
	stores("cloud.test", 200)
	stores("shop.test", 403)
	n.apply(t, doc("[wordpress, nextcloud]"))
	posts("shop.test", 200)
	stores("shop.test", 200)
	n.apply(t, doc("[]"))
	posts("shop.test", 403)
	if got := n.opts.WAF.Compiles(); got != 1 {
		t.Errorf("%d rule sets were compiled", got)
	}
}

// However many tenants name an app, there is one list of its exclusions and one of each combination.
func TestTenantsShareTheirPresets(t *testing.T) {
	doc := "tenants:\n"
	for i := range 6 {
		doc += fmt.Sprintf("  t%d: {waf: {apps: [%s], profile: complete}}\n", i, []string{"wordpress, drupal", "drupal, wordpress", "wordpress"}[i%3])
	}
	doc += "vhosts:\n"
	for i := range 6 {
		doc += fmt.Sprintf("  t%[1]d.test: {tenant: t%[1]d, backends: [http://127.0.0.1:9]}\n", i)
	}
	doc += "  none.test: {backends: [http://127.0.0.1:9]}\n"
	n := start(t, doc)
	sets := map[*waf.Shared]int{}
	lists := map[*waf.Exclusions]int{}
	for r := range n.table.Vhosts() {
		st, err := n.siteOf(r)
		if err != nil {
			t.Fatal(err)
		}
		sets[st.profile.Shared]++
		for _, list := range st.profile.Shared.Lists() {
			lists[list]++
		}
	}
	if len(sets) != 3 || sets[nil] != 1 || len(lists) != 2 {
		t.Errorf("sets %v, lists %v: want one for both apps, one for WordPress, and none", sets, lists)
	}
}

// documentOf is a vhost that has a preset's exclusions as its own, but one.
func documentOf(t *testing.T, list []routes.Exclusion, level, without int) string {
	t.Helper()
	raw, err := json.Marshal(slices.Delete(slices.Clone(list), without, without+1))
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("{backends: [\"http://127.0.0.1:9\"], waf: {mode: block, paranoia: %d, exclusions: %s}}", level, raw)
}

// neededBy proves of each exclusion of an app that one of the usual requests is refused without it.
func neededBy(t *testing.T, app string, usual []appAsk) {
	t.Helper()
	p, err := parsePreset(app, wafrules.Apps()[app])
	if err != nil {
		t.Fatal(err)
	}
	doc := "vhosts:\n"
	for i := range p.Exclusions {
		for level := 1; level <= 2; level++ {
			doc += fmt.Sprintf("  without%d-%d.test: %s\n", i, level, documentOf(t, p.Exclusions, level, i))
		}
	}
	n := start(t, doc)
	for i, x := range p.Exclusions {
		if !slices.ContainsFunc(usual, func(a appAsk) bool {
			return n.inspect(t, fmt.Sprintf("without%d-%d.test", i, max(a.level, 1)), a).Verdict == "block"
		}) {
			t.Errorf("app %s: nothing needs exclusion %d: %v %s %v", app, i, x.Rules, x.Target, x.Paths)
		}
	}
}

// BenchmarkPresets is what a tenant's presets cost beside the inspection: for a request that no
// pattern fits, and for one that has exclusions. Compare with "none".
func BenchmarkPresets(b *testing.B) {
	rules, err := engine()
	if err != nil {
		b.Fatal(err)
	}
	var sets presetSets
	all := routes.WAFApps()
	for _, c := range []struct {
		name, profile string
		apps          []string
		method, path  string
	}{
		{"none", "complete", nil, "GET", "/2026/11/an-article/?page=2"},
		{"profile-basic", "basic", nil, "GET", "/2026/11/an-article/?page=2"},
		{"profile-strong", "strong", nil, "GET", "/2026/11/an-article/?page=2"},
		{"wordpress-elsewhere", "complete", all[:1], "GET", "/2026/11/an-article/?page=2"},
		{"wordpress-form-elsewhere", "complete", all[:1], "POST", "/2026/11/an-article/?page=2"},
		{"four-elsewhere", "complete", all, "POST", "/2026/11/an-article/?page=2"},
		{"wordpress-login", "complete", all[:1], "POST", "/wp-login.php"},
		{"wordpress-editor", "complete", all[:1], "POST", "/wp-admin/post.php"},
		{"nextcloud-upload", "complete", []string{"nextcloud"}, "PUT", "/remote.php/dav/files/ann/a.png"},
	} {
		b.Run(c.name, func(b *testing.B) {
			p := &waf.Profile{Mode: waf.Block, Shared: sets.of(&routes.WAF{Profile: c.profile, Apps: c.apps})}
			b.ReportAllocs()
			for b.Loop() {
				tx := rules.Begin(p, "bench")
				tx.Request(c.method, c.path, "HTTP/1.1", "shop.test")
				tx.Close()
			}
		})
	}
}
