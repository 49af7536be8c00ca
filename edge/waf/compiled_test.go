package waf

import (
	"slices"
	"testing"

	"gatehouse/edge/waf/gate"
)

// What a rule takes away is known by the engine's numbers for it, which its next version may change.
func TestWhatRulesTakeAway(t *testing.T) {
	e, err := newEngine(Options{Gate: GateOff}, `Include base.conf
SecAction "id:10,phase:1,pass,nolog,ctl:ruleRemoveById=21"
SecAction "id:11,phase:1,pass,nolog,ctl:ruleRemoveById=20-21"
SecAction "id:12,phase:1,pass,nolog,ctl:ruleRemoveByTag=odd"
SecAction "id:13,phase:1,pass,nolog,ctl:ruleRemoveByMsg=even"
SecAction "id:14,phase:1,pass,nolog,ctl:ruleRemoveTargetById=20;ARGS:x"
SecAction "id:15,phase:1,pass,nolog,ctl:auditEngine=Off"
SecAction "id:16,phase:1,allow"
SecRule ARGS "@contains a" "id:20,phase:2,pass,msg:'even'"
SecRule ARGS "@contains a" "id:21,phase:2,pass,msg:'odd',tag:'x',tag:'odd'"
SecRule ARGS "@contains a" "id:22,phase:2,pass,msg:'even'"
SecMarker END
`)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	rules, err := compiledRules(e.current.Load().waf)
	if err != nil {
		t.Fatal(err)
	}
	want := map[int]struct {
		takes  []int // by id
		ends   bool
		target string
	}{10: {takes: []int{21}}, 11: {takes: []int{20, 21}}, 12: {takes: []int{21}}, 13: {takes: []int{20, 22}}, 14: {target: "ARGS"}, 15: {}, 16: {ends: true}}
	seen := 0
	for _, r := range rules {
		w, ok := want[r.ID]
		if !ok {
			continue
		}
		seen++
		if len(r.Links) != 1 || len(r.Links[0].Acts) != 1 {
			t.Fatalf("rule %d: %+v", r.ID, r.Links)
		}
		a := r.Links[0].Acts[0]
		var ids []int
		for _, at := range a.Takes {
			ids = append(ids, rules[at].ID)
		}
		if a.Kind != gate.Lessens || !slices.Equal(ids, w.takes) || a.Ends != w.ends || w.target != "" && a.Target.Name() != w.target {
			t.Errorf("rule %d: %+v takes %v", r.ID, a, ids)
		}
	}
	if seen != len(want) {
		t.Errorf("%d rules, want %d", seen, len(want))
	}
}
