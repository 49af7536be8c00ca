package routes

import (
	"fmt"
	"testing"
	"time"
)

// A hundred thousand vhosts that claim one alias took more than five minutes to come.
func TestManyClaimantsOfOneAliasCostWhatOthersDo(t *testing.T) {
	const number = 100_000
	name := func(i int) string { return fmt.Sprintf("v%06d.test", i) }
	var come, gone []Change
	for i := range number {
		v := &Vhost{Name: name(i), Aliases: []string{"all.test", "*.all.test"}, Backends: []Backend{{URL: "http://b"}}}
		come, gone = append(come, Change{Key: Key{KindVhost, v.Name}, Vhost: v}), append(gone, Change{Key: Key{KindVhost, v.Name}})
	}
	begin := time.Now()
	table, _ := (&Table{}).With(come)
	t.Logf("%d come in %v", number, time.Since(begin).Round(time.Millisecond))
	begin1 := time.Now()
	one, _ := table.With([]Change{{Key: Key{KindVhost, name(5)}, Vhost: &Vhost{Name: name(5), Backends: []Backend{{URL: "http://b"}}}}})
	t.Logf("one of them leaves in %v", time.Since(begin1).Round(10*time.Microsecond))
	if r := one.Match("all.test"); r == nil || r.Name != name(0) {
		t.Errorf("the first one's alias is answered by %v", r)
	}
	// All but the last go; then that one, too.
	beginGo := time.Now()
	left, _ := table.With(gone[:number-1])
	t.Logf("%d go in %v", number-1, time.Since(beginGo).Round(time.Millisecond))
	if took := time.Since(begin); took > 15*time.Second {
		t.Errorf("it took %v", took)
	}
	for _, host := range []string{"all.test", "x.all.test"} {
		if r := left.Match(host); r == nil || r.Name != name(number-1) {
			t.Errorf("%s: the last one's alias is answered by %v", host, r)
		}
	}
	if r := table.Match("all.test"); r == nil || r.Name != name(0) {
		t.Errorf("the table before is changed: %v", r)
	}
	none, _ := left.With(gone[number-1:])
	if none.hosts.len() != 0 || none.suffix.len() != 0 || none.Match("x.all.test") != nil {
		t.Errorf("%d aliases and %d wildcards are left", none.hosts.len(), none.suffix.len())
	}
}

// Whoever comes first has an alias, also among many who come and go in one batch.
func TestManyClaimantsKeepTheirOrder(t *testing.T) {
	claim := func(i int) Change {
		v := &Vhost{Name: fmt.Sprintf("v%d.test", i), Aliases: []string{"*.all.test"}, Backends: []Backend{{URL: "http://b"}}}
		return Change{Key: Key{KindVhost, v.Name}, Vhost: v}
	}
	leave := func(i int) Change { return Change{Key: claim(i).Key} }
	table := &Table{}
	for i := range 2 * manyClaims {
		table, _ = table.With([]Change{claim(i)})
	}
	var batch []Change
	for i := range 2*manyClaims - 1 {
		batch = append(batch, leave(i))
	}
	table, _ = table.With(append(batch, claim(0), claim(1)))
	for i, want := range []int{2*manyClaims - 1, 0, 1} {
		if r := table.Match("x.all.test"); r == nil || r.Name != claim(want).Key.Name {
			t.Fatalf("%d: the alias is answered by %v, want that of %d", i, r, want)
		}
		table, _ = table.With([]Change{leave(want)})
	}
	// As many come back, and all go at once with the vhost that has the wildcard as its name.
	batch = []Change{{Key: Key{KindVhost, "*.all.test"}, Vhost: &Vhost{Name: "*.all.test", Backends: []Backend{{URL: "http://b"}}}}}
	for i := range 2 * manyClaims {
		batch = append(batch, claim(i))
	}
	table, _ = table.With(batch)
	batch = []Change{{Key: Key{KindVhost, "*.all.test"}}}
	for i := range 2 * manyClaims {
		batch = append(batch, leave(i))
	}
	table, _ = table.With(batch)
	if table.hosts.len() != 0 || table.suffix.len() != 0 {
		t.Errorf("%d aliases and %d wildcards are left", table.hosts.len(), table.suffix.len())
	}
}
