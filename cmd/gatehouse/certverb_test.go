package main

import (
	"context"
	"encoding/csv"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/admin"
	"gatehouse/admin/admintest"
)

// holder has some certificates, as a node would.
type holder struct {
	mu       sync.Mutex
	certs    map[string]admin.Certificate
	renewed  []string
	cert     string
	key      string
	names    []string
	removed  []string
	outcomes map[string]func(*admin.Certificate) // of orders
}

func newHolder() *holder {
	now := time.Now()
	day := 24 * time.Hour
	h := &holder{certs: map[string]admin.Certificate{}, outcomes: map[string]func(*admin.Certificate){}}
	for _, c := range []admin.Certificate{
		{
			Name: "www.shop.test", Issuer: "E7", Source: admin.SourceACME, Key: "ECDSA P-256", NotBefore: now.Add(-30 * day), NotAfter: now.Add(60*day + time.Hour),
			Fingerprint: "f1", Staple: "none", NextTry: now.Add(30*day + time.Hour),
		},
		{
			Name: "*.shop.test", Issuer: "StartCom Class 1", Source: admin.SourceFile, Key: "RSA 2048", NotBefore: now.Add(-300 * day), NotAfter: now.Add(5*day + time.Hour),
			Fingerprint: "f2", Staple: "good",
		},
		{
			Name: "blog.test", Issuer: "Gatehouse CA", Source: admin.SourceInternal, Key: "ECDSA P-256", NotBefore: now, NotAfter: now.Add(6*day + time.Hour),
			Staple: "none", NextTry: now.Add(9*time.Minute + 30*time.Second), LastTry: now.Add(-time.Minute), LastError: "blog.test was not validated",
			Problem: "the issuer cannot reach http://blog.test/: does its DNS lead here, is port 80 open?",
		},
		{
			Name: "old.test", Issuer: "E6", Source: admin.SourceACME, Key: "ECDSA P-256", NotAfter: now.Add(-36 * time.Hour), Fingerprint: "f3", Staple: "revoked",
		},
	} {
		h.certs[c.Name] = c
	}
	return h
}

func (h *holder) options() admin.Options {
	return admin.Options{Node: "n1", Certificates: admin.Certificates{
		List: func(names ...string) (out []admin.Certificate) {
			h.mu.Lock()
			defer h.mu.Unlock()
			for name, c := range h.certs {
				if len(names) == 0 || name == names[0] {
					out = append(out, c)
				}
			}
			return out
		},
		Renew: h.renew,
		Import: func(_ context.Context, cert, key []byte, names ...string) ([]string, []string, error) {
			h.cert, h.key, h.names = string(cert), string(key), names
			if h.cert == "other" {
				return nil, nil, errors.New("key does not match: it belongs to no certificate of the file")
			}
			return append(names, "a.test"), []string{"no intermediate certificate in the file"}, nil
		},
		Remove: func(_ context.Context, names ...string) error {
			h.removed = names
			if names[0] == "blog.test" {
				return errors.New("nothing was imported for blog.test")
			}
			return nil
		},
	}}
}

func (h *holder) renew(name string) (bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c, ok := h.certs[name]
	switch {
	case !ok:
		return false, errors.New(name + " is not in the table")
	case c.Source == admin.SourceFile:
		return false, errors.New(name + " has a certificate file; replace the file instead")
	}
	h.renewed = append(h.renewed, name)
	if outcome := h.outcomes[name]; outcome != nil {
		outcome(&c)
		h.certs[name] = c
	}
	return name != "blog.test" || h.outcomes[name] != nil, nil
}

func TestCertListShowsWhatIsHeldAndWhatIsWrong(t *testing.T) {
	n := admintest.Start(t, sites, newHolder().options())
	t.Chdir(n.Dir)
	code, out, errOut := invoke(t, "cert", "list")
	want(t, "all"+errOut, code, exitOK)
	want(t, "table", out, strings.TrimLeft(`
NAME           ISSUER            SOURCE    KEY          DAYS  STAPLE   NEXT    PROBLEM
*.shop.test    StartCom Class 1  file      RSA 2048     5     good     -       -
blog.test      Gatehouse CA      internal  ECDSA P-256  6     -        in 9m   the issuer cannot reach http://blog.test/: does its DNS lead here, is port 80 open?
old.test       E6                acme      ECDSA P-256  -2    revoked  -       -
www.shop.test  E7                acme      ECDSA P-256  60    -        in 30d  -
`, "\n"))
	for args, names := range map[string]string{
		"--issuer startcom":            "*.shop.test",
		"--issuer STARTCOM":            "*.shop.test",
		"--expiring 10d":               "*.shop.test old.test", // the internal CA's are made anew by themselves
		"--expiring 10d --issuer e6":   "old.test",
		"--expiring 36h":               "old.test",
		"www.shop.test blog.test":      "blog.test www.shop.test",
		"WWW.Shop.Test. www.shop.test": "www.shop.test",
		"deep.down.shop.test":          "*.shop.test",
	} {
		code, out, errOut := invoke(t, append([]string{"cert", "list", "-o", "csv"}, strings.Fields(args)...)...)
		want(t, args+errOut, code, exitOK)
		rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, row := range rows[1:] {
			got = append(got, row[0])
		}
		want(t, args, strings.Join(got, " "), names)
		want(t, "heading", strings.Join(rows[0], ","), "name,issuer,source,key,not_before,not_after,days,staple,next,problem,set")
	}
	_, out, _ = invoke(t, "cert", "list", "--issuer", "nobody")
	want(t, "none", out, "none\n")
	_, out, _ = invoke(t, "cert", "list", "blog.test", "-o", "json")
	contains(t, "JSON", out, `"node": "n1"`, `"last_error": "blog.test was not validated"`, `"problem": "the issuer cannot reach`, `"source": "internal"`)
	code, _, errOut = invoke(t, "cert", "list", "nobody.test")
	want(t, "nobody's", code, exitFailed)
	contains(t, "nobody's", errOut, "no vhost answers for nobody.test")
}

func TestCertListShowsWhichNamesShareACertificate(t *testing.T) {
	h := newHolder()
	for _, name := range []string{"www.shop.test", "*.shop.test"} {
		c := h.certs[name]
		c.Set = "www.shop.test"
		h.certs[name] = c
	}
	n := admintest.Start(t, sites, h.options())
	t.Chdir(n.Dir)
	_, out, _ := invoke(t, "cert", "list", "--expiring", "100d")
	want(t, "table", out, strings.TrimLeft(`
NAME           ISSUER            SOURCE  SET            KEY          DAYS  STAPLE   NEXT    PROBLEM
*.shop.test    StartCom Class 1  file    www.shop.test  RSA 2048     5     good     -       -
old.test       E6                acme    -              ECDSA P-256  -2    revoked  -       -
www.shop.test  E7                acme    www.shop.test  ECDSA P-256  60    -        in 30d  -
`, "\n"))
	_, out, _ = invoke(t, "cert", "list", "www.shop.test", "-o", "json")
	contains(t, "JSON", out, `"set": "www.shop.test"`)
}

func TestCertRenewSaysWhatBecomesOfEachName(t *testing.T) {
	h := newHolder()
	n := admintest.Start(t, sites, h.options())
	t.Chdir(n.Dir)
	code, out, errOut := invoke(t, "cert", "renew", "www.shop.test", "blog.test")
	want(t, "two"+errOut, code, exitOK)
	want(t, "two", out, "www.shop.test: ordered; see gatehouse cert list www.shop.test\nblog.test: the internal CA makes another one at the next handshake\n")
	code, out, _ = invoke(t, "cert", "renew", "*.shop.test", "nobody.test")
	want(t, "files", code, exitFailed)
	contains(t, "files", out, "*.shop.test: not renewed: *.shop.test has a certificate file; replace the file instead\n", "nobody.test: not renewed: nobody.test is not in the table\n")

	h.renewed = nil
	code, out, _ = invoke(t, "cert", "renew", "--all-expiring", "10d")
	want(t, "expiring", code, exitFailed) // one of them can only be replaced by hand
	contains(t, "expiring", out, "*.shop.test: not renewed", "old.test: ordered")
	want(t, "renewed", strings.Join(h.renewed, " "), "old.test")
	code, out, _ = invoke(t, "cert", "renew", "--all-expiring", "1s", "-o", "json")
	want(t, "JSON", code, exitOK)
	contains(t, "JSON", out, `"name": "old.test"`, `"state": "ordered"`)
}

func TestCertRenewWaits(t *testing.T) {
	h := newHolder()
	h.outcomes["www.shop.test"] = func(c *admin.Certificate) {
		c.Fingerprint, c.LastTry, c.NotAfter = "f9", time.Now().Add(time.Second), time.Now().Add(90*24*time.Hour)
	}
	h.outcomes["blog.test"] = func(c *admin.Certificate) { c.LastTry = time.Now().Add(time.Second) }
	n := admintest.Start(t, sites, h.options())
	t.Chdir(n.Dir)
	code, out, _ := invoke(t, "cert", "renew", "www.shop.test", "--wait", "10s")
	want(t, "served", code, exitOK)
	contains(t, "served", out, "www.shop.test: served, by E7, ")
	code, out, _ = invoke(t, "cert", "renew", "blog.test", "--wait", "10s")
	want(t, "failed", code, exitFailed)
	contains(t, "failed", out, "blog.test: the order failed: the issuer cannot reach http://blog.test/")
	code, out, _ = invoke(t, "cert", "renew", "old.test", "--wait", "10ms")
	want(t, "late", code, exitFailed)
	contains(t, "late", out, "old.test: not there within 10ms; see gatehouse cert list old.test")
	code, out, _ = invoke(t, "cert", "renew", "www.shop.test", "--wait", "10ms", "-o", "json")
	want(t, "the same again", code, exitFailed)
	contains(t, "the same again", out, `"state": "late"`)
}

func TestCertImportAndRemove(t *testing.T) {
	h := newHolder()
	n := admintest.Start(t, sites, h.options())
	t.Chdir(n.Dir)
	write(t, "chain.pem", "chain")
	write(t, "key.pem", "hunter2")
	write(t, "other.pem", "other")
	code, out, errOut := invoke(t, "cert", "import", "--cert", "chain.pem", "--key", "key.pem", "WWW.shop.test")
	want(t, "import"+errOut, code, exitOK)
	want(t, "import", out, "imported for www.shop.test, a.test\n")
	want(t, "warning", errOut, "warning: no intermediate certificate in the file\n")
	want(t, "asked", h.cert+h.key+strings.Join(h.names, " "), "chainhunter2www.shop.test")
	code, _, errOut = invoke(t, "cert", "import", "--cert", "other.pem", "--key", "key.pem")
	want(t, "wrong key", code, exitFailed)
	want(t, "wrong key", errOut, "gatehouse: certificate other.pem with key key.pem: key does not match: it belongs to no certificate of the file\n")
	code, _, errOut = invoke(t, "cert", "import", "--cert", "absent.pem", "--key", "key.pem")
	want(t, "absent", code, exitFailed)
	contains(t, "absent", errOut, "absent.pem cannot be read: no such file")
	code, _, errOut = invoke(t, "cert", "import", "--cert", "chain.pem", "--key", "key.pem", "a..test")
	want(t, "bad name", code, exitFailed)
	contains(t, "bad name", errOut, `bad name "a..test"`)

	code, out, _ = invoke(t, "cert", "remove", "www.shop.test", "*.shop.test")
	want(t, "remove", code, exitOK)
	want(t, "remove", out, "removed what was imported for www.shop.test, *.shop.test\n")
	_, out, _ = invoke(t, "cert", "remove", "www.shop.test", "-o", "json")
	contains(t, "remove", out, `"removed": [`)
	code, _, errOut = invoke(t, "cert", "remove", "blog.test")
	want(t, "nothing there", code, exitFailed)
	contains(t, "nothing there", errOut, "nothing was imported for blog.test")
	code, out, _ = invoke(t, "cert", "remove", "blog.test", "www.shop.test")
	want(t, "one of two", code, exitFailed)
	want(t, "one of two", out, "removed what was imported for www.shop.test\nblog.test: not removed: nothing was imported for blog.test\n")
	if os.Getuid() != 0 { // root reads everything
		if err := os.Chmod("key.pem", 0); err != nil {
			t.Fatal(err)
		}
		_, _, errOut = invoke(t, "cert", "import", "--cert", "chain.pem", "--key", "key.pem")
		contains(t, "no permission", errOut, "key.pem cannot be read: permission denied")
	}
}

func TestCertVerbsRefuseMistakesOfTheLine(t *testing.T) {
	for args, says := range map[string]string{
		"list -o yaml":                    "want table, json or csv",
		"renew a.test -o csv":             "want table or json",
		"list --issuer=":                  "--issuer is empty",
		"list --expiring=":                "--expiring is empty",
		"list --expiring 10":              "--expiring: bad duration",
		"list --expiring 0s":              "want more than nothing",
		"renew":                           "by NAME… or by --all-expiring TIME",
		"renew a.test --all-expiring 10d": "by NAME… or by --all-expiring TIME",
		"renew --all-expiring=":           "--all-expiring is empty",
		"renew --all-expiring soon":       "bad duration",
		"renew a.test --wait 1h":          "want 0s to 30m0s",
		"renew a.test --wait soon":        "want a time with its unit",
		"import":                          "--cert FILE and --key FILE",
		"import --cert a.pem":             "--cert FILE and --key FILE",
		"import --cert= --key a.pem":      "--cert is empty",
		"remove":                          "requires at least 1 arg",
		"rm a.test":                       "want list, renew, import, remove, ech",
		"lst":                             `did you mean "list"?`,
		"list --expirng 1d":               `did you mean "--expiring"?`,
	} {
		code, _, errOut := invoke(t, append([]string{"cert"}, strings.Fields(args)...)...)
		want(t, args, code, exitUsage)
		contains(t, args, errOut, says)
	}
	for _, verb := range []string{"list", "renew", "remove"} {
		code, _, errOut := invoke(t, "cert", verb, "")
		want(t, verb, code, exitUsage)
		contains(t, verb, errOut, "a NAME is empty")
	}
}

func TestNodeWithoutImportsSaysWhatToDoInstead(t *testing.T) {
	n := admintest.Start(t, sites, admin.Options{})
	t.Chdir(n.Dir)
	write(t, "a.pem", "x")
	code, _, errOut := invoke(t, "cert", "import", "--cert", "a.pem", "--key", "a.pem")
	want(t, "import", code, exitFailed)
	contains(t, "import", errOut, "name files in the vhost's tls.certificate")
	code, _, _ = invoke(t, "cert", "list")
	want(t, "list", code, exitFailed)
}

// stubImporter is what importInto wires.
type stubImporter struct{ names []string }

func (s *stubImporter) Import(_ context.Context, _, _ []byte, names ...string) ([]string, []string, error) {
	return names, nil, nil
}

func (s *stubImporter) RemoveImported(_ context.Context, names ...string) error {
	s.names = names
	return nil
}

func TestImporterIsWired(t *testing.T) {
	var c admin.Certificates
	s := &stubImporter{}
	importInto(&c, s)
	imported, _, err := c.Import(t.Context(), nil, nil, "a.test")
	if err != nil || len(imported) != 1 || c.Remove(t.Context(), "b.test") != nil || s.names[0] != "b.test" {
		t.Error(imported, err, s.names)
	}
}

func TestTimesFromNow(t *testing.T) {
	now := time.Now()
	for d, says := range map[time.Duration]string{
		-time.Hour: "now", 0: "now", 40 * time.Second: "in 40s", 9 * time.Minute: "in 9m", 5 * time.Hour: "in 5h", 59*24*time.Hour + time.Hour: "in 59d",
	} {
		want(t, d.String(), fromNow(now.Add(d), now), says)
	}
	want(t, "never", fromNow(time.Time{}, now), "")
}
