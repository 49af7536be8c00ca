package redispurge

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/cache"
	"gatehouse/internal/edgetest"
)

func tagPurge(tag string) cache.Purge {
	return cache.Purge{Tenant: "shop", Vhost: "a.test", Kind: cache.PurgeTag, Arg: tag}
}

func TestPurgeActsOnEveryNode(t *testing.T) {
	redis := edgetest.Redis(t)
	all := joinAll(t, redis, "n1", "n2", "n3")
	for _, s := range all {
		s.put(t, "a.test", "/news", "old", "news")
		s.put(t, "a.test", "/shop", "old", "shop")
	}
	_, answers := all[0].publish(t, tagPurge("news"))
	wantAll(t, answers, "n1", "n2", "n3")
	for _, s := range all {
		if s.page("a.test", "/news") != "" || s.page("a.test", "/shop") != "old" {
			t.Errorf("%s: news %q, shop %q", s.name, s.page("a.test", "/news"), s.page("a.test", "/shop"))
		}
		if s.metric(t, "gatehouse_cache_purges_followed") != 1 || s.metric(t, "gatehouse_cache_purge_losses_total") != 0 {
			t.Errorf("%s: metrics", s.name)
		}
	}
	// A tag may be any octets, and an entry that somebody else wrote counts as one of ours.
	all[1].put(t, "a.test", "/odd", "old", "\xff\"€")
	all[2].publish(t, tagPurge("\xff\"€"))
	if all[1].page("a.test", "/odd") != "" {
		t.Error("a tag that is no text was changed on its way")
	}
	redis.CLI("XADD", "edge:gatehouse:{purge}:stream", "*", "kind", "a later version's", "tenant", "shop", "vhost", "a.test")
	for _, s := range all {
		edgetest.WaitFor(t, "all of the vhost to be purged on "+s.name, func() bool { return s.page("a.test", "/shop") == "" })
	}
	edgetest.WaitFor(t, "it to be said", func() bool { return strings.Contains(all[0].log.String(), "of a kind that is not known here") })
	// Who leaves in order is not waited for.
	all[2].stop()
	_, answers = all[0].publish(t, tagPurge("news"))
	wantAll(t, answers, "n1", "n2")
}

// Three nodes, 300 purges: from the publication to the last node's answer.
func TestTimeUntilAllNodesHavePurged(t *testing.T) {
	all := joinAll(t, edgetest.Redis(t), "n1", "n2", "n3")
	const rounds = 300
	took := make([]time.Duration, rounds)
	for i := range took {
		begin := time.Now()
		_, answers := all[i%3].publish(t, tagPurge(fmt.Sprint(i)))
		took[i] = time.Since(begin)
		wantAll(t, answers, "n1", "n2", "n3")
	}
	slices.Sort(took)
	t.Logf("of %d: median %v, p99 %v, longest %v", rounds, took[rounds/2], took[rounds*99/100], took[rounds-1])
}

// cuts is how often TestNoPurgeIsLostByANodeThatIsCutOff cuts a node off.
const cuts = 1000

// Whatever is purged while a node is cut off, the node serves nothing of it once it has caught up.
func TestNoPurgeIsLostByANodeThatIsCutOff(t *testing.T) {
	rounds := cuts
	if testing.Short() {
		rounds = 20
	}
	const fleets = 4 // at a time: a round is mostly waiting
	for range fleets {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			cutOff(t, rounds/fleets)
		})
	}
}

func cutOff(t *testing.T, rounds int) {
	all := joinAll(t, edgetest.Redis(t), "n1", "n2", "n3")
	const pages = 8
	target := func(i int) string { return fmt.Sprintf("/p%d", i) }
	var version [pages]int // that each page has at the backend
	wantNew := func(s *site) {
		t.Helper()
		for i := range version {
			if got, want := s.page("a.test", target(i)), fmt.Sprint("v", version[i]); got != "" && got != want {
				t.Fatalf("%s serves %s of %s, the backend has %s", s.name, got, target(i), want)
			}
		}
	}
	begin := time.Now()
	for round := range rounds {
		for _, s := range all {
			for i := range version {
				if s.page("a.test", target(i)) == "" {
					s.put(t, "a.test", target(i), fmt.Sprint("v", version[i]), "all "+target(i))
				}
			}
		}
		out := all[rand.IntN(len(all))]
		here := all[(slices.Index(all, out)+1)%len(all)]
		out.gate.cut()
		id := ""
		for range 1 + rand.IntN(4) {
			i := rand.IntN(pages)
			p := tagPurge(target(i))
			switch rand.IntN(4) {
			case 0:
				p.Kind, p.Arg = cache.PurgeURL, "a.test"+target(i)
			case 1:
				p.Kind, p.Arg = cache.PurgePrefix, "a.test"+target(i)
			}
			version[i]++
			var err error
			if id, err = here.Publish(t.Context(), p, ""); err != nil {
				t.Fatal(err)
			}
		}
		if round%2 == 0 { // some while the node is away, some while it comes back
			edgetest.WaitFor(t, "those who are there to purge", func() bool { return reaches(here.Applied(), id) })
			wantNew(here)
		}
		out.gate.mend()
		edgetest.WaitFor(t, "the node to catch up", func() bool { return reaches(out.Applied(), id) })
		wantNew(out)
	}
	t.Logf("%d rounds in %v", rounds, time.Since(begin).Round(time.Second))
	for _, s := range all {
		if n := s.metric(t, "gatehouse_cache_purge_losses_total"); n != 0 {
			t.Errorf("%s purged everything %v times", s.name, n)
		}
	}
}

func TestNodeThatIsCutOffIsLate(t *testing.T) {
	all := joinAll(t, edgetest.Redis(t), "n1", "n2")
	all[1].put(t, "a.test", "/news", "old", "news")
	all[1].gate.cut()
	id, err := all[0].Publish(t.Context(), tagPurge("news"), "")
	if err != nil {
		t.Fatal(err)
	}
	answers := all[0].await(t, id, 300*time.Millisecond)
	wantAll(t, answers, "n1", "n2 late")
	if a := answers[1]; a.Silent > Forgotten {
		t.Errorf("silent for %v", a.Silent)
	}
	// What it is told itself acts there, and it says that it does so nowhere else.
	all[1].put(t, "a.test", "/own", "old", "own")
	if _, err := all[1].Publish(t.Context(), tagPurge("own"), ""); err == nil || all[1].page("a.test", "/own") != "" {
		t.Errorf("published while cut off: %v, served %q", err, all[1].page("a.test", "/own"))
	}
	all[1].gate.mend()
	wantAll(t, all[0].await(t, id, edgetest.Patience), "n1", "n2")
	if all[1].page("a.test", "/news") != "" {
		t.Error("it has caught up, and serves what was purged")
	}
}

// What a stream has lost, a node cannot know of: it purges everything.
func TestNodeThatMayHaveMissedPurgesPurgesEverything(t *testing.T) {
	const stream = "edge:gatehouse:{purge}:stream"
	for name, lose := range map[string]func(*edgetest.RedisServer, *site){
		"trimmed": func(r *edgetest.RedisServer, there *site) {
			for i := range 3 {
				id, err := there.Publish(t.Context(), tagPurge(fmt.Sprint(i)), "")
				if err != nil {
					t.Fatal(err)
				}
				edgetest.WaitFor(t, "who is there to apply it", func() bool { return reaches(there.Applied(), id) })
			}
			r.CLI("XTRIM", stream, "MAXLEN", "1")
		},
		"flushed":              func(r *edgetest.RedisServer, _ *site) { r.CLI("FLUSHALL") },
		"flushed, then purged": func(r *edgetest.RedisServer, there *site) { r.CLI("FLUSHALL"); there.publish(t, tagPurge("x")) },
		"restarted empty":      func(r *edgetest.RedisServer, _ *site) { r.Restart(true) },
	} {
		t.Run(name, func(t *testing.T) {
			redis := edgetest.Redis(t)
			all := joinAll(t, redis, "n1", "n2")
			for _, s := range all {
				s.put(t, "b.test", "/", "old", "")
			}
			all[1].gate.cut()
			lose(redis, all[0])
			all[1].gate.mend()
			edgetest.WaitFor(t, "everything to be purged", func() bool { return all[1].page("b.test", "/") == "" })
			edgetest.WaitFor(t, "the loss to be counted", func() bool { return all[1].metric(t, "gatehouse_cache_purge_losses_total") == 1 })
			if !strings.Contains(all[1].log.String(), "purges may have been missed") {
				t.Error("it does not say so")
			}
			// It goes on from there, and does not lose anything twice.
			all[1].put(t, "b.test", "/", "new", "")
			_, answers := all[0].publish(t, tagPurge("x"))
			wantAll(t, answers, "n1", "n2")
			if all[1].page("b.test", "/") != "new" {
				t.Error("purged twice")
			}
		})
	}
}

func TestRestartOfRedisWithItsDataLosesNothing(t *testing.T) {
	redis := edgetest.Redis(t)
	all := joinAll(t, redis, "n1", "n2")
	all[1].put(t, "a.test", "/news", "old", "news")
	all[1].put(t, "a.test", "/shop", "old", "shop")
	redis.Restart(false)
	var id string
	edgetest.WaitFor(t, "redis to take a purge", func() bool {
		var err error
		id, err = all[0].Publish(t.Context(), tagPurge("news"), "")
		return err == nil
	})
	wantAll(t, all[0].await(t, id, edgetest.Patience), "n1", "n2")
	if all[1].page("a.test", "/news") != "" || all[1].page("a.test", "/shop") != "old" {
		t.Errorf("news %q, shop %q", all[1].page("a.test", "/news"), all[1].page("a.test", "/shop"))
	}
}

// A failover to a replica that was behind: the purge that was published last is not in its stream, and one node has not read it.
func TestPurgeThatAFailoverLosesIsPublishedAnew(t *testing.T) {
	redis := edgetest.Redis(t)
	all := joinAll(t, redis, "n1", "n2")
	all[1].put(t, "a.test", "/news", "old", "news")
	all[1].gate.cut()
	id, err := all[0].Publish(t.Context(), tagPurge("news"), "")
	if err != nil {
		t.Fatal(err)
	}
	edgetest.WaitFor(t, "n1 to read it", func() bool { return reaches(all[0].Applied(), id) })
	redis.CLI("XDEL", "edge:gatehouse:{purge}:stream", id)
	all[1].gate.mend()
	edgetest.WaitFor(t, "n2 to purge it all the same", func() bool { return all[1].page("a.test", "/news") == "" })
	if all[1].metric(t, "gatehouse_cache_purge_losses_total") != 0 {
		t.Error("n2 purged everything: it did not need to")
	}
}

func TestStoreIsBlindWhileRedisIsAwayForLong(t *testing.T) {
	redis := edgetest.Redis(t)
	for name, away := range map[string]func(){"hung": redis.Suspend, "gone": redis.Stop} {
		t.Run(name, func(t *testing.T) {
			s := join(t, redis, "n1", func(_ *Options, n *Node) {
				if n != nil {
					n.blindAfter = 100 * time.Millisecond
				}
			})
			edgetest.WaitFor(t, "the node to read", func() bool { return s.Applied() != "" })
			away()
			edgetest.WaitFor(t, "the store to be blind", func() bool { return strings.Contains(s.log.String(), "are not heard of") })
			if s.metric(t, "gatehouse_cache_purges_followed") != 0 {
				t.Error("the metric says that it follows")
			}
			if name == "hung" {
				redis.Resume()
			} else {
				redis.Restart(false)
			}
			edgetest.WaitFor(t, "the store to see", func() bool { return strings.Contains(s.log.String(), "heard of again") })
			s.stop()
		})
	}
}

// A node reads on from where what it has restored was saved.
func TestNodeReadsOnFromWhereASnapshotWasTaken(t *testing.T) {
	redis := edgetest.Redis(t)
	first := joinAll(t, redis, "n1")[0]
	saved := first.Applied()
	first.publish(t, tagPurge("news"))
	for after, left := range map[string]string{saved: "old", "1-1": ""} {
		second := join(t, redis, "n2", func(o *Options, n *Node) { o.After = after })
		edgetest.WaitFor(t, "the node to read on", func() bool { return second.metric(t, "gatehouse_cache_purges_followed") == 1 })
		second.stop()
		third := join(t, redis, "n3", func(o *Options, n *Node) {
			if n == nil {
				o.After = after
				return
			}
			third := &site{store: o.Store.(*cache.Store)}
			third.put(t, "a.test", "/news", "old", "news")
			third.put(t, "a.test", "/shop", "old", "shop")
		})
		edgetest.WaitFor(t, "the node to be in step", func() bool { return third.metric(t, "gatehouse_cache_purges_followed") == 1 })
		if third.page("a.test", "/news") != "" || third.page("a.test", "/shop") != left {
			t.Errorf("after %s: news %q, shop %q, want %q", after, third.page("a.test", "/news"), third.page("a.test", "/shop"), left)
		}
		third.stop()
	}
}

// A fill that begins before a purge on another node, and ends after it, is not stored.
func TestPurgeOfAnotherNodeOvertakesAFill(t *testing.T) {
	all := joinAll(t, edgetest.Redis(t), "n1", "n2")
	req := request(all[1].store, "a.test", "/news")
	all[1].store.Lookup(req, &cache.Policy{})
	all[0].publish(t, tagPurge("news"))
	if err := all[1].answer(req, "old", "news"); cache.Refused(err) != "superseded" {
		t.Errorf("stored: %v", err)
	}
	if got := all[1].page("a.test", "/news"); got != "" {
		t.Errorf("served: %q", got)
	}
}

// Redis is full: purges cannot be published, and what is stored is not served for ever.
func TestRedisThatTakesNothing(t *testing.T) {
	redis := edgetest.Redis(t)
	s := joinAll(t, redis, "n1")[0]
	redis.CLI("CONFIG", "SET", "maxmemory", "1")
	s.put(t, "a.test", "/news", "old", "news")
	if _, err := s.Publish(t.Context(), tagPurge("news"), ""); err == nil || !strings.Contains(err.Error(), "on this node alone") || !strings.Contains(err.Error(), "OOM") {
		t.Errorf("%v", err)
	}
	if s.page("a.test", "/news") != "" {
		t.Error("it does not act here either")
	}
	edgetest.WaitFor(t, "the refusal to be counted", func() bool { return s.metric(t, "gatehouse_cache_purge_acks_refused_total") > 0 })
	if s.metric(t, "gatehouse_cache_purges_followed") != 1 {
		t.Error("a node that can read does not read")
	}
}

func TestAwaitWithoutRedisSaysWhy(t *testing.T) {
	redis := edgetest.Redis(t)
	s := joinAll(t, redis, "n1")[0]
	s.gate.cut()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if answers, err := s.Await(ctx, "1-1"); err == nil {
		t.Errorf("%v", answers)
	}
	if _, err := New(Options{}); err == nil {
		t.Error("a node of nothing")
	}
}

func TestProcessOfTheSameNameTakesOver(t *testing.T) {
	redis := edgetest.Redis(t)
	redis.CLI("SADD", "edge:gatehouse:{purge}:nodes", "n1/crashed", "n2/alive")
	redis.CLI("SET", "edge:gatehouse:{purge}:node:n1/crashed", "1-1", "EX", "100")
	redis.CLI("SET", "edge:gatehouse:{purge}:node:n2/alive", "9999999999999-0", "EX", "100")
	s := joinAll(t, redis, "n1")[0]
	_, answers := s.publish(t, tagPurge("x"))
	wantAll(t, answers, "n1", "n2")
	redis.CLI("DEL", "edge:gatehouse:{purge}:node:n2/alive") // its life is over
	_, answers = s.publish(t, tagPurge("x"))
	wantAll(t, answers, "n1")
}

// A purge that does not come back to who published it is not in the stream any more.
func TestPurgeThatDoesNotComeBackIsPublishedAnew(t *testing.T) {
	all := joinAll(t, edgetest.Redis(t), "n1", "n2")
	all[0].publish(t, tagPurge("news"))
	edgetest.WaitFor(t, "it to come back", func() bool {
		p := &all[0].published
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.list) == 1 && p.list[0].seen
	})
	all[1].put(t, "a.test", "/news", "old", "news")
	all[0].published.mu.Lock()
	all[0].published.list[0].seen = false
	all[0].published.list[0].at = time.Now().Add(-2 * unseenAfter)
	all[0].published.mu.Unlock()
	edgetest.WaitFor(t, "n2 to purge it", func() bool { return all[1].page("a.test", "/news") == "" })
	edgetest.WaitFor(t, "it to be said", func() bool { return strings.Contains(all[0].log.String(), "published anew") })
}

// What another process has stored is good from where this one began, if it had come that far.
func TestSinceAnotherProcessHadComeThatFar(t *testing.T) {
	redis := edgetest.Redis(t)
	first := joinAll(t, redis, "n1")[0]
	before := first.Applied()
	second := joinAll(t, redis, "n1")[0]
	edgetest.WaitFor(t, "the first to come that far", func() bool { return second.Since(first.Applied()) > 0 })
	if second.Since(before) != 0 || second.Since("") != 0 {
		t.Errorf("since %d and %d", second.Since(before), second.Since(""))
	}
	was := second.Since(first.Applied())
	redis.CLI("DEL", "edge:gatehouse:{purge}:stream") // it begins anew, and knows nothing of before
	edgetest.WaitFor(t, "the second to begin anew", func() bool { return second.Since(second.Applied()) > was })
}

// A Redis that has lost its data does not know of a node that is cut off: that one still serves what is purged, and is called late.
func TestNodeThatRedisHasForgottenIsWaitedFor(t *testing.T) {
	redis := edgetest.Redis(t)
	all := joinAll(t, redis, "n1", "n2", "n3")
	for _, s := range all {
		edgetest.WaitFor(t, s.name+" to know the others", func() bool {
			s.peers.mu.Lock()
			defer s.peers.mu.Unlock()
			return len(s.peers.seen) == 3
		})
	}
	all[1].gate.cut()
	redis.CLI("FLUSHALL")
	id, err := all[0].Publish(t.Context(), tagPurge("x"), "")
	if err != nil {
		t.Fatal(err)
	}
	var answers []Answer
	edgetest.WaitFor(t, "n3 to be back", func() bool {
		answers = all[0].await(t, id, 2*time.Second)
		return len(answers) == 3 && answers[2].Applied
	})
	wantAll(t, answers, "n1", "n2 late", "n3")
	all[1].gate.mend()
	wantAll(t, all[0].await(t, id, edgetest.Patience), "n1", "n2", "n3")
}
