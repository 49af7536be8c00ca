package waf

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// What is too large is an error of the profile, and has no effect where it comes in all the same.
func TestLargePatternsAreRefused(t *testing.T) {
	e := sharedEngine(t)
	list := []Exclusion{{Rules: one(942100), Target: `ARGS:/(\pL{0,99}){9}|id/`}}
	p := &Profile{Mode: Block, Exclusions: NewExclusions(list)}
	if err := p.Validate(); err == nil || !strings.Contains(err.Error(), "at most 200") {
		t.Errorf("validated: %v", err)
	}
	if ignored := e.Ignored(list); len(ignored) != 1 || ignored[0].Field != "target" {
		t.Errorf("ignored: %+v", ignored)
	}
	if got := inspect(e, p, sample{target: sqli}); got.verdict == nil {
		t.Error("it applies")
	}
}

// A pattern's size counts: what a tenant's patterns may cost for each byte of a name is bounded, and known to
// who gives out turns.
func TestPatternsCountByTheirSize(t *testing.T) {
	e := sharedEngine(t)
	var list []Exclusion
	for i := range 1000 {
		list = append(list, Exclusion{Rules: [][2]int32{{942100, 942999}}, Target: fmt.Sprintf("ARGS:/[ab]{90}x%d/", i)})
	}
	set, ignored := e.current.Load().catalog.compile(list)
	if set.steps > 4*maxWork || set.steps < maxWork || len(ignored) != 1 || !strings.Contains(ignored[0].Reason, "more than 10000") {
		t.Errorf("%d steps, %+v", set.steps, ignored)
	}
	p := &Profile{Mode: Block, Exclusions: NewExclusions(list)}
	if p.Heavy(1<<20, 1<<20) {
		t.Error("no request came yet")
	}
	inspect(e, p, sample{target: "/"})
	if p.Heavy(1<<20, 500) || !p.Heavy(0, 4<<10) {
		t.Error("heavy by another size than that of names")
	}
	plain := &Profile{Mode: Block, Exclusions: NewExclusions([]Exclusion{{Rules: one(942100), Target: "ARGS:/^id$/"}})}
	inspect(e, plain, sample{target: "/"})
	if plain.Heavy(0, 16<<10) {
		t.Error("an ordinary pattern is heavy")
	}
}

// Tenants that write the same expression have one, and it goes with the last of them.
func TestEqualPatternsAreShared(t *testing.T) {
	first, _, err := targetPatterns.get("^shared[0-9]$")
	if err != nil {
		t.Fatal(err)
	}
	if second, size, err := targetPatterns.get("^shared[0-9]$"); err != nil || second != first || size < 5 {
		t.Errorf("%p and %p, size %d, %v", first, second, size, err)
	}
	if !first.MatchString("SHARED7") {
		t.Error("case counts")
	}
	runtime.KeepAlive(first)
	known := func() bool {
		targetPatterns.mu.Lock()
		defer targetPatterns.mu.Unlock()
		_, known := targetPatterns.known["^shared[0-9]$"]
		return known
	}
	for deadline := time.Now().Add(10 * time.Second); known(); {
		if time.Now().After(deadline) {
			t.Fatal("it is never forgotten")
		}
		runtime.GC()
		runtime.Gosched()
	}
}

// However many requests are a list's first ones, one of them compiles it.
func TestExclusionsAreCompiledOnce(t *testing.T) {
	c := sharedEngine(t).current.Load().catalog
	for range 20 {
		x := NewExclusions([]Exclusion{{Tags: []string{"OWASP_CRS"}, Target: "ARGS:/^once/"}})
		plans := make([]*plan, 8)
		var all sync.WaitGroup
		for i := range plans {
			all.Go(func() { plans[i] = x.plan(c) })
		}
		all.Wait()
		for _, p := range plans {
			if p != plans[0] {
				t.Fatal("compiled more than once")
			}
		}
	}
}
