//go:build !race

package waf

import (
	"fmt"
	"runtime"
	"testing"
)

// What own rules take, for one tenant and for a thousand who share nothing; docs/operations.md states it.
// The bounds leave room for what Go's collector has not yet taken.
func TestMemoryOfOwnRules(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles a thousand rulesets")
	}
	for _, test := range []struct {
		name    string
		tenants int
		text    func(word string) string
		most    int // bytes for each
	}{
		{"one tenant, one rule", 1, func(w string) string { return usualOwn(1, w) }, 128 << 10},
		{"a thousand tenants, one rule", 1000, func(w string) string { return usualOwn(1, w) }, 32 << 10},
		{"a thousand tenants, ten rules", 1000, func(w string) string { return usualOwn(10, w) }, 128 << 10},
		{"ten tenants at every bound", 10, largestOwn, 8 << 20},
		{"a thousand tenants, one text", 1000, func(string) string { return usualOwn(10, "shared") }, 1 << 10},
	} {
		before := heapInUse()
		held := make([]*OwnRules, 0, test.tenants)
		for i := range test.tenants {
			held = append(held, own(t, test.text(fmt.Sprint("tenant", i)))...)
		}
		each := (heapInUse() - before) / test.tenants
		t.Logf("%s: %d bytes each", test.name, each)
		if each > test.most {
			t.Errorf("%s: %d bytes each, at most %d", test.name, each, test.most)
		}
		runtime.KeepAlive(held)
	}
}

func heapInUse() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
