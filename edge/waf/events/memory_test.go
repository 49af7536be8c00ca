package events

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// One tenant under attack does not push the events of others out of memory.
func TestAttackOnOneTenantLeavesTheEventsOfOthers(t *testing.T) {
	for _, tt := range []struct {
		name string
		opts Options
	}{
		{"by number", Options{MemoryEvents: 100}},
		{"by bytes", Options{MemoryBytes: 100 * refused("shop", 1).weight()}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := open(t, tt.opts)
			for n := range 10 {
				l.Record(refused("quiet", n+1))
				l.Record(refused("", n+1)) // a vhost without tenant has room of its own
			}
			for n := range 2000 {
				l.Record(refused("attacked", n+1))
			}
			equal(t, "quiet tenant", len(find(t, l, Query{Tenant: "quiet"}, 100).Events), 10)
			equal(t, "vhost without tenant", len(find(t, l, Query{Vhost: ".test"}, 100).Events), 10)
			attacked := find(t, l, Query{Tenant: "attacked"}, 1000).Events
			if n := len(attacked); n < 75 || n > 80 {
				t.Errorf("the attacked tenant has %d events, want what is left of 100", n)
			}
			equal(t, "the newest", ids(attacked[:1]), "7d0")
			equal(t, "count", l.memory.count, len(attacked)+20)
			if l.memory.bytes > l.memory.mostBytes {
				t.Errorf("%d bytes, %d are allowed", l.memory.bytes, l.memory.mostBytes)
			}
		})
	}
}

func TestShelvesOfTenantsThatAreGoneAreRemoved(t *testing.T) {
	l := open(t, Options{})
	for n := range 50 {
		l.Record(refused(fmt.Sprintf("t%d", n), n))
	}
	equal(t, "shelves", len(l.memory.shelves), 50)
	l.sweep(time.Now().Add(8 * 24 * time.Hour))
	equal(t, "shelves a week later", len(l.memory.shelves)+l.memory.heaped.Len(), 0)
	equal(t, "bytes", l.memory.bytes, 0)
	l.Record(refused("t1", 1))
	equal(t, "found", len(find(t, l, Query{}, 10).Events), 1)
}

// What memory has given up is looked for in files, also if memory has enough of others.
func TestFindReadsFilesWhereMemoryIsNotWhole(t *testing.T) {
	l := open(t, Options{Dir: t.TempDir(), MemoryEvents: 4})
	for n := range 10 {
		l.Record(refused("shop", 2*n+1)) // odd
	}
	l.Record(refused("blog", 2))
	l.Record(refused("blog", 4))
	shut(t, l)                               // it is written
	equal(t, "in memory", l.memory.count, 4) // two of each
	equal(t, "all", ids(find(t, l, Query{}, 20).Events), "13 11 f d b 9 7 5 4 3 2 1")
	equal(t, "the newest four", ids(find(t, l, Query{}, 4).Events), "13 11 f d")
	equal(t, "of the tenant that was pushed out", ids(find(t, l, Query{Tenant: "shop"}, 3).Events), "13 11 f")
}

func TestFloodIsBoundedAndCounted(t *testing.T) {
	registry := prometheus.NewRegistry()
	l := open(t, Options{Registerer: registry})
	flood := func(n int, client string, verdict string) (kept int) {
		before := l.memory.count
		for range n {
			e := refused("shop", 0)
			e.Client, e.Verdict = netip.MustParseAddr(client), verdict
			l.Record(e)
		}
		return l.memory.count - before
	}
	equal(t, "of one client", flood(1000, "2001:db8::1", Block), perClient)
	equal(t, "of its network", flood(10, "2001:db8::ffff:2", Detect), 0)
	matches := flood(500, "192.0.2.9", Pass)
	equal(t, "that merely matched", matches, perSample)
	kept := perClient
	for n := range 200 {
		kept += flood(10, fmt.Sprintf("192.0.2.%d", n), Block)
	}
	equal(t, "of many clients", kept, perSecond)
	equal(t, "lost", lost(t, registry, "rate"), 1000+10+500+2000-perSample-perSecond)

	l.Record(refused("shop", 1))
	l.Record(matched("shop", 1))
	counted := map[bool]int64{}
	for _, e := range find(t, l, Query{}, 1000).Events {
		counted[e.merely()] += e.LeftOut
	}
	equal(t, "counted in the next ones", counted[false], 3010-perSecond)
	equal(t, "counted in the next sample", counted[true], 500-perSample)
	other := refused("blog", 0)
	l.Record(other)
	equal(t, "of another tenant", other.LeftOut, 0)
}

// A flood's client does not take what another client's false positive needs.
func TestFloodOfOneClientHidesNobody(t *testing.T) {
	l := open(t, Options{})
	for range 1000 {
		e := refused("shop", 0)
		e.Client = netip.MustParseAddr("198.51.100.1")
		l.Record(e)
	}
	kept := 0
	for n := range 64 { // one of them may share the flood's counter
		e := refused("shop", 0)
		e.ID, e.Client = fmt.Sprintf("visitor-%d", n), netip.AddrFrom4([4]byte{203, 0, 113, byte(n)})
		l.Record(e)
		kept += len(find(t, l, Query{ID: e.ID}, 1).Events)
	}
	if kept < 48 {
		t.Errorf("%d of 64 visitors' events were kept", kept)
	}
}

// A tenant that fills its share of the files goes on in memory, and the others' share is theirs.
func TestAttackOnOneTenantLeavesTheFilesToOthers(t *testing.T) {
	dir := t.TempDir()
	registry := prometheus.NewRegistry()
	l := open(t, Options{Dir: dir, Share: 20_000, Registerer: registry})
	for n := range 500 {
		l.Record(refused("attacked", n+1))
	}
	for n := range 200 {
		l.Record(matched("samples", n+1))
	}
	l.Record(refused("samples", 201))
	l.Record(refused("quiet", 1))
	shut(t, l)
	if n := lost(t, registry, "share"); n < 400 {
		t.Errorf("%d events were over the share", n)
	}
	equal(t, "in memory", len(find(t, l, Query{Tenant: "attacked"}, 1000).Events), 500)
	l = open(t, Options{Dir: dir})
	defer shut(t, l)
	for tenant, bounds := range map[string][2]int{"attacked": {35, 50}, "quiet": {1, 1}, "samples": {15, 25}} {
		if n := len(find(t, l, Query{Tenant: tenant}, 1000).Events); n < bounds[0] || n > bounds[1] {
			t.Errorf("tenant %s has %d events in files, want %v", tenant, n, bounds)
		}
	}
	equal(t, "what was refused after many samples", ids(find(t, l, Query{Tenant: "samples"}, 1).Events), "c9")
}

// Clients that are refused all the time fill what there is for them, not the room for those who are refused
// once: neither in the seconds nor in the files.
func TestFloodHidesNoVisitor(t *testing.T) {
	const visitors = 25
	dir := t.TempDir()
	l := open(t, Options{Dir: dir, MaxBytes: 64 << 20, Share: 200_000})
	record := func(client string, second int) {
		e := refused("shop", second)
		e.ID, e.Client = client, netip.MustParseAddr(client)
		l.Record(e)
	}
	for n := range visitors {
		for k := range 6 {
			for range 80 {
				record(fmt.Sprintf("198.51.100.%d", k), n)
			}
		}
		for again := range firstEvents { // some try again
			if again == 0 || n%2 == 0 {
				record(fmt.Sprintf("192.0.2.%d", n), n)
			}
		}
	}
	shut(t, l)
	check := func(l *Log, where string) {
		t.Helper()
		for n := range visitors {
			id := fmt.Sprintf("192.0.2.%d", n)
			if len(find(t, l, Query{Tenant: "shop", ID: id}, 10).Events) == 0 {
				t.Errorf("%s: the event of visitor %s is not kept", where, id)
			}
		}
	}
	check(l, "memory")
	l = open(t, Options{Dir: dir})
	check(l, "files")
	shut(t, l)
}

// Who comes often is counted by the minute, whatever the second.
func TestFirstEventsOfAClient(t *testing.T) {
	var g gate
	minute := epoch.Truncate(time.Minute)
	client := hashOf(netip.MustParseAddr("192.0.2.1"))
	for n := range 10 {
		equal(t, fmt.Sprintf("event %d", n), g.first(client, minute.Add(time.Duration(n)*time.Second)), n < firstEvents)
	}
	equal(t, "a minute later", g.first(client, minute.Add(time.Minute)), true)
}

func TestShareComesBackWithinADay(t *testing.T) {
	g := gate{room: 1000, at: epoch.UnixNano()}
	equal(t, "all of it", g.afford(1000, false, 1000, epoch), true)
	equal(t, "more", g.afford(1, false, 1000, epoch), false)
	equal(t, "after an hour", g.afford(40, false, 1000, epoch.Add(time.Hour)), true)
	equal(t, "twice", g.afford(40, false, 1000, epoch.Add(time.Hour)), false)
	equal(t, "a sample, half a day later", g.afford(40, true, 1000, epoch.Add(12*time.Hour)), false)
	equal(t, "a sample, a day later", g.afford(40, true, 1000, epoch.Add(25*time.Hour)), true)
	equal(t, "after a clock that went back", g.afford(40, false, 1000, epoch), true)
}

func TestEventsAreBounded(t *testing.T) {
	l := open(t, Options{})
	e := refused("shop", 1)
	e.Path = "/" + strings.Repeat("é", 5000)
	e.Method, e.RefusedBy = strings.Repeat("M", 5000), 942000 // which scores nothing
	for n := range 100 {
		r := e.Rules[0]
		r.ID, r.Score, r.Target, r.Data = 942000+n, n%3, strings.Repeat("t", 1000), strings.Repeat("ü", 200)
		r.Tags = make([]string, 100)
		e.Rules = append(e.Rules, r)
	}
	l.Record(e)
	got := find(t, l, Query{}, 1).Events[0]
	equal(t, "cut", got.Cut, true)
	equal(t, "rules", len(got.Rules), MaxRules)
	equal(t, "the one that scores most is kept", slices.ContainsFunc(got.Rules, func(r Rule) bool { return r.Score == 5 }), true)
	equal(t, "so is the one that refused on its own", slices.ContainsFunc(got.Rules, func(r Rule) bool { return r.ID == 942000 }), true)
	equal(t, "others that score nothing are", slices.ContainsFunc(got.Rules, func(r Rule) bool { return r.Score == 0 && r.ID != 942000 }), false)
	if len(got.Path) > maxPath || len(got.Path) < maxPath-1 || !strings.HasSuffix(got.Path, "é") {
		t.Errorf("the path has %d bytes", len(got.Path))
	}
	for _, r := range got.Rules {
		if len(r.Data) > maxData || len(r.Target) > maxText || len(r.Tags) > maxTags {
			t.Fatalf("%+v", r)
		}
	}
	if w := got.weight(); w > 32<<10 {
		t.Errorf("it weighs %d bytes", w)
	}
	whole := refused("shop", 2)
	l.Record(whole)
	equal(t, "an ordinary one is cut", whole.Cut, false)
}

func TestIdNamesItsNode(t *testing.T) {
	l := open(t, Options{Node: "edge-1"})
	for id, want := range map[string]string{
		"edge-1-0123456789abcdef": "",
		"edge-2-0123456789abcdef": "edge-2",
		"n1-0123456789abcdef":     "n1",
		"0123456789abcdef":        "",
		"-0123456789abcdef":       "",
		"n1-0123456789ABCDEF":     "",
		"n1-0123":                 "",
		"a-proxy's-own":           "",
	} {
		node, ok := l.Elsewhere(id)
		if !ok {
			node = ""
		}
		equal(t, id, node, want)
	}
}
