package main

import (
	"path/filepath"
	"strings"
	"testing"

	"gatehouse/routes"
)

// checkOf checks a folder that holds one file of routes, and further files.
func checkOf(t *testing.T, yaml string, further ...string) (dir string, code int, out string) {
	t.Helper()
	dir = t.TempDir()
	write(t, filepath.Join(dir, "a.yaml"), yaml)
	for _, name := range further {
		write(t, filepath.Join(dir, name), "text")
	}
	code, out, _ = invoke(t, "check", dir)
	return dir, code, out
}

// A redirect to a host of its own vhost goes round for ever, unless a vhost of its own has that path.
func TestCheckOfARedirectToItsOwnVhost(t *testing.T) {
	t.Parallel()
	const circle = "redirect.to: leads back to this vhost, for ever"
	for name, c := range map[string]struct{ vhosts, says string }{
		"another path of the host":         {"a.test: {redirect: {to: 'https://a.test/x'}}", circle},
		"an alias":                         {"a.test: {aliases: [b.test], redirect: {to: 'https://b.test/x', keep_path: false}}", circle},
		"an alias of a path's host":        {"a.test: {aliases: [b.test], respond: {body: a}}\n  a.test/x: {redirect: {to: 'https://b.test/x/y'}}", circle},
		"the name beside a wildcard":       {"'*.a.test': {aliases: [a.test], redirect: {to: 'https://a.test/x'}}", circle},
		"a path that follows":              {"a.test: {respond: {body: a}}\n  a.test/x: {redirect: {to: 'https://a.test'}}", circle},
		"a path that follows to an alias":  {"a.test: {aliases: [b.test], respond: {body: a}}\n  a.test/x: {redirect: {to: 'https://b.test/'}}", circle},
		"a path that does not follow":      {"a.test: {respond: {body: a}}\n  a.test/x: {redirect: {to: 'https://a.test', keep_path: false}}", ""},
		"a path that is taken off":         {"a.test: {respond: {body: a}}\n  a.test/x: {strip: true, redirect: {to: 'https://a.test'}}", ""},
		"a path that follows to and fro":   {"a.test: {respond: {body: a}}\n  b.test: {redirect: {to: 'https://a.test'}}\n  a.test/x: {redirect: {to: 'https://b.test'}}", circle},
		"a path that another vhost has":    {"a.test: {redirect: {to: 'https://b.test'}}\n  b.test: {redirect: {to: 'https://a.test/x'}}\n  a.test/x: {redirect: {to: 'https://b.test'}}\n  b.test/x: {respond: {body: b}}", ""},
		"a path with a vhost of its own":   {"a.test: {redirect: {to: 'https://a.test/x'}}\n  a.test/x: {respond: {body: x}}", ""},
		"from a path to another one":       {"a.test: {respond: {body: a}}\n  a.test/x: {redirect: {to: 'https://a.test/y'}}", ""},
		"a name that only a wildcard has":  {"'*.a.test': {redirect: {to: 'https://www.a.test'}}", "warning: "},
		"a name that everything else gets": {"'*': {redirect: {to: 'https://www.a.test'}}", "warning: "},
	} {
		_, code, out := checkOf(t, "vhosts:\n  "+c.vhosts+"\n")
		failed := c.says == circle
		if code == exitFailed != failed || !strings.Contains(out, c.says) || strings.Contains(out, "warning: ") != (c.says == "warning: ") {
			t.Errorf("%s: exit %d:\n%s", name, code, out)
		}
	}
	dir, _, _ := checkOf(t, "vhosts:\n  a.test: {redirect: {to: 'https://a.test/x'}}\n")
	if code, out, _ := invoke(t, "check", filepath.Join(dir, "a.yaml")); code != exitOK || !strings.Contains(out, circle) {
		t.Errorf("a file beside which there may be a.test/x: exit %d:\n%s", code, out)
	}
}

// A file that cannot be read is named with its path, where the field that names it stands.
func TestCheckNamesThePathOfFilesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ vhost, field, file, why string }{
		"page":      {"respond: {file: none.html}", "respond.file", "none.html", "cannot be read: no such file or directory"},
		"authority": {"backends: [{url: 'https://127.0.0.1:1', tls: {ca: none.pem}}]", "backends[0].tls.ca", "none.pem", "cannot be read: no such file or directory"},
		"no PEM":    {"backends: [{url: 'https://127.0.0.1:1', tls: {ca: there.pem}}]", "backends[0].tls.ca", "there.pem", "cannot be read: it holds no PEM certificate"},
		"clients' authority": {
			"backends: ['http://127.0.0.1:1'], tls: {client_auth: {mode: required, ca: none.pem}}",
			"tls.client_auth.ca", "none.pem", "cannot be read: no such file or directory",
		},
		"clients' authority, no PEM": {
			"backends: ['http://127.0.0.1:1'], tls: {client_auth: {mode: required, ca: there.pem}}",
			"tls.client_auth.ca", "there.pem", "cannot be read: it holds no PEM certificate",
		},
		"vhost's certificate": {
			"backends: ['http://127.0.0.1:1'], tls: {certificate: {cert: none.pem, key: there.pem}}",
			"tls.certificate.cert", "none.pem", "cannot be read: no such file or directory",
		},
		"vhost's key": {
			"backends: ['http://127.0.0.1:1'], tls: {certificate: {cert: there.pem, key: none.key}}",
			"tls.certificate.key", "none.key", "cannot be read: no such file or directory",
		},
		"client's certificate": {
			"backends: [{url: 'https://127.0.0.1:1', tls: {client_cert: none.pem, client_key: there.pem}}]",
			"backends[0].tls.client_cert", "none.pem", "cannot be read: no such file or directory",
		},
		"client's key": {
			"backends: [{url: 'https://127.0.0.1:1', tls: {client_cert: there.pem, client_key: none.key}}]",
			"backends[0].tls.client_key", "none.key", "cannot be read: no such file or directory",
		},
	} {
		dir, code, out := checkOf(t, "vhosts:\n  a.test: {"+c.vhost+"}\n", "there.pem")
		if want := c.field + ": " + filepath.Join(dir, c.file) + " " + c.why + "\n"; code != exitFailed || !strings.Contains(out, want) {
			t.Errorf("%s: exit %d, want %s:\n%s", name, code, want, out)
		}
	}
}

func TestCheckWarnsOfBackendsThatNobodyVerifies(t *testing.T) {
	t.Parallel()
	for settings, warned := range map[string]bool{"verify: false": true, "verify: true": false, "server_name: b.test": false} {
		_, code, out := checkOf(t, "vhosts:\n  a.test: {backends: [{url: 'https://127.0.0.1:1', tls: {"+settings+"}}]}\n")
		if code != exitOK || strings.Contains(out, "backends[0].tls.verify: any certificate is taken") != warned {
			t.Errorf("%s: exit %d:\n%s", settings, code, out)
		}
	}
}

// What nginx, Caddy and others fill in is sent as it stands.
func TestCheckWarnsOfHeaderValuesThatLookLikeVariables(t *testing.T) {
	t.Parallel()
	for value, warned := range map[string]bool{
		"$host": true, "https://${host}/": true, "a $remote_addr": true, "{host}": true, "{http.request.host}": true, "%{Host}i": true, "{{ .Host }}": true,
		"%h": true, "t=%D": true, "%[src]": true, "50%": false, "a%20b": false, "/%af": false, "100%x": false,
		"prod": false, "5$": false, "$5": false, "Basic c2hvcDo=": false, "pa$word": false, "{}": false,
		`{"group": "csp", "max_age": 86400, "endpoints": [{"url": "https://a.test/{"}]}`: false,
	} {
		for _, edits := range []string{"request: {set: ", "response: {add: "} {
			_, code, out := checkOf(t, "vhosts:\n  a.test: {backends: [http://127.0.0.1:1], headers: {"+edits+"{X-A: '"+value+"'}}}}\n")
			if code != exitOK || strings.Contains(out, "X-A: sent as it stands, "+value+": there are no variables") != warned {
				t.Errorf("%s%s: exit %d:\n%s", edits, value, code, out)
			}
		}
	}
}

// Who has come from a server that fills such things in learns it before a visitor does.
func TestCheckWarnsOfRedirectsThatLookLikeVariables(t *testing.T) {
	t.Parallel()
	for to, warned := range map[string]bool{"https://b.test/{path}": true, "https://b.test/$request_uri": true, "https://b.test/a%2fb": false, "https://b.test/5$": false} {
		_, code, out := checkOf(t, "vhosts:\n  a.test: {redirect: {to: '"+to+"'}}\n")
		if code != exitOK || strings.Contains(out, "redirect.to: sent as it stands, "+to+": there are no variables") != warned {
			t.Errorf("%s: exit %d:\n%s", to, code, out)
		}
	}
}

// A path vhost has no certificate of its own: nobody could order one for its name.
func TestPathVhostsAskForNoCertificate(t *testing.T) {
	docs, problems := routes.ParseFile("a.yaml", []byte("vhosts:\n  a.test: {backends: [http://127.0.0.1:1]}\n  a.test/x: {backends: [http://127.0.0.1:2]}\n"))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	table, replaced := (&routes.Table{}).With([]routes.Change{docs[0].Change(), docs[1].Change()})
	if got := certificateChanges(table, replaced); len(replaced) != 2 || len(got) != 1 || got[0].Name != "a.test" {
		t.Errorf("%v of %d vhosts", got, len(replaced))
	}
}
