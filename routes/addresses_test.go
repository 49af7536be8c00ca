package routes

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestParseNetwork(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.1":                "192.0.2.1/32",
		"192.0.2.0/24":             "192.0.2.0/24",
		"0.0.0.0/0":                "0.0.0.0/0",
		"2001:db8::/32":            "2001:db8::/32",
		"2001:db8::1":              "2001:db8::1/128",
		"::ffff:192.0.2.1":         "192.0.2.1/32",
		"::ffff:192.0.2.0/120":     "192.0.2.0/24",
		"::ffff:0.0.0.0/96":        "0.0.0.0/0",
		"192.0.2.1/24":             "",
		"::ffff:0.0.0.0/95":        "",
		"fe80::1%eth0":             "",
		"192.0.2.0/33":             "",
		"192.0.2":                  "",
		"192.0.2.0-192.0.2.9":      "",
		"":                         "",
		strings.Repeat("1", 1<<16): "",
	} {
		got, err := ParseNetwork(text)
		if want == "" {
			if err == nil || len(err.Error()) > 200 {
				t.Errorf("%.40q: %v, %.300v", text, got, err)
			}
			continue
		}
		if err != nil || got != netip.MustParsePrefix(want) {
			t.Errorf("%q: %v, %v; want %s", text, got, err, want)
		}
	}
}

func TestAddressListsBelongToTheFileThatNamesThem(t *testing.T) {
	const entries = `addresses: {allow: ["file:office.txt", "file:/etc/office.txt", 192.0.2.1], deny: ["file:sub/drop.txt", "https://lists.test/drop.txt", "file:office.txt"]}`
	dir := t.TempDir()
	docs, problems := ParseFile(filepath.Join(dir, "a.yaml"), []byte("tenants:\n  shop:\n    "+entries+"\nvhosts:\n  a.test:\n    backends: [http://127.0.0.1:1]\n    "+entries+"\n"))
	if problems.Err() != nil || len(docs) != 2 {
		t.Fatal(docs, problems)
	}
	want := []string{"file:" + filepath.Join(dir, "office.txt"), "file:/etc/office.txt", "file:" + filepath.Join(dir, "sub/drop.txt"), "https://lists.test/drop.txt"}
	for _, a := range []*Addresses{docs[0].Tenant.Addresses, docs[1].Vhost.Addresses()} {
		if got := a.Lists(); !slices.Equal(got, want) {
			t.Errorf("lists are %q, want %q", got, want)
		}
	}
	if a := docs[1].Vhost.Addresses(); a.Allow[2] != "192.0.2.1" || a.Empty() {
		t.Error(a)
	}
}

func TestAddressesInRedisNeedAbsolutePaths(t *testing.T) {
	for _, key := range []Key{{KindTenant, "shop"}, {KindVhost, "a.test"}} {
		doc := ParseJSON(key, "key", []byte(`{"addresses": {"deny": ["file:drop.txt"]}}`))
		if len(doc.Problems) != 1 || doc.Problems[0].Field != "addresses.deny[0]" || !strings.Contains(doc.Problems[0].Reason, "absolute path") {
			t.Errorf("%s: %v", key, doc.Problems)
		}
		doc = ParseJSON(key, "key", []byte(`{"addresses": {"deny": ["file:/etc/drop.txt", "all"]}}`))
		if len(doc.Problems) != 0 {
			t.Errorf("%s: %v", key, doc.Problems)
		}
	}
}

func TestBoundsOfAddresses(t *testing.T) {
	var many Addresses
	for i := range maxNetworks + 1 {
		many.Deny = append(many.Deny, fmt.Sprintf("10.0.%d.%d", i>>8, i&255))
	}
	if p := many.Check("x"); len(p) != 1 || !strings.Contains(p[0].Reason, "put them into a list") {
		t.Error(p)
	}
	var lists Addresses
	for i := range maxLists + 1 {
		lists.Allow = append(lists.Allow, fmt.Sprintf("https://lists.test/%d", i))
	}
	if p := lists.Check("x"); len(p) != 1 || !strings.Contains(p[0].Reason, "at most 16") {
		t.Error(p)
	}
	if p := (*Addresses)(nil).Check("x"); p != nil || !(*Addresses)(nil).Empty() {
		t.Error(p)
	}
}

// The parser takes a bare IPv6 address inside braces for a mapping, or for no YAML at all.
func TestBareIPv6InsideBraces(t *testing.T) {
	for _, entry := range []string{"2001:db8::/32", "2001:db8::", "::1", "::/0"} {
		docs, problems := ParseFile("a.yaml", []byte("tenants:\n  shop:\n    addresses: {deny: ["+entry+"]}\n"))
		for _, doc := range docs {
			problems = append(problems, doc.Problems...)
		}
		if problems.Err() == nil || !strings.Contains(problems[0].Reason, "needs quotes") || problems[0].Line != 3 {
			t.Errorf("%s: %v", entry, problems)
		}
		if strings.HasSuffix(entry, ":") {
			continue // a mapping by the rules of YAML
		}
		docs, problems = ParseFile("a.yaml", []byte("tenants:\n  shop:\n    addresses:\n      allow: ["+entry+"]\n      deny:\n        - "+entry+"\n"))
		if problems.Err() != nil || docs[0].Tenant == nil || docs[0].Tenant.Addresses.Allow[0] != entry || docs[0].Tenant.Addresses.Deny[0] != entry {
			t.Errorf("%s: %v %v", entry, docs, problems)
		}
	}
}
