package waf

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"gatehouse/edge/waf/gate"
	wafrules "gatehouse/waf-rules"
	"gatehouse/waf-rules/crstest"
)

func TestGateMissesNothing(t *testing.T) {
	e := sharedEngine(t)
	e2, err := newEngine(Options{Gate: GateOff}, wafrules.Embedded().Directives())
	if err != nil {
		t.Fatal(err)
	}
	rs := e.current.Load()
	p := rs.prescreen
	rules, g := p.rules, p.gate
	tenants := [5]*gate.Tenant{}
	for level := 1; level <= 4; level++ {
		tenants[level] = rs.tenant((&Profile{Mode: Block, Paranoia: level}).resolve())
		fmt.Println(level, "blind", tenants[level].Blind(gate.Request), tenants[level].Blind(gate.Answer))
	}
	gen := newRequests(t)
	n := identityRequests(t) * 3
	missed, clean, gateClean := map[int]int{}, 0, 0
	extra := map[int]int{}
	for i := range n {
		r := gen.next()
		level := 1 + i%4
		tx := e2.Begin(&Profile{Mode: Detect, Paranoia: level}, "identity")
		feed(tx, r)
		var want []int
		for _, m := range tx.tx.MatchedRules() {
			if !rs.catalog.bookkeeping(m) {
				want = append(want, m.Rule().ID())
			}
		}
		found := g.Inspect(gate.Request, tx.tx.(gate.Values), tenants[level], nil, 0)
		var ids []int
		for _, r := range found.Rules {
			ids = append(ids, rules[r].ID)
		}
		if len(want) == 0 {
			clean++
			if len(ids) == 0 && !found.All {
				gateClean++
			}
			for _, id := range ids {
				extra[id]++
			}
		}
		for _, id := range want {
			if !slices.Contains(ids, id) && !found.All && !p.native[id] {
				missed[id]++
				if missed[id] < 3 {
					t.Errorf("rule %d missed: level %d %q", id, level, r)
				}
			}
		}
		tx.Close()
	}
	t.Logf("%d requests, %d clean, %d by the gate; needless %v; missed %v", n, clean, gateClean, extra, missed)
}

func feed(tx *Transaction, r crstest.Request) {
	loopback := netip.MustParseAddr("127.0.0.1")
	tx.Connection(netip.AddrPortFrom(loopback, 40000), netip.AddrPortFrom(loopback, 80))
	tx.Request(r.Method, r.Target, r.Proto, r.Host)
	for _, f := range r.Fields {
		tx.RequestHeader(f[0], f[1])
	}
	if tx.RequestHeaders() == nil {
		tx.WriteRequestBody(r.Body)
		tx.RequestBody(false)
	}
}
