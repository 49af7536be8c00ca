package events

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func report(t testing.TB, l *Log, q Query) Report {
	t.Helper()
	out, err := l.Report(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestReportGroupsByRulePageAndParameter(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Options{Dir: dir})
	for n := range 10 {
		e := refused("shop", n)
		e.Client = netip.AddrFrom4([4]byte{192, 0, 2, byte(n % 3)})
		if n >= 8 {
			e.Path = "/other"
		}
		l.Record(e)
	}
	sample := matched("shop", 20)
	sample.Rules = append(sample.Rules, Rule{ID: 920300, Message: "Missing Accept", Target: "REQUEST_HEADERS", Score: 2})
	l.Record(sample)
	l.Record(refused("blog", 21))
	check := func(l *Log, where string) {
		t.Helper()
		r := report(t, l, Query{Tenant: "shop"})
		equal(t, where+": events", r.Events, 11)
		equal(t, where+": clients", r.Clients, 4)
		equal(t, where+": blocked", r.Verdicts[Block], 10)
		equal(t, where+": matched", r.Verdicts[Pass], 1)
		var got []string
		for _, g := range r.Groups {
			got = append(got, fmt.Sprintf("%d %s%s %s: %d/%d of %d until %d, %s", g.Rule, g.Vhost, g.Path, g.Target, g.Refused, g.Events, g.Clients,
				g.Last.Sub(epoch)/time.Second, ids([]*Event{{ID: g.Example}})))
		}
		equal(t, where+": groups", strings.Join(got, "\n"), strings.Join([]string{
			"942100 shop.test/search ARGS:q: 8/9 of 4 until 20, 14",
			"942100 shop.test/other ARGS:q: 2/2 of 2 until 9, 9",
			"920300 shop.test/search REQUEST_HEADERS: 0/1 of 1 until 20, 14",
		}, "\n"))
	}
	check(l, "memory")
	shut(t, l)
	check(l, "both")
	l = open(t, Options{Dir: dir})
	check(l, "files")
	equal(t, "since", report(t, l, Query{Tenant: "shop", Since: epoch.Add(8 * time.Second)}).Events, 3)
	shut(t, l)
}

// Whoever makes up paths and addresses does not take the node's memory.
func TestReportIsBounded(t *testing.T) {
	c := newCounting(epoch)
	for n := range maxGroups + 500 {
		e := refused("shop", n)
		e.Path, e.Verdict = fmt.Sprintf("/%d", n), fmt.Sprint("made up ", n)
		c.add(e)
	}
	for n := range maxClients + 500 {
		e := refused("shop", n)
		e.Path, e.Client = "/0", netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)})
		c.add(e)
	}
	r := c.result()
	equal(t, "events", r.Events, maxGroups+maxClients+1000)
	equal(t, "groups", len(r.Groups), maxGroups+1)
	equal(t, "verdicts", len(r.Verdicts), 2)
	equal(t, "clients", r.Clients, maxClients)
	equal(t, "the largest", r.Groups[0].Path, "/0")
	equal(t, "its clients", r.Groups[0].Clients, maxGroupClients)
	equal(t, "its events", r.Groups[0].Events, maxClients+501)
	equal(t, "the rest", r.Groups[1].Path, Others)
	equal(t, "the rest's events", r.Groups[1].Events, 500)
}
