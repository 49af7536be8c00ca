package routes

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const lastGoodFirst = `{"gatehouse":"last good routes","version":2,"id":"1"}`

// many is more than is written again with each change.
func many(t *testing.T) (f *Follower, file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "routes")
	f, err := NewFollower(FollowerOptions{Source: &script{}, LastGood: file, Apply: func(*Table, []Replaced) {}})
	if err != nil {
		t.Fatal(err)
	}
	f.take(Batch{Full: true, Changes: sites(2000)})
	save(t, f)
	return f, file
}

func save(t *testing.T, f *Follower) {
	t.Helper()
	if err := f.Save(); err != nil {
		t.Fatal(err)
	}
}

func again(t *testing.T, file string) *Follower {
	t.Helper()
	f, err := NewFollower(FollowerOptions{Source: &script{}, LastGood: file, Apply: func(*Table, []Replaced) {}})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestOneChangeIsAddedToALog(t *testing.T) {
	f, file := many(t)
	before, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	f.take(Batch{Changes: []Change{vhostChange("new.test", "shop"), gone(KindVhost, "h1.test")}})
	save(t, f)
	f.take(Batch{Changes: []Change{vhostChange("h2.test", "other"), vhostChange("new.test", ""), tenantChange("shop", "detect")}})
	save(t, f)
	after, err := os.Stat(file)
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("two changes wrote the whole file anew (%v)", err)
	}
	if info, err := os.Stat(file + logSuffix); err != nil || info.Mode().Perm() != 0o600 || info.Size() > 2000 {
		t.Errorf("the log: %v, %v", info, err)
	}
	g := again(t, file)
	if n := g.Table().Len(); n != 2000 || g.Table().Match("h1.test") != nil || g.Table().Match("new.test").Vhost.Tenant != "" || g.Table().Match("h2.test").Vhost.Tenant != "other" {
		t.Errorf("%d sites come back, or others than were", n)
	}
	if doc, _, _ := g.Table().Tenant("shop"); doc == nil || doc.WAF.Mode != "detect" {
		t.Errorf("the tenant comes back as %+v", doc)
	}
}

func TestWhatIsHeldIsInTheLog(t *testing.T) {
	f, file := many(t)
	f.take(Batch{Full: true, Changes: sites(1)[1:]})
	save(t, f)
	f.take(Batch{Changes: []Change{vhostChange("h7.test", "shop")}})
	save(t, f)
	if held := again(t, file).Status().Held; held != f.Status().Held || held != 1999 {
		t.Errorf("%d are held after a restart, %d before", held, f.Status().Held)
	}
}

func TestLogIsReplacedBeforeItGrowsLarge(t *testing.T) {
	f, file := many(t)
	before, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		var changes []Change
		for k := range 50 {
			changes = append(changes, vhostChange(fmt.Sprintf("h%d.test", k), fmt.Sprintf("t%d", i)))
		}
		f.take(Batch{Changes: changes})
		save(t, f)
	}
	if info, err := os.Stat(file + logSuffix); err != nil || info.Size() > before.Size() {
		t.Errorf("the log: %v, %v, beside %d bytes", info, err, before.Size())
	}
	if got := again(t, file).Table().Match("h49.test").Vhost.Tenant; got != "t39" {
		t.Errorf("h49.test comes back as of tenant %s", got)
	}
}

func TestDamagedAndForeignLogs(t *testing.T) {
	f, file := many(t)
	f.take(Batch{Changes: []Change{vhostChange("a.test", ""), vhostChange("b.test", "")}})
	save(t, f)
	log, err := os.ReadFile(file + logSuffix)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		log    string
		vhosts int
		bad    bool
	}{
		"whole":                  {string(log), 2002, false},
		"cut off":                {string(log[:len(log)-10]), 2001, true},
		"of another snapshot":    {strings.Replace(string(log), f.saver.id, "another", 1), 2000, false},
		"a record cannot be one": {string(log) + `{"vhost":"A..b","gone":true}` + "\n", 2002, true},
	} {
		if err := os.WriteFile(file+logSuffix, []byte(test.log), 0o600); err != nil {
			t.Fatal(err)
		}
		if changes, _, err := loadLastGood(file); (err != nil) != test.bad {
			t.Errorf("%s: %d changes, %v", name, len(changes), err)
		}
		g := again(t, file)
		if n := g.Table().Len(); n != test.vhosts {
			t.Errorf("%s: %d sites, want %d", name, n, test.vhosts)
		}
	}
	// Another process writes its own snapshot: ours is whole again with the next change.
	g := again(t, file)
	save(t, g)
	f.take(Batch{Changes: []Change{vhostChange("c.test", "")}})
	save(t, f)
	if again(t, file).Table().Match("c.test") == nil {
		t.Error("a change was added to the log of a snapshot that is no more")
	}
}

func TestFailedSaveIsMadeGoodByTheNext(t *testing.T) {
	f, file := many(t)
	f.take(Batch{Changes: []Change{vhostChange("a.test", "")}})
	save(t, f)
	if err := os.Remove(file + logSuffix); err != nil {
		t.Fatal(err)
	}
	f.take(Batch{Changes: []Change{vhostChange("b.test", "")}})
	if f.Save() == nil {
		t.Error("added to a log that is not there, without an error")
	}
	save(t, f)
	if n := again(t, file).Table().Len(); n != 2002 {
		t.Errorf("%d sites come back, want 2002", n)
	}
}
