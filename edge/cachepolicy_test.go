package edge

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"gatehouse/cache"
	"gatehouse/routes"
)

// policyOf compiles the settings of a vhost with that cache, as JSON.
func policyOf(t *testing.T, text string) (*cache.Policy, routes.Problems) {
	t.Helper()
	doc := routes.ParseJSON(routes.Key{Kind: routes.KindVhost, Name: "a.test"}, "k", []byte(`{"backends": ["http://127.0.0.1:1"], "cache": `+text+`}`))
	if len(doc.Problems) > 0 {
		return nil, doc.Problems
	}
	settings := (&routes.Route{Vhost: doc.Vhost}).Settings(nil)
	p := cachePolicy(&settings)
	return &p, nil
}

// fieldsOf is a cache.Header.
type fieldsOf http.Header

func (h fieldsOf) PeekAll(name string) (out [][]byte) {
	for _, value := range h[name] {
		out = append(out, []byte(value))
	}
	return out
}

func TestCachePolicyIsWhatTheDocumentSays(t *testing.T) {
	plain, problems := policyOf(t, `{}`)
	if problems != nil || plain.StaleIfError != time.Hour || plain.StaleWhileRevalidate != 0 || plain.Query != (cache.Query{}) || plain.Bypass.Paths != nil || plain.Rules != nil {
		t.Fatalf("the defaults: %+v %v", plain, problems)
	}
	p, problems := policyOf(t, `{"ttl": "1m", "max_body": "1KiB", "heuristic": true, "set_cookie": "store", "stale_if_error": "0s", "stale_while_revalidate": "30s",
		"ignore_client_no_cache": true, "query": {"ignore": ["utm_*"], "sort": true}, "key": {"cookies": ["lang"], "headers": ["x-country"], "device": true},
		"bypass": {"paths": ["/admin/*"], "query": ["nocache"], "cookies": ["login_*"], "headers": ["x-preview"]},
		"rules": [{"paths": ["/static/*"], "status": [200], "ttl": "1h", "override": true}, {"ttl": "0s"}]}`)
	if problems != nil {
		t.Fatal(problems)
	}
	if p.TTL != time.Minute || p.MaxBody != 1<<10 || !p.Heuristic || !p.StoreCookies || p.StaleIfError != 0 || p.StaleWhileRevalidate != 30*time.Second || !p.IgnoreClientNoCache {
		t.Errorf("%+v", p)
	}
	if out, changed := p.Target(nil, "/?b&a&utm_x"); string(out) != "/?a&b" || !changed {
		t.Errorf("target %s", out)
	}
	for _, c := range []struct {
		target string
		header fieldsOf
		want   bool
	}{
		{"/", nil, false}, {"/admin/x", nil, true}, {"/?nocache", nil, true}, {"/", fieldsOf{"Cookie": {"login_1=x"}}, true}, {"/", fieldsOf{"X-Preview": {"1"}}, true},
	} {
		if got := p.Bypasses(c.target, c.header); got != c.want {
			t.Errorf("%s %v: %v", c.target, c.header, got)
		}
	}
	keys := map[string]bool{}
	for _, h := range []fieldsOf{{}, {"Cookie": {"lang=de"}}, {"X-Country": {"DE"}}, {"User-Agent": {"iPhone"}}} {
		keys[string(p.AppendKey(nil, h))] = true
	}
	if len(keys) != 4 {
		t.Errorf("%d keys of 4 requests", len(keys))
	}
	if ttl, override, ok := p.TTLFor("/static/a", 200, ""); ttl != time.Hour || !override || !ok {
		t.Errorf("the first rule: %v %v %v", ttl, override, ok)
	}
	if ttl, override, ok := p.TTLFor("/a", 500, ""); ttl != 0 || override || !ok {
		t.Errorf("the second rule: %v %v %v", ttl, override, ok)
	}
	if none, _ := policyOf(t, `{"query": {"only": []}}`); none.Query.Only == nil {
		t.Error("that no parameter counts is lost")
	} else if out, changed := none.Target(nil, "/?a=1"); string(out) != "/" || !changed {
		t.Errorf("no parameter counts: %s", out)
	}
}

// A pattern is refused if and only if it holds what makes a path one that is compared with none.
func TestPatternsThatAreNeverComparedAreRefused(t *testing.T) {
	odd := &cache.Policy{Bypass: cache.Bypass{Paths: cache.NewPaths("/none")}}
	for c := range 256 {
		for _, fragment := range []string{string([]byte{byte(c)}), "%" + string("0123456789ABCDEF"[c>>4]) + string("0123456789abcdef"[c&15])} {
			if c >= 0x80 && len(fragment) == 1 || c < ' ' || c == 0x7f || fragment == "*" || fragment == "?" || fragment == "%" {
				continue // refused for other reasons, or wildcards
			}
			comparePattern(t, odd, "/a"+fragment+"b")
		}
	}
	for _, fragment := range []string{"..", "a..b", "/./x", "//", "./", "/.", "%", "%2", "%2x", "%25", "%41", ".a", "a.", "%u002f"} {
		comparePattern(t, odd, "/a"+fragment)
	}
}

func comparePattern(t *testing.T, odd *cache.Policy, path string) {
	t.Helper()
	for _, escaped := range " \"<>`{}" {
		if path == "/a"+string(escaped)+"b" {
			return // refused, with the escape as a guess
		}
	}
	text, err := json.Marshal(map[string]any{"bypass": map[string]any{"paths": []string{path}}})
	if err != nil {
		t.Fatal(err)
	}
	_, problems := policyOf(t, string(text))
	if refused := problems != nil; refused != odd.Bypasses(path, fieldsOf(nil)) {
		t.Errorf("%s: refused is %v (%v), and the cache compares it: %v", path, refused, problems, refused)
	}
}
