package routes

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func vhostChange(name, tenant string, aliases ...string) Change {
	return Change{Key: Key{KindVhost, name}, Vhost: &Vhost{
		Name: name, Tenant: tenant, Aliases: aliases, Backends: []Backend{{URL: "http://127.0.0.1:9000"}},
	}}
}

func tenantChange(name, mode string) Change {
	return Change{Key: Key{KindTenant, name}, Tenant: &Tenant{Name: name, WAF: &WAF{Mode: mode}}}
}

func badChange(kind Kind, name, reason string) Change {
	return Change{Key: Key{kind, name}, Problems: Problems{{File: "f", Reason: reason}}}
}

func gone(kind Kind, name string) Change { return Change{Key: Key{kind, name}} }

// with applies changes and names what was replaced.
func with(t *Table, changes ...Change) (*Table, []string) {
	next, replaced := t.With(changes)
	var names []string
	for _, r := range replaced {
		sign := "="
		if r.Old == nil {
			sign = "+"
		} else if r.New == nil {
			sign = "-"
		}
		names = append(names, sign+r.name())
	}
	return next, names
}

func owner(t *Table, host string) string {
	if r := t.Match(host); r != nil {
		return r.Name
	}
	return ""
}

func TestExactBeatsTheLongestWildcardBeatsTheDefault(t *testing.T) {
	table, _ := with(&Table{}, vhostChange("*", ""), vhostChange("*.test", ""), vhostChange("*.shop.test", "", "alias.other.example"),
		vhostChange("www.shop.test", "", "*.wild.example"), vhostChange("*.b.shop.test", ""))
	for host, want := range map[string]string{
		"www.shop.test": "www.shop.test", "a.shop.test": "*.shop.test", "x.y.shop.test": "*.shop.test", "a.b.shop.test": "*.b.shop.test",
		"b.shop.test": "*.shop.test", "shop.test": "*.test", "test": "*", "other.example": "*", "alias.other.example": "*.shop.test",
		"a.wild.example": "www.shop.test", "wild.example": "*", "notshop.test": "*.test", "127.0.0.1": "*", "[::1]": "*",
	} {
		if got := owner(table, host); got != want {
			t.Errorf("%s is answered by %q, want %q", host, got, want)
		}
	}
	table, _ = with(table, gone(KindVhost, "*"), gone(KindVhost, "*.b.shop.test"))
	if owner(table, "other.example") != "" || owner(table, "a.b.shop.test") != "*.shop.test" {
		t.Error("a removed wildcard still answers, or hides the next one")
	}
}

// TestTableIsAMapOfNames compares Match with the rule, written naively, over
// random tables.
func TestTableIsAMapOfNames(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	label := func() string { return string(rune('a' + random.IntN(3))) }
	name := func() string {
		labels := []string{}
		for range 1 + random.IntN(3) {
			labels = append(labels, label())
		}
		switch random.IntN(6) {
		case 0:
			return "*." + strings.Join(labels, ".")
		case 1:
			return "*"
		}
		return strings.Join(labels, ".")
	}
	for range 20 {
		table, model := &Table{}, map[string]bool{}
		for range 60 {
			n := name()
			if random.IntN(3) == 0 {
				table, _ = with(table, gone(KindVhost, n))
				delete(model, n)
			} else {
				table, _ = with(table, vhostChange(n, label()))
				model[n] = true
			}
			host := strings.TrimPrefix(name(), "*.")
			if host == "*" {
				continue
			}
			want := ""
			for candidate, rest := host, host; ; {
				if model[candidate] {
					want = candidate
					break
				}
				_, after, more := strings.Cut(rest, ".")
				if !more {
					if model["*"] {
						want = "*"
					}
					break
				}
				candidate, rest = "*."+after, after
			}
			if got := owner(table, host); got != want {
				t.Fatalf("%s is answered by %q, want %q of %v", host, got, want, slices.Sorted(maps.Keys(model)))
			}
		}
		members := 0
		for tenant := range table.Tenants() {
			members += table.Members(tenant)
		}
		if members != table.Len() || table.Len() != len(model) {
			t.Errorf("%d members, %d vhosts, want %d", members, table.Len(), len(model))
		}
	}
}

// How many vhosts of a tenant have a cache is counted as they come, change, move and go, in one change or in several, beside changes of the tenant.
func TestCachingVhostsOfATenantAreCounted(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(5, 6))
	table := &Table{}
	for range 300 {
		var changes []Change
		for range 1 + random.IntN(4) {
			c := vhostChange(string(rune('a'+random.IntN(6)))+".test", string(rune('a'+random.IntN(3))))
			switch random.IntN(6) {
			case 0:
				c = gone(KindVhost, c.Key.Name)
			case 1:
				c.Vhost, c.Problems = nil, Problems{{Reason: "bad"}}
			case 2:
				c = Change{Key: Key{Kind: KindTenant, Name: c.Vhost.Tenant}, Tenant: &Tenant{Concurrency: random.IntN(3)}}
			case 3, 4:
				on := random.IntN(3) > 0
				c.Vhost.Cache = &Cache{Enabled: &on}
			}
			changes = append(changes, c)
		}
		table, _ = with(table, changes...)
		want := map[string]int{}
		for r := range table.Vhosts() {
			if r.Vhost != nil && r.Vhost.Cache.On() {
				want[r.Vhost.Tenant]++
			}
		}
		for _, tenant := range []string{"a", "b", "c"} {
			if got := table.Caching(tenant); got != want[tenant] {
				t.Fatalf("%s has %d, want %d", tenant, got, want[tenant])
			}
		}
	}
}

func TestNameBeatsAliasAndTheFirstAliasStays(t *testing.T) {
	table, _ := with(&Table{}, vhostChange("a.test", "", "shared.test", "b.test"))
	table, _ = with(table, vhostChange("b.test", ""), vhostChange("c.test", "", "shared.test"))
	if got := owner(table, "b.test"); got != "b.test" {
		t.Errorf("b.test is answered by %s", got)
	}
	if got := owner(table, "shared.test"); got != "a.test" {
		t.Errorf("shared.test was taken over by %s", got)
	}
	if got := table.Conflicts(table.Vhost("c.test")).Error(); !strings.Contains(got, "shared.test belongs to vhost a.test already") {
		t.Errorf("got %q", got)
	}
	if got := table.Conflicts(table.Vhost("a.test")).Error(); !strings.Contains(got, "b.test belongs to vhost b.test already") {
		t.Errorf("got %q", got)
	}
	// When the owner lets go, the next one has it.
	table, _ = with(table, vhostChange("a.test", ""))
	if got := owner(table, "shared.test"); got != "c.test" {
		t.Errorf("shared.test is answered by %q", got)
	}
	table, _ = with(table, gone(KindVhost, "c.test"))
	if got := owner(table, "shared.test"); got != "" {
		t.Errorf("shared.test is answered by %q", got)
	}
}

// Who waits for an alias does not get it because its owner's document says something else, too.
func TestAnAliasStaysWithItsOwnerWhateverElseHeChanges(t *testing.T) {
	table, _ := with(&Table{}, vhostChange("z.test", "z", "shared.test", "old.test"))
	table, _ = with(table, vhostChange("a.test", "evil", "shared.test", "old.test"))
	table, _ = with(table, vhostChange("z.test", "z", "new.test", "shared.test"))
	for host, want := range map[string]string{"shared.test": "z.test", "new.test": "z.test", "old.test": "a.test"} {
		if got := owner(table, host); got != want {
			t.Errorf("%s is answered by %q, want %q", host, got, want)
		}
	}
	// He is gone, comes again, and has to wait.
	table, _ = with(table, gone(KindVhost, "z.test"))
	table, _ = with(table, vhostChange("z.test", "z", "shared.test"))
	if got := owner(table, "shared.test"); got != "a.test" {
		t.Errorf("shared.test is answered by %q", got)
	}
}

// Of wildcards that are gone, as names or as aliases, nothing is left.
func TestWildcardsThatAreGoneLeaveNothing(t *testing.T) {
	table, _ := with(&Table{}, vhostChange("*.a.test", ""), vhostChange("b.test", "", "*.b.test", "*.a.test"), vhostChange("c.test", "", "*.b.test"))
	steps := []struct {
		change Change
		left   int
	}{{gone(KindVhost, "*.a.test"), 2}, {vhostChange("b.test", "", "*.b.test"), 1}, {gone(KindVhost, "b.test"), 1}, {gone(KindVhost, "c.test"), 0}}
	for i, step := range steps {
		table, _ = with(table, step.change)
		if n := table.suffix.len(); n != step.left {
			t.Errorf("step %d: %d suffixes, want %d", i, n, step.left)
		}
	}
}

// Others read a route while Keep is called, as whoever saves the last good routes does.
func TestKeepBesideReaders(t *testing.T) {
	table, _ := with(&Table{}, vhostChange("a.test", ""))
	r := table.Vhost("a.test")
	read := make(chan struct{})
	go func() {
		defer close(read)
		for range 1000 {
			_, _ = table.Below(r, "/")
			_ = r.Problems()
		}
	}()
	r.Keep("this")
	r.Keep("that")
	<-read
	if r.Kept() != "that" {
		t.Errorf("it keeps %v", r.Kept())
	}
}

// Extras that say nothing are none: most of a million documents must not have them.
func TestExtrasThatSayNothingAreNone(t *testing.T) {
	for _, text := range []string{`{"backends":["http://127.0.0.1:9000"],"strip":false}`, `{"backends":["http://127.0.0.1:9000"],"compress":"","redirect":null}`} {
		doc := ParseJSON(Key{KindVhost, "a.test"}, "vhost:a.test", []byte(text))
		if doc.Vhost == nil || doc.Vhost.VhostExtras != nil {
			t.Errorf("%s: %v, %+v", text, doc.Problems, doc.Vhost)
		}
	}
}

func TestTenantChangeReplacesExactlyItsMembers(t *testing.T) {
	table, _ := with(&Table{}, tenantChange("shop", "detect"), vhostChange("a.test", "shop"), vhostChange("b.test", "shop"), vhostChange("c.test", "other"), vhostChange("d.test", ""))
	next, replaced := with(table, tenantChange("shop", "block"))
	if strings.Join(replaced, " ") != "=a.test =b.test" {
		t.Errorf("replaced: %v", replaced)
	}
	if next.Match("a.test").Tenant.WAF.Mode != "block" || table.Match("a.test").Tenant.WAF.Mode != "detect" {
		t.Error("the new table has the old tenant, or the old one the new")
	}
	if next.Match("c.test") != table.Match("c.test") || next.Match("d.test") != table.Match("d.test") {
		t.Error("a route of another tenant was replaced")
	}
	next, replaced = with(next, gone(KindTenant, "shop"))
	if len(replaced) != 2 || next.Match("a.test").Tenant != nil {
		t.Errorf("a removed tenant acts on: %v", replaced)
	}
	if _, _, known := next.Tenant("shop"); !known || next.Members("shop") != 2 {
		t.Error("a tenant that vhosts name is not known")
	}
	next, _ = with(next, vhostChange("a.test", "other"), gone(KindVhost, "b.test"))
	if _, _, known := next.Tenant("shop"); known || next.Members("other") != 2 {
		t.Error("a tenant that nobody names is known")
	}
	// The document may come after the vhosts that name it.
	next, replaced = with(next, tenantChange("other", "off"))
	if len(replaced) != 2 || next.Match("c.test").Tenant == nil {
		t.Errorf("got %v", replaced)
	}
}

func TestRepeatedDocumentsReplaceNothing(t *testing.T) {
	all := []Change{tenantChange("shop", "block"), vhostChange("a.test", "shop", "b.test"), badChange(KindVhost, "c.test", "x"), badChange(KindTenant, "bad", "x")}
	table, _ := with(&Table{}, all...)
	again := []Change{tenantChange("shop", "block"), vhostChange("a.test", "shop", "b.test"), badChange(KindVhost, "c.test", "x"), badChange(KindTenant, "bad", "x"), gone(KindVhost, "nobody.test"), gone(KindTenant, "nobody")}
	next, replaced := with(table, again...)
	if len(replaced) != 0 || next.Match("a.test") != table.Match("a.test") || next.Vhost("c.test") != table.Vhost("c.test") {
		t.Errorf("replaced: %v", replaced)
	}
	if _, _, known := next.Tenant("nobody"); known {
		t.Error("a tenant out of nothing")
	}
}

func TestRunningInstanceIsHandedToTheSuccessor(t *testing.T) {
	made := 0
	compile := func(r *Route, previous any) any {
		made++
		return fmt.Sprint(previous, ">", r.Name)
	}
	table, _ := with(&Table{}, tenantChange("shop", "off"), vhostChange("a.test", "shop"))
	first := table.Match("a.test")
	if first.Compiled() != nil {
		t.Error("it runs before it was asked for")
	}
	if got := first.Instance(compile); got != "<nil>>a.test" || first.Instance(compile) != got || made != 1 {
		t.Errorf("got %v, made %d times", got, made)
	}
	// Two changes before the next request: the state is not lost between them.
	table, _ = with(table, tenantChange("shop", "block"))
	table, _ = with(table, vhostChange("a.test", "shop", "b.test"), badChange(KindVhost, "a.test", "broken"))
	if got := table.Match("a.test").Instance(compile); got != "<nil>>a.test>a.test" {
		t.Errorf("got %v", got)
	}
	table, _ = with(table, gone(KindVhost, "a.test"))
	table, _ = with(table, vhostChange("a.test", "shop"))
	if got := table.Match("a.test").Instance(compile); got != "<nil>>a.test" {
		t.Errorf("a vhost that was gone took over %v", got)
	}
}

func TestLastGoodFormSurvivesABadChange(t *testing.T) {
	table, _ := with(&Table{}, tenantChange("shop", "block"), vhostChange("a.test", "shop", "alias.test"))
	table, replaced := with(table, badChange(KindVhost, "a.test", "broken"), badChange(KindTenant, "shop", "broken"))
	if strings.Join(replaced, " ") != "=a.test" {
		t.Errorf("replaced: %v", replaced)
	}
	r := table.Match("alias.test")
	if r == nil || r.Name != "a.test" || r.Problems().Error() != "f: broken" || r.Tenant.WAF.Mode != "block" {
		t.Errorf("got %+v", r)
	}
	if doc, problems, _ := table.Tenant("shop"); doc == nil || len(problems) != 1 {
		t.Errorf("tenant: %v, %v", doc, problems)
	}
	// A vhost may be good and still have something to say.
	c := vhostChange("a.test", "shop")
	c.Problems = Problems{{Reason: "stands twice"}}
	table, _ = with(table, c)
	if r = table.Match("a.test"); r == nil || len(r.Problems()) != 1 || table.Match("alias.test") != nil {
		t.Errorf("got %+v", r)
	}
	table, _ = with(table, vhostChange("a.test", "shop"))
	if len(table.Match("a.test").Problems()) != 0 {
		t.Error("mended, but the problem stays")
	}
	// Never good: known, and answers nothing.
	table, _ = with(table, badChange(KindVhost, "new.test", "broken"), vhostChange("*", ""))
	if table.Vhost("new.test") == nil || owner(table, "new.test") != "*" {
		t.Error("a vhost that was never good answers, or is not known")
	}
	table, _ = with(table, gone(KindVhost, "a.test"))
	if owner(table, "a.test") != "*" {
		t.Error("a document that is really gone acts on")
	}
}

func TestMatchDoesNotAllocate(t *testing.T) {
	long := strings.Repeat("a-long-label.", 8) + "test"
	table, _ := with(&Table{}, vhostChange("www.shop.test", "", "alias.test"), vhostChange("*."+long, ""), vhostChange("*", ""))
	for _, host := range []string{"www.shop.test", "alias.test", "x.y." + long, long, "nobody.example"} {
		if n := testing.AllocsPerRun(100, func() { table.Match(host) }); n != 0 {
			t.Errorf("%s: %v allocations", host, n)
		}
	}
}

func manyVhosts(n int) []Change {
	out := make([]Change, n)
	for i := range out {
		out[i] = vhostChange(fmt.Sprintf("h%d.shop%d.test", i, i%1000), fmt.Sprintf("t%d", i%(n/10+1)))
	}
	return out
}

func TestWithCostsWhatChanged(t *testing.T) {
	small, _ := (&Table{}).With(manyVhosts(1000))
	large, _ := (&Table{}).With(manyVhosts(100_000))
	cost := func(table *Table) float64 {
		i := 0
		return testing.AllocsPerRun(50, func() {
			i++
			table.With([]Change{vhostChange(fmt.Sprintf("h%d.shop%d.test", i, i), "t1", "x.test")})
		})
	}
	a, b := cost(small), cost(large)
	t.Logf("allocations of one change: %v of 1,000 vhosts, %v of 100,000", a, b)
	if b > 2*a+20 {
		t.Errorf("one change among 100,000 vhosts costs %v allocations, among 1,000 %v", b, a)
	}
}

func TestMemoryPerVhost(t *testing.T) {
	const n = 100_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	table, _ := (&Table{}).With(manyVhosts(n))
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / n
	t.Logf("%d bytes per vhost", each)
	if each > 2048 {
		t.Errorf("%d bytes per vhost, want at most 2 KiB", each)
	}
	runtime.KeepAlive(table)
}

func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{1, 1_000_000} {
		table, _ := (&Table{}).With(append(manyVhosts(n), vhostChange("*.wild.test", "")))
		for name, host := range map[string]string{"exact": "h0.shop0.test", "wildcard": "a.b.wild.test", "none": "a.b.c.example"} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					table.Match(host)
				}
			})
		}
	}
}

func BenchmarkWith(b *testing.B) {
	table, _ := (&Table{}).With(manyVhosts(100_000))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		table.With([]Change{vhostChange(fmt.Sprintf("new%d.test", i), "t1")})
	}
}

func TestCompiledInstanceIsReachedWithoutLockOrAllocation(t *testing.T) {
	r := &Route{Name: "a.test"}
	compile := func(r *Route, _ any) any { return r }
	if r.Compiled() != nil || r.Instance(compile) != any(r) {
		t.Fatal("not compiled at the first call")
	}
	r.mu.Lock() // whoever wanted it now would hang
	defer r.mu.Unlock()
	if allocs := testing.AllocsPerRun(100, func() {
		if r.Instance(compile) != any(r) || r.Compiled() != any(r) {
			t.Fatal("another instance")
		}
	}); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}
