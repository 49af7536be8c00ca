package main

import (
	"testing"

	"gatehouse/routes"
)

// A path vhost has no certificate of its own: nobody could order one for its name.
func TestPathVhostsAskForNoCertificate(t *testing.T) {
	docs, problems := routes.ParseFile("a.yaml", []byte("vhosts:\n  a.test: {backends: [http://127.0.0.1:1]}\n  a.test/x: {backends: [http://127.0.0.1:2]}\n"))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	table, replaced := (&routes.Table{}).With([]routes.Change{docs[0].Change(), docs[1].Change()})
	if got := certificateChanges(table, replaced); len(replaced) != 2 || len(got) != 1 || got[0].Name != "a.test" {
		t.Errorf("%v of %d vhosts", got, len(replaced))
	}
}
