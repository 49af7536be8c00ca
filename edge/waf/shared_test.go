package waf

import (
	"runtime"
	"strings"
	"testing"

	wafrules "gatehouse/waf-rules"
)

// A profile's shared exclusions act beside its own, and are nobody else's.
func TestSharedExclusionsActBesideOwn(t *testing.T) {
	e := sharedEngine(t)
	families := NewExclusions([]Exclusion{{Rules: [][2]int32{{941000, 941999}}}})
	editor := NewExclusions([]Exclusion{{Tags: []string{"attack-sqli"}, Target: "ARGS:id", Paths: []string{"*/edit"}, Folders: true}})
	own := NewExclusions([]Exclusion{{Rules: one(932120), Target: "ARGS:icon"}})
	shared := NewShared(families, nil, editor)
	both, other := &Profile{Mode: Block, Shared: shared, Exclusions: own}, &Profile{Mode: Block}
	for _, c := range []struct {
		target string
		passes bool
	}{
		{script, true},
		{"/a/edit" + strings.TrimPrefix(sqli, "/"), true},
		{sqli, false},
		{"/x.php/edit" + strings.TrimPrefix(sqli, "/"), false},
		{"/?icon=format-list-bulleted-square.svg", true},
		{"/?q=format-list-bulleted-square.svg", false},
	} {
		if got := inspect(e, both, sample{target: c.target}); (got.verdict == nil) != c.passes || got.err != nil {
			t.Errorf("%s: %+v", c.target, got)
		}
		if got := inspect(e, other, sample{target: c.target}); got.verdict == nil {
			t.Errorf("%s without them: %+v", c.target, got)
		}
	}
	if NewShared() != nil || NewShared(nil, nil) != nil || len(shared.Lists()) != 2 || (*Shared)(nil).Lists() != nil {
		t.Error("empty lists are kept")
	}
}

func TestSharedExclusionsAreCheckedAndInTheDigest(t *testing.T) {
	list := NewExclusions([]Exclusion{{Rules: one(951100)}})
	plain, shared, own := &Profile{}, &Profile{Shared: NewShared(list)}, &Profile{Exclusions: list}
	if plain.Digest(wafrules.Embedded()) == shared.Digest(wafrules.Embedded()) || shared.Digest(wafrules.Embedded()) != own.Digest(wafrules.Embedded()) {
		t.Errorf("%s, shared %s, own %s", plain.Digest(wafrules.Embedded()), shared.Digest(wafrules.Embedded()), own.Digest(wafrules.Embedded()))
	}
	requests := &Profile{Shared: NewShared(NewExclusions([]Exclusion{{Rules: one(942100)}}))}
	if requests.Digest(wafrules.Embedded()) != plain.Digest(wafrules.Embedded()) {
		t.Error("rules for requests are in the digest")
	}
	bad := &Profile{Shared: NewShared(NewExclusions([]Exclusion{{Target: "ARGS"}}))}
	if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), "shared exclusions[0]") {
		t.Errorf("%v", err)
	}
}

// Rules above a tenant's paranoia level do not run and are left out; at each level nothing of the target is seen.
func TestTargetIsExcludedAtEachParanoiaLevel(t *testing.T) {
	e := sharedEngine(t)
	list := NewExclusions([]Exclusion{{Tags: []string{"OWASP_CRS"}, Target: "ARGS:q"}})
	const target = "/?q=%27%20OR%201%3D1--%20%3Cscript%20onload%3Dx%3E%3Bcat%20%2Fetc%2Fpasswd%7E%7E%21%21%40%40%23%23%25%25%00%ff&p=x"
	before := 0
	for level := 1; level <= 4; level++ {
		seen := 0
		for _, m := range inspect(e, &Profile{Mode: Block, Paranoia: level}, sample{target: target}).matches {
			if m.Target == "ARGS:q" {
				seen++
			}
		}
		if seen <= before {
			t.Errorf("level %d: %d matches, %d at the level before: this proves nothing", level, seen, before)
		}
		before = seen
		for _, m := range inspect(e, &Profile{Mode: Block, Paranoia: level, Exclusions: list}, sample{target: target}).matches {
			if m.Target == "ARGS:q" {
				t.Errorf("level %d: rule %d looks at it", level, m.ID)
			}
		}
	}
	work := func(level int) int { return len(list.compiled.Load().always.targets[0].at(level)) }
	if work(1) >= work(2) || work(2) >= work(3) || work(3) >= work(4) {
		t.Errorf("%d, %d, %d, %d rules", work(1), work(2), work(3), work(4))
	}
}

// Ten thousand tenants of one program hold no ten thousand copies of its exclusions.
func TestSharedExclusionsAreCompiledOnceForAllProfiles(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector has memory of its own")
	}
	const tenants = 10_000
	e := sharedEngine(t)
	list := NewExclusions([]Exclusion{{Tags: []string{"OWASP_CRS"}, Target: "ARGS:content", Paths: []string{"*/edit"}}})
	shared := NewShared(list)
	e.Begin(&Profile{Shared: shared}, "warm").Close()
	made := list.compiled.Load()
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	profiles := make([]*Profile, tenants)
	before := heap()
	for i := range profiles {
		profiles[i] = &Profile{Mode: Block, Shared: shared}
		e.Begin(profiles[i], "x").Close()
	}
	each := (float64(heap()) - float64(before)) / tenants
	t.Logf("%.0f bytes each", each)
	if each > 512 || list.compiled.Load() != made {
		t.Errorf("%.0f bytes each, want at most 512; compiled again: %t", each, list.compiled.Load() != made)
	}
	runtime.KeepAlive(profiles)
}
