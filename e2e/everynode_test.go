package e2e

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// A tenant's change acts on every node, whoever makes it and with what, and no
// request of another tenant feels it. The times are logged; docs/performance.md has them.
func TestChangeOfATenantActsOnEveryNodeAndOnNobodyElse(t *testing.T) {
	t.Parallel()
	b, redis := edgetest.NewBackend(t), edgetest.Redis(t)
	for _, tenant := range []string{"shop", "blog"} {
		redis.CLI("rpush", "frontend:"+tenant+".test", tenant, b.URL)
		redis.CLI("set", "tenant:"+tenant, `{"waf": {"mode": "block"}}`)
	}
	nodes := make([]*node, 3)
	for i := range nodes {
		nodes[i] = prepare(t, "routes: "+redis.URL(), nil)
		nodes[i].environ = []string{fmt.Sprintf("GATEHOUSE_NODE=n%d", i+1)}
		nodes[i].start()
	}
	const falseAlarm = "/upload?icon=format-list-bulleted-square.svg"
	for _, n := range nodes {
		edgetest.WaitFor(t, "both sites", func() bool { return n.status("shop.test", falseAlarm) == 403 && n.status("blog.test", attack) == 403 })
	}

	var others, wrong atomic.Int64
	end := make(chan struct{})
	var streams sync.WaitGroup
	for _, n := range nodes {
		streams.Go(func() { n.watch("blog.test", falseAlarm, end, &others, &wrong) })
	}

	exclusion := `[{"rules": [932120], "target": "ARGS:icon", "paths": ["/upload"]}]`
	cli := func(doc string) func() { return func() { redis.CLI("set", "tenant:shop", doc) } }
	verb := func(n *node, setting string) func() { return func() { n.must("tenant", "set", "shop", setting) } }
	var all []time.Duration
	for _, change := range []struct {
		name   string
		make   func()
		status int // of shop's false alarm, afterwards
	}{
		{"redis-cli: an exclusion", cli(`{"waf": {"mode": "block", "exclusions": ` + exclusion + `}}`), 200},
		{"redis-cli: the exclusion goes", cli(`{"waf": {"mode": "block"}}`), 403},
		{"redis-cli: mode detect", cli(`{"waf": {"mode": "detect"}}`), 200},
		{"redis-cli: mode block", cli(`{"waf": {"mode": "block"}}`), 403},
		{"tenant set on n1: an exclusion", verb(nodes[0], "waf.exclusions="+exclusion), 200},
		{"tenant set on n2: the exclusion goes", verb(nodes[1], "waf.exclusions="), 403},
		{"tenant set on n3: mode detect", verb(nodes[2], "waf.mode=detect"), 200},
		{"tenant set on n1: mode block", verb(nodes[0], "waf.mode=block"), 403},
	} {
		// The clock runs from before the command, so its own time is in it.
		begin := time.Now()
		took := make([]time.Duration, len(nodes))
		var waits sync.WaitGroup
		for i, n := range nodes {
			waits.Go(func() { took[i] = n.until("shop.test", falseAlarm, change.status, begin) })
		}
		change.make()
		waits.Wait()
		t.Logf("%-38s n1 %4d ms, n2 %4d ms, n3 %4d ms", change.name, took[0].Milliseconds(), took[1].Milliseconds(), took[2].Milliseconds())
		if slices.Contains(took, 0) {
			t.Fatalf("%s: it does not act on every node", change.name)
		}
		all = append(all, took...)
	}
	close(end)
	streams.Wait()
	slices.Sort(all)
	t.Logf("of %d: median %v, longest %v; %d requests of another tenant meanwhile", len(all), all[len(all)/2].Round(time.Millisecond), all[len(all)-1].Round(time.Millisecond), others.Load())
	if others.Load() < int64(10*len(nodes)) || wrong.Load() > 0 {
		t.Errorf("of %d requests of another tenant %d were answered otherwise", others.Load(), wrong.Load())
	}
}

// until asks until the answer has a status, and says how long after begin that was;
// 0: it never was.
func (n *node) until(host, target string, status int, begin time.Time) time.Duration {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for time.Since(begin) < edgetest.Patience {
		if n.status(host, target) == status {
			return time.Since(begin)
		}
		<-tick.C
	}
	return 0
}

// watch asks for a harmless page, for what the rules take for an attack, and for an
// attack, in turn until end, and counts what is answered otherwise than before.
func (n *node) watch(host, falseAlarm string, end <-chan struct{}, asked, wrong *atomic.Int64) {
	client := &http.Client{Transport: &http.Transport{}, Timeout: edgetest.Patience}
	defer client.CloseIdleConnections()
	want := []struct {
		target string
		status int
	}{{"/", 200}, {falseAlarm, 403}, {attack, 403}}
	for i := 0; ; i++ {
		select {
		case <-end:
			return
		default:
		}
		page := want[i%len(want)]
		asked.Add(1)
		req, err := http.NewRequest(http.MethodGet, "http://"+n.http+page.target, nil)
		if err == nil {
			req.Host = host
			var resp *http.Response
			if resp, err = client.Do(req); err == nil {
				_, err = io.Copy(io.Discard, resp.Body)
				if resp.Body.Close(); err == nil && resp.StatusCode == page.status {
					continue
				}
			}
		}
		wrong.Add(1)
		n.t.Errorf("%s%s: want %d, %v", host, page.target, page.status, err)
	}
}
