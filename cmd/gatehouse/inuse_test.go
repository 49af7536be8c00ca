package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/routes"
)

// Strangers choose which hosts are asked for, and push no document out that serves; what they make up is forgotten, or bounded.
func TestDocumentsInUseAreApartFromHostsThatStrangersChoose(t *testing.T) {
	docs, problems := routes.ParseFile("test.yaml", []byte(`
vhosts:
  a.test: {tenant: other, backends: [http://127.0.0.1:1]}
  "*.shop.test": {tenant: shop, backends: [http://127.0.0.1:1]}
`))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	var changes []routes.Change
	for _, doc := range docs {
		changes = append(changes, doc.Change())
	}
	table, _ := new(routes.Table).With(changes)
	synctest.Test(t, func(t *testing.T) {
		var asked []string
		look := lookInUse(func() []string { defer func() { asked = nil }(); return asked }, func() *routes.Table { return table })
		want := func(wantDocuments, wantHosts []string) {
			t.Helper()
			documents, hosts := look()
			if got := names(documents); !slices.Equal(got, wantDocuments) {
				t.Errorf("documents %q, want %q", got, wantDocuments)
			}
			if got := names(hosts); !slices.Equal(got, wantHosts) {
				t.Errorf("hosts %q, want %q", got, wantHosts)
			}
			time.Sleep(time.Second)
		}
		documents := []string{"tenant other", "tenant shop", "vhost *.shop.test", "vhost a.test"}
		asked = []string{"a.test", "*.shop.test", "b.shop.test", "unknown.test"}
		want(documents, []string{"vhost *", "vhost *.test", "vhost b.shop.test", "vhost unknown.test"})
		want(documents, []string{"vhost b.shop.test"})

		for i := range 2 * inUseGuests {
			asked = append(asked, fmt.Sprintf("made-up%d.shop.test", i))
		}
		if got, hosts := look(); !slices.Equal(names(got), documents) || len(hosts) != 2*inUseGuests+1 {
			t.Errorf("in a flood: documents %q and %d hosts", names(got), len(hosts))
		}
		if got, hosts := look(); !slices.Equal(names(got), documents) || len(hosts) != inUseGuests {
			t.Errorf("after a flood: documents %q and %d hosts, want %d", names(got), len(hosts), inUseGuests)
		}
		time.Sleep(inUseFor + 1)
		if got, hosts := look(); len(got)+len(hosts) != 0 {
			t.Errorf("after a minute: %d documents and %d hosts", len(got), len(hosts))
		}
	})
}

// A new wildcard is looked for from the first request on that it would answer, as a new host is; strangers make up a bounded number of them.
func TestWildcardsAboveHostsThatAreAskedForAreLookedFor(t *testing.T) {
	docs, problems := routes.ParseFile("test.yaml", []byte(`
vhosts:
  "*.shop.test": {backends: [http://127.0.0.1:1]}
  main.test: {aliases: ["*.blog.test", alias.example.org], backends: [http://127.0.0.1:1]}
`))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	table, _ := new(routes.Table).With([]routes.Change{docs[0].Change(), docs[1].Change()})
	look := func(asked ...string) []routes.Key {
		_, hosts := lookInUse(func() []string { return asked }, func() *routes.Table { return table })()
		return hosts
	}
	for host, want := range map[string][]string{
		"a.b.new.test":      {"vhost *", "vhost *.b.new.test", "vhost *.new.test", "vhost *.test", "vhost a.b.new.test"},
		"localhost":         {"vhost *", "vhost localhost"},
		"a.shop.test":       {"vhost a.shop.test"},
		"a.b.shop.test":     {"vhost *.b.shop.test", "vhost a.b.shop.test"},
		"a.b.blog.test":     {"vhost *.b.blog.test", "vhost a.b.blog.test"},
		"alias.example.org": {"vhost alias.example.org"},
		"main.test":         nil,
	} {
		if got := names(look(host)); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", host, got, want)
		}
	}
	var flood []string
	for i := range 100 {
		flood = append(flood, strings.Repeat(fmt.Sprintf("x%d.", i), 40)+"test")
	}
	hosts := look(flood...)
	if len(hosts) != len(flood)+inUseWildcards {
		t.Errorf("in a flood %d hosts, want %d and %d wildcards", len(hosts), len(flood), inUseWildcards)
	}
	for i, key := range hosts {
		if strings.HasPrefix(key.Name, "*") != (i >= len(flood)) {
			t.Fatalf("%s is number %d: hosts come first", key.Name, i)
		}
	}
}

func names(keys []routes.Key) (out []string) {
	for _, key := range keys {
		out = append(out, key.String())
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// A host's path vhosts are in use with it, once, whatever hosts a wildcard answers for.
func TestPathVhostsAreInUseWithTheirHost(t *testing.T) {
	docs, problems := routes.ParseFile("test.yaml", []byte(`
vhosts:
  "*.shop.test": {backends: [http://127.0.0.1:1]}
  "*.shop.test/blog": {backends: [http://127.0.0.1:1]}
`))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	table, _ := new(routes.Table).With([]routes.Change{docs[0].Change(), docs[1].Change()})
	documents, _ := lookInUse(func() []string { return []string{"a.shop.test", "b.shop.test", "c.shop.test"} }, func() *routes.Table { return table })()
	paths := 0
	for _, key := range documents {
		if key.Name == "*.shop.test/blog" {
			paths++
		}
	}
	if paths != 1 {
		t.Errorf("%v: the path vhost is there %d times", documents, paths)
	}
}
