package routes

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestDocumentsInRedisAreStrictJSON(t *testing.T) {
	vhost, tenant := Key{KindVhost, "a.test"}, Key{KindTenant, "shop"}
	for _, test := range []struct {
		key     Key
		text    string
		problem string // empty: good
	}{
		{vhost, `{}`, ""},
		{vhost, `{"cache": {"enabled": true}}`, ""},
		{vhost, "{\n\t\"balance\":\t\"random\"\n}", ""},
		{vhost, `{"cache": {"max_body": 1048576}}`, ""},
		{vhost, `{"tls": {"redirect_http": true}}`, ""},
		{vhost, `{"cache": {"stale_if_error": "0s", "stale_while_revalidate": "0s", "query": {"only": []}, "rules": [{"ttl": "0s"}]}}`, ""},
		{vhost, `{"cache": {"rules": [{"ttl": "1m", "status": [404]}, {"ttl": "1m", "Status": [404]}]}}`, `unknown key "Status" in cache.rules[1]`},
		{vhost, `{"cache": {"rules": [{"ttl": "1m", "status": ["5xx"]}]}}`, `cache.rules[0].status[0]: want a whole number, not "5xx"`},
		{vhost, `{"cache": {"rules": [{}]}}`, `cache.rules[0]: a rule needs a ttl`},
		{vhost, `{"cache": {"query": {"only": ["a"], "ignore": ["b"]}}}`, `cache.query: only and ignore exclude each other`},
		{tenant, `{"waf": {"responses": false}}`, ""},
		{vhost, ``, "k: empty: want a JSON object"},
		{vhost, " \n", "k: empty: want a JSON object"},
		{vhost, `balance: random`, "k:1:1: not JSON: invalid character 'b'"},
		{vhost, "{\n  \"balance\": random\n}", "k:2:14: not JSON"},
		{vhost, `{"balance": "random"`, "k:1:20: not JSON: unexpected end"},
		{vhost, `{} {}`, "k:1:4: not JSON: invalid character '{' after top-level value"},
		{vhost, `[]`, "want a mapping"},
		{vhost, `"http://a"`, "want a mapping"},
		{vhost, `{"Balance": "random"}`, `k:1:2: unknown key "Balance" (did you mean "balance"?)`},
		{vhost, `{"balance": "random", "balance": "p2c"}`, "given twice"},
		{vhost, `{"cache": {"ttl": "1s", "ttl": "2s"}}`, "cache.ttl: given twice"},
		{vhost, `{"c\u0061che": {}, "cache": {}}`, "given twice"},
		{vhost, `{"tls": {"certificate": {"cert": "a.pem", "key": "/k"}}}`, "tls.certificate.cert: want an absolute path"},
		{tenant, `{"waf": {"mode": "on"}}`, `waf.mode: bad value "on"`},
		{vhost, `{"cache": {"ttl": "0s"}, "tls": {"hsts": "0s"}}`, ""},
		{tenant, `{"waf": {"paranoia": null, "inspect_body": "10KiB"}}`, ""},
		{vhost, `{"timeouts": {"connect": "0.5s"}}`, ""},
		{tenant, `{"backends": []}`, `unknown key "backends"`},
		{tenant, `{"waf": {"exclusions": [{"rules": [942100, "941100-941199"], "target": "ARGS:q", "until": "2027-01-01"}]}}`, ""},
		{tenant, `{"waf": {"exclusions": [{"rules": ["942100"]}], "allowed_types": ["text/plain"]}}`, ""},
		{tenant, `{"waf": {"exclusions": [{"rules": [9.5]}]}}`, "waf.exclusions[0].rules[0]: bad rule"},
		{tenant, `{"waf": {"exclusions": [{"rules": [942100], "Target": "ARGS:q"}]}}`, `unknown key "Target" in waf.exclusions[0]`},
		{tenant, `{"waf": {"exclusions": [{"target": "ARGS:q"}]}}`, "waf.exclusions[0].target: a target alone"},
	} {
		doc := ParseJSON(test.key, "k", []byte(test.text))
		good := doc.Tenant != nil || doc.Vhost != nil
		if good != (test.problem == "") || !strings.Contains(doc.Problems.Error(), test.problem) || good == (len(doc.Problems) > 0) {
			t.Errorf("%s: got %q, want %q", test.text, doc.Problems.Error(), test.problem)
		}
		checkPlaces(t, test.text, doc.Problems)
	}
}

// Zero means "not set" in memory: written out, it silently became the default.
func TestExplicitZeroIsRefusedAndNotTakenForTheDefault(t *testing.T) {
	zeros := map[string][]string{
		"waf.paranoia": {"0", "-0", `"0"`}, "waf.inbound_threshold": {"0"}, "waf.outbound_threshold": {"0"},
		"waf.inspect_body":    {"0", `"0"`, `"0KiB"`, `" 0B"`, `"\u0030"`},
		"timeouts.connect":    {`"0s"`, `"0"`, `"-0s"`, `"0d"`, `"0h0m"`, `"0.0000000001s"`},
		"timeouts.first_byte": {`"0s"`}, "cache.max_body": {`"0"`}, "cache_share": {`"0"`, "0"}, "concurrency": {"0", `"0"`},
		"rate.per": {`"0s"`}, "rate.burst": {"0"},
		"health.interval": {`"0s"`}, "health.timeout": {`"0s"`}, "health.rise": {"0"}, "health.fall": {"0"},
		"redirect.status": {"0"}, "respond.status": {"0"},
	}
	refused := func(kind Kind, doc, path string) {
		t.Helper()
		inYAML, _ := ParseFile("f", []byte(fmt.Sprintf("%ss: {a.test: %s}", kind, doc)))
		inJSON := ParseJSON(Key{kind, "a.test"}, "k", []byte(doc))
		for _, got := range []Document{inYAML[0], inJSON} {
			text := got.Problems.Error()
			if !strings.Contains(text, path+": must be ") || !strings.Contains(text, "leave it out for the default") {
				t.Errorf("%s: got %q", doc, text)
			}
		}
	}
	tagged := 0
	for kind, doc := range map[Kind]reflect.Type{KindTenant: reflect.TypeFor[Tenant](), KindVhost: reflect.TypeFor[Vhost]()} {
		for _, field := range leaves(doc, nil) {
			path := strings.Join(field.path, ".")
			for _, zero := range zeros[path] {
				tagged++
				refused(kind, nest(field.path, zero), path)
			}
			number := field.kind.Kind() == reflect.Int || field.kind.Kind() == reflect.Int64
			means := slices.Contains([]string{"rate.requests", "cache.ttl", "cache.stale_if_error", "cache.stale_while_revalidate", "tls.hsts", "tls.hsts.max_age"}, path)
			if _, listed := zeros[path]; number != listed && !means {
				t.Errorf("what a zero in %s means was not thought of", path)
			}
		}
	}
	if tagged < 2*9+8 {
		t.Errorf("only %d zeros were tried", tagged)
	}
	refused(KindVhost, `{"backends": [{"url": "http://a", "weight": 0}]}`, "backends[0].weight")
	refused(KindVhost, `{"backends": [{"url": "http://a", "concurrency": 0}]}`, "backends[0].concurrency")
}

func TestGoodFormsSurviveJSON(t *testing.T) {
	source, _ := ParseFile("/f", []byte(`{"vhosts": {"a.test": {"tenant": "shop", "aliases": ["b.test"], "balance": "random", "backends": ["http://a", "unix:/a"],
		"timeouts": {"connect": "1h30m", "first_byte": "1500ms"}, "cache": {"enabled": false, "ttl": "2d", "max_body": "1500", "stale_if_error": "0s", "stale_while_revalidate": "90s", "ignore_client_no_cache": false,
			"query": {"only": [], "sort": true}, "key": {"cookies": ["lang"], "headers": ["X-Country"], "device": true},
			"bypass": {"paths": ["/%3Ca%3E&*"], "cookies": ["a_*"], "query": ["b"], "headers": ["X-Preview"]},
			"rules": [{"paths": ["/static/*", "*.css"], "status": [200, 404], "ttl": "1h", "override": true}, {"ttl": "0s"}]},
		"tls": {"redirect_http": true, "hsts": {"max_age": "365d", "subdomains": true}, "policy": "old", "min_version": "1.2", "certificate": {"cert": "/c", "key": "/k"},
			"client_auth": {"mode": "optional", "ca": "/ca", "header": false}}, "waf": {"responses": false,
			"exclusions": [{"rules": [942100, "1-2"], "until": "2027-01-01", "paths": ["/<a>&*"]}]}}}}`))
	if len(source) != 1 || source[0].Vhost == nil {
		t.Fatal(report(source, nil))
	}
	raw, err := json.Marshal(source[0].Vhost)
	if err != nil {
		t.Fatal(err)
	}
	if back := ParseJSON(source[0].Key, "k", raw); !reflect.DeepEqual(back.Vhost, source[0].Vhost) {
		t.Errorf("got %+v (%v)\nof %s", back.Vhost, back.Problems, raw)
	}
}

func FuzzParseJSON(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"backends":["http://a",{"url":"unix:/a","weight":1}]}`, `{"a":{"b":[1,"x\"}"]}}`, `{"tenant":null}`, `null`, `[[[`,
		`{"tls":{"redirect_http":true,"hsts":"180d"}}`, `{"tls":{"hsts":{"max_age":"365d","preload":true},"client_auth":{"mode":"required","ca":"/ca"}}}`, `{"waf":{"allowed_methods":["GET"],"rules":1}}`,
		`{"cache":{"stale_if_error":"0s","query":{"only":[],"sort":true},"key":{"device":true},"bypass":{"paths":["*.css"]},"rules":[{"paths":["/a%20*"],"status":[404],"ttl":"0s","override":true}]}}`,
		`{"waf":{"exclusions":[{"rules":[1,"2-3"],"target":"ARGS:/a/","until":"2027-01-01"}]}}`, `{"K":1}`, "{\"\u017f\":1}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, key := range []Key{{KindVhost, "a.test"}, {KindTenant, "shop"}} {
			doc := ParseJSON(key, "k", data)
			var form any = doc.Vhost
			if doc.Tenant != nil {
				form = doc.Tenant
			}
			if good := doc.Vhost != nil || doc.Tenant != nil; good == (len(doc.Problems) > 0) {
				t.Fatalf("neither good nor bad, or both: %+v", doc)
			} else if !good {
				continue
			}
			raw, err := json.Marshal(form)
			if err != nil {
				t.Fatal(err)
			}
			again := ParseJSON(key, "k", raw)
			if err := again.Problems.Err(); err != nil {
				t.Errorf("%s was taken, its own form %s is not: %v", data, raw, err)
			}
		}
	})
}
