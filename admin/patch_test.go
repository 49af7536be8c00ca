package admin

import (
	"encoding/json"
	"testing"

	"gatehouse/routes"
)

// Whatever a client patches with, the present document stays as it is, and the
// result is judged as a document would be.
func FuzzPatch(f *testing.F) {
	for _, seed := range [][2]string{
		{"cache.ttl", `"60s"`},
		{"waf.mode", `null`},
		{"cache", `{"enabled": true}`},
		{"tenant.x", `1`},
		{"aliases", `"a.test, b.test"`},
		{"..", `""`},
		{"backends", `[{"url": "http://10.0.0.1", "weight": 2}]`},
		{"tls.certificate.cert", `"/x"`},
		{"waf.rules.x.y", `[[[]]]`},
	} {
		f.Add(seed[0], seed[1])
	}
	doc := &routes.Vhost{Name: "a.test", Backends: []routes.Backend{{URL: "http://10.0.0.1"}}, WAF: &routes.WAF{Mode: "block"}}
	before, err := json.Marshal(doc)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, path, value string) {
		var v any
		if json.Unmarshal([]byte(value), &v) != nil {
			return
		}
		patch := Patch{Set: map[string]any{path: v}}
		raw, err := patch.apply(doc)
		if after, _ := json.Marshal(doc); string(after) != string(before) {
			t.Fatalf("the present document was changed: %s", after)
		}
		if err != nil {
			return
		}
		parsed := routes.ParseJSON(routes.Key{Kind: routes.KindVhost, Name: "a.test"}, "", raw)
		if (parsed.Vhost == nil) == (len(parsed.Problems) == 0) {
			t.Errorf("neither a document nor a problem: %s", raw)
		}
	})
}
