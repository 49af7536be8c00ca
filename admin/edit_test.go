package admin_test

import (
	"encoding/json"
	"strings"
	"testing"

	"gatehouse/admin"
	"gatehouse/admin/admintest"
	"gatehouse/routes"
)

// A change begins with what stands in the store, not with what this node has seen of it: what
// another node or person has just written is not lost.
func TestChangesKeepWhatOthersHaveJustWritten(t *testing.T) {
	n := admintest.Start(t, twoTenants, admin.Options{})
	n.Store.Deafen() // nothing reaches the table any more
	for key, text := range map[routes.Key]string{
		{Kind: routes.KindTenant, Name: "shop"}:         `{"waf": {"mode": "block"}}`,
		{Kind: routes.KindVhost, Name: "www.shop.test"}: `{"tenant": "shop", "backends": ["http://127.0.0.1:9999"]}`,
	} {
		doc := routes.ParseJSON(key, "", []byte(text))
		if err := n.Store.Put(t.Context(), doc); err != nil || len(doc.Problems) > 0 {
			t.Fatal(err, doc.Problems)
		}
	}
	var text string
	want(t, "tenant", onSocket(t, n).call("PATCH", "/tenants/shop", `{"set": {"waf.paranoia": 2}}`, &text), 200)
	want(t, "vhost", onSocket(t, n).call("PATCH", "/vhosts/www.shop.test", `{"set": {"waf.paranoia": 3}}`, &text), 200)
	for key, parts := range map[routes.Key][]string{
		{Kind: routes.KindTenant, Name: "shop"}:         {`"mode":"block"`, `"paranoia":2`},
		{Kind: routes.KindVhost, Name: "www.shop.test"}: {`127.0.0.1:9999`, `"paranoia":3`},
	} {
		doc, _ := n.Store.Document(key)
		raw, err := json.Marshal(map[string]any{"tenant": doc.Tenant, "vhost": doc.Vhost})
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range parts {
			if !strings.Contains(string(raw), part) {
				t.Errorf("%s: %s is lost: %s", key, part, raw)
			}
		}
	}
}
