package main

import (
	"reflect"
	"testing"

	"gatehouse/acme"
	"gatehouse/routes"
)

// The names of a vhost share a certificate where it says so, but for those that another vhost has.
func TestNamesOfAVhostShareACertificateWhereItSaysSo(t *testing.T) {
	vhost := func(name string, tls *routes.TLS, aliases ...string) routes.Change {
		return routes.Change{Key: routes.Key{Kind: routes.KindVhost, Name: name}, Vhost: &routes.Vhost{
			Name: name, Aliases: aliases, Backends: []routes.Backend{{URL: "http://127.0.0.1:9"}}, TLS: tls,
		}}
	}
	one := &routes.TLS{OneCertificate: true}
	table, replaced := new(routes.Table).With([]routes.Change{vhost("b.test", nil), vhost("a.test", one, "b.test", "www.a.test"), vhost("c.test", nil, "www.c.test")})
	got := map[string]acme.Change{}
	for _, c := range certificateChanges(table, replaced) {
		got[c.Name] = c
	}
	if want := map[string]acme.Change{
		"a.test": {Name: "a.test", Set: "a.test"}, "www.a.test": {Name: "www.a.test", Set: "a.test"}, "b.test": {Name: "b.test"},
		"c.test": {Name: "c.test"}, "www.c.test": {Name: "www.c.test"},
	}; !reflect.DeepEqual(got, want) {
		t.Errorf("changes are %v, want %v", got, want)
	}
	// The other one goes: its host is the first one's now, and joins.
	table, replaced = table.With([]routes.Change{{Key: routes.Key{Kind: routes.KindVhost, Name: "b.test"}}})
	if got := certificateChanges(table, replaced); !reflect.DeepEqual(got, []acme.Change{{Name: "b.test", Set: "a.test"}}) {
		t.Errorf("changes are %v", got)
	}
	// It does not want it any more.
	table, replaced = table.With([]routes.Change{vhost("a.test", nil, "b.test")})
	want := []acme.Change{{Name: "a.test"}, {Name: "b.test"}, {Name: "www.a.test", Removed: true}}
	if got := certificateChanges(table, replaced); !reflect.DeepEqual(got, want) {
		t.Errorf("changes are %v, want %v", got, want)
	}
}
