package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"gatehouse/admin"
	"gatehouse/admin/admintest"
)

func TestECHSettingsThatCannotWorkAreRefused(t *testing.T) {
	sealed := "seal_keys: [\"" + strings.Repeat("0f", 32) + "\"]\n"
	for text, says := range map[string]string{
		"tls: {ech: {public_name: front}}":                                      "gatehouse.yaml:1: tls.ech.public_name: bad name \"front\": want one in a domain",
		"tls: {ech: {public_name: 192.0.2.1}}":                                  "bad name",
		"tls: {ech: {public_name: \"*.example.com\"}}":                          "bad name",
		"tls: {ech: {rotate: 1h}}":                                              "gatehouse.yaml:1: tls.ech.rotate: bad time 1h: want 1d to 365d",
		"tls: {ech: {rotate: 400d}}":                                            "want 1d to 365d",
		"tls: {ech: {name: a.test}}":                                            "unknown key",
		"routes: redis://127.0.0.1\ntls: {ech: {public_name: front.test}}":      "gatehouse.yaml:2: tls.ech.public_name: nodes that have a Redis in common need the same ECH keys: set seal_keys",
		"redis: redis://127.0.0.1\ntls: {ech: {public_name: front.test}}":       "set seal_keys",
		sealed + "redis: redis://127.0.0.1\ntls: {ech: {public_name: a.test}}":  "",
		sealed + "routes: redis://127.0.0.1\ntls: {ech: {public_name: a.test}}": "",
		"tls: {ech: {public_name: Front.Example.com., rotate: 90d}}":            "",
	} {
		_, problems := load(t, text+"\n", nil, nil)
		if says == "" {
			want(t, text, len(problems), 0)
			continue
		}
		if len(problems) != 1 || !strings.Contains(flat(problems.Err().Error()), says) {
			t.Errorf("%s: %v, want %q", text, problems, says)
		}
	}
}

// flat takes columns and folders out of a problem's place.
func flat(text string) string {
	if i := strings.Index(text, configFile); i >= 0 {
		text = text[i:]
	}
	parts := strings.SplitN(text, ":", 4)
	if len(parts) == 4 {
		return parts[0] + ":" + parts[1] + ":" + parts[3]
	}
	return text
}

func TestCheckWarnsOfAPublicNameThatCannotTellOfKeys(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "conf.d/shop.yaml", "vhosts:\n  www.shop.test: {backends: [\"http://127.0.0.1:9000\"]}\n  \"*.house.test\": {backends: [\"http://127.0.0.1:9000\"]}\n")
	for setting, says := range map[string]string{
		"tls: {ech: {public_name: front.test}}":                                        "warning: gatehouse.yaml:1:26: tls.ech.public_name: no vhost answers for front.test: clients whose ECH key is old fail",
		"tls: {ech: {public_name: front.house.test}}":                                  "front.house.test has the internal CA's certificate",
		"tls: {ech: {public_name: front.house.test}}\ncertificates: {issuer: acme}":    "",
		"tls: {ech: {public_name: www.other.test}}\ncertificates: {issuer: acme}":      "no vhost answers for www.other.test",
		"certificates: {issuer: internal}":                                             "",
		"tls: {ech: {public_name: WWW.shop.test}}\ncertificates: {issuer: \"acme\"}\n": "",
	} {
		write(t, configFile, setting+"\n")
		code, out, _ := invoke(t, "check")
		want(t, setting+out, code, exitOK)
		if warned := strings.Contains(out, "tls.ech.public_name:"); warned != (says != "") || !strings.Contains(out, says) {
			t.Errorf("%s: %s, want %q", setting, out, says)
		}
	}
	code, out, _ := invoke(t, "check", configFile) // no vhosts were read
	want(t, "settings alone", code, exitOK)
	want(t, "settings alone", strings.Contains(out, "warning"), false)
}

func TestCertECHPrintsTheRecords(t *testing.T) {
	now := time.Now()
	key := admin.ECHKey{
		PublicName: "front.test", ConfigList: []byte{0, 1, 0xfe}, Port: 443, Protocols: []string{"h2", "http/1.1"},
		Changes: now.Add(20*24*time.Hour + time.Hour), Until: now.Add(80 * 24 * time.Hour),
	}
	o := newHolder().options()
	o.Certificates.ECH = func() admin.ECHKey { return key }
	n := admintest.Start(t, sites, o)
	t.Chdir(n.Dir)
	const value = ` 3600 IN HTTPS 1 . alpn="h2,http/1.1" ech="AAH+"` + "\n"
	comment := "; ECH of front.test: the key changes at " + key.Changes.UTC().Format(time.RFC3339) + " (in 20d), and decrypts until " +
		key.Until.UTC().Format(time.RFC3339) + "\n"

	code, out, errOut := invoke(t, "cert", "ech")
	want(t, "all", code, exitOK)
	want(t, "all", errOut, "")
	want(t, "all", out, comment+"*.shop.test."+value+"blog.test."+value+"old.test."+value+"www.shop.test."+value)
	_, out, _ = invoke(t, "cert", "ech", "deep.Shop.test", "blog.test", "blog.test.")
	want(t, "two", out, comment+"deep.shop.test."+value+"blog.test."+value)
	code, _, errOut = invoke(t, "cert", "ech", "nobody.test")
	want(t, "nobody's", code, exitFailed)
	contains(t, "nobody's", errOut, "no vhost answers for nobody.test")

	key.Port, key.Problem = 8443, "no vhost answers for front.test"
	code, out, errOut = invoke(t, "cert", "ech")
	want(t, "another port", code, exitOK)
	want(t, "another port", out, comment+"_8443._https.blog.test."+value+"_8443._https.old.test."+value+"_8443._https.www.shop.test."+value)
	want(t, "warning", errOut, "warning: no vhost answers for front.test\n")
	_, _, errOut = invoke(t, "cert", "ech", "*.shop.test")
	contains(t, "a wildcard of another port", errOut, "give the names below *.shop.test")

	_, out, _ = invoke(t, "cert", "ech", "blog.test", "-o", "json")
	var r admin.ECHRecords
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	want(t, "JSON", string(r.ConfigList)+r.PublicName+r.Problem, "\x00\x01\xfefront.testno vhost answers for front.test")
	want(t, "JSON", r.Records[0], admin.ECHRecord{Owner: "_8443._https.blog.test.", TTL: 3600, Value: `1 . alpn="h2,http/1.1" ech="AAH+"`})

	key.ConfigList, key.Problem = nil, "no key yet"
	code, out, errOut = invoke(t, "cert", "ech")
	want(t, "no key", code, exitFailed)
	want(t, "no key", out+errOut, "warning: no key yet\n")
	key = admin.ECHKey{}
	code, _, errOut = invoke(t, "cert", "ech")
	want(t, "off", code, exitFailed)
	contains(t, "off", errOut, "ECH is off: set tls.ech.public_name")
}
