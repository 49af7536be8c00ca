package filestore

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse/routes"
	"gatehouse/routes/routestest"
)

// A file that sorts before the one that serves a site takes the site over.
func TestEarlierFileTakesOverALiveSite(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "sites.yaml"), "vhosts:\n  up.test: {tenant: owner, backends: [\"http://127.0.0.1:1\"]}\n")
	store, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	f := routestest.Follow(t, store, "")
	f.Until("the site", func(table *routes.Table) bool { return table.Match("up.test") != nil })
	write(t, filepath.Join(dir, "0.yaml"), "vhosts:\n  up.test: {tenant: evil, backends: [\"http://127.0.0.1:2\"]}\n")
	r := f.UntilProblem("up.test", "0.yaml")
	if r.Vhost.Tenant != "owner" {
		t.Errorf("tenant %q serves; the problem is %v", r.Vhost.Tenant, r.Problems())
	}
	err = store.Delete(context.Background(), routes.Key{Kind: routes.KindVhost, Name: "up.test"})
	if err == nil || !strings.Contains(err.Error(), "0.yaml") || !strings.Contains(err.Error(), "sites.yaml") {
		t.Errorf("deleting a site that stands twice: %v", err)
	}
}
