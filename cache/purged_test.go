package cache

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

func purgeTag(s *Store, vhost, tag string) {
	s.Purge(Purge{Tenant: "shop", Vhost: vhost, Kind: PurgeTag, Arg: tag})
}

// tagged is a page of a vhost of the tenant shop.
func tagged(vhost, target string, tags ...string) page {
	return page{tenant: "shop", vhost: vhost, scheme: "https", host: vhost + ".test", target: target, response: []string{"Surrogate-Key", strings.Join(tags, " ")}}
}

// Purges that are too many to be told apart cost a vhost what it stored before them, and nobody else.
func TestTooManyPurgesNeverPurgeTooLittle(t *testing.T) {
	for _, kind := range []PurgeKind{PurgeTag, PurgeURL, PurgePrefix} {
		t.Run(string(kind), func(t *testing.T) {
			s, _ := newStore(t, MinMaxBytes)
			s.lurker.end() // what it would forget is not what this is about
			first, bystander, other := tagged("a", "/first", "first"), tagged("a", "/bystander"), tagged("b", "/other", "other")
			for _, p := range []page{first, bystander, other} {
				p.store(t, s)
			}
			purge := func(name string) {
				arg := name
				if kind != PurgeTag {
					arg = "a.test/" + name
				}
				s.Purge(Purge{Tenant: "shop", Vhost: "a", Kind: kind, Arg: arg})
			}
			purge("first")
			most := maxPurged
			if kind == PurgePrefix {
				most = maxPrefixes
			}
			for i := range most / 2 {
				purge(fmt.Sprint("some ", i))
			}
			if bystander.forward(s) != "hit" { // and so it is checked
				t.Error("while there is room for all purges, another page is gone")
			}
			late := tagged("a", "/late", "late")
			late.store(t, s)
			for i := range most {
				purge(fmt.Sprint("more ", i))
			}
			purge("late")
			v := s.Vhost("shop", "a")
			if n := len(v.purges.by) + len(v.purges.prefixes); n > most {
				t.Errorf("%d are remembered, want %d at most", n, most)
			}
			if v.purges.floor.hard == 0 {
				t.Fatal("nothing was merged")
			}
			for name, p := range map[string]page{"the first": first, "the last": late} {
				if got := p.forward(s); got != ForwardURIMiss {
					t.Errorf("%s that was purged: %s", name, got)
				}
			}
			if got := other.forward(s); got != "hit" {
				t.Errorf("another vhost's: %s", got)
			}
			anew := tagged("a", "/anew")
			anew.store(t, s)
			if got := anew.forward(s); got != "hit" {
				t.Errorf("stored since: %s", got)
			}
		})
	}
}

func TestTooManyTagsCountAsAll(t *testing.T) {
	s, _ := newStore(t, 16<<20)
	many := func(n int) (tags []string) {
		for i := range n {
			tags = append(tags, fmt.Sprint("tag-", i))
		}
		return tags
	}
	within, beyond := tagged("a", "/within", many(maxTags)...), tagged("a", "/beyond", many(maxTags+1)...)
	long, none := tagged("a", "/long", strings.Repeat("x", maxTagBytes+1)), tagged("a", "/none")
	for _, p := range []page{within, beyond, long, none} {
		p.store(t, s)
	}
	purgeTag(s, "a", "another")
	for want, list := range map[string][]page{"hit": {within, none}, ForwardURIMiss: {beyond, long}} {
		for _, p := range list {
			if got := p.forward(s); got != want {
				t.Errorf("%s: %s, want %s", p.target, got, want)
			}
		}
	}
	purgeTag(s, "a", "tag-127")
	if within.forward(s) == "hit" {
		t.Error("the last of its tags is purged, and it is a hit")
	}
	if bounded := tagsOf(head("Surrogate-Key", strings.Join(many(maxTags), " "), "Cache-Groups", `"g"`), nil); !isEveryTag(bounded) {
		t.Error("tags and groups are bounded each for itself")
	}
}

func TestTagsAreReadAsTheirFieldsHaveThem(t *testing.T) {
	tag := func(texts ...string) (out []uint64) {
		for _, text := range texts {
			out = append(out, hashOf(nameTag, text, ""))
		}
		return out
	}
	key := get("/").Key
	group := func(texts ...string) (out []uint64) {
		for _, text := range texts {
			out = append(out, hashOf(nameGroup, text, ""), hashOf(nameGroup, text, "https://www.shop.test"))
		}
		return out
	}
	for name, tt := range map[string]struct {
		fields []string
		want   []uint64
	}{
		"none":            {nil, nil},
		"empty":           {[]string{"Surrogate-Key", " ", "Cache-Tag", " , ,"}, nil},
		"by space":        {[]string{"Surrogate-Key", "a,b  c"}, tag("a,b", "c")},
		"by comma":        {[]string{"Cache-Tag", "a b , c,"}, tag("a b", "c")},
		"lines":           {[]string{"xkey", "a", "xkey", "b\tc"}, tag("a", "b", "c")},
		"each once":       {[]string{"xkey", "a", "Cache-Tag", "a", "Surrogate-Key", "a a"}, tag("a")},
		"groups":          {[]string{"Cache-Groups", `"a", "b";x=1`, "Cache-Groups", `"c"`}, group("a", "b", "c")},
		"groups and tags": {[]string{"Cache-Groups", `"a"`, "xkey", "a"}, append(tag("a"), group("a")...)},
		"no list":         {[]string{"Cache-Groups", `"a`}, nil},
		"no strings":      {[]string{"Cache-Groups", `"a", b`}, nil},
		"inner list":      {[]string{"Cache-Groups", `("a" "b")`}, nil},
	} {
		got := map[uint64]bool{}
		tags := tagsOf(head(tt.fields...), key)
		for _, hash := range tags {
			got[hash] = true
		}
		if len(got) != len(tt.want) || len(tags) != len(tt.want) || isEveryTag(tags) {
			t.Errorf("%s: %d hashes, %d different, want %d", name, len(tags), len(got), len(tt.want))
		}
		for _, hash := range tt.want {
			if !got[hash] {
				t.Errorf("%s: one is missing", name)
			}
		}
	}
	if got := InvalidatedGroups(head("Cache-Group-Invalidation", `"a", "b c"`)); fmt.Sprint(got) != "[a b c]" || len(got) != 2 {
		t.Errorf("invalidated groups: %q", got)
	}
}

func TestMemoryOfPurgedPagesComesBack(t *testing.T) {
	s, _ := newStore(t, 64<<20)
	for i := range 3000 {
		tagged("a", fmt.Sprint("/", i), fmt.Sprint("third-", i%3), "all").store(t, s)
	}
	kept := tagged("b", "/kept", "all")
	kept.store(t, s)
	held := s.Stats()
	purgeTag(s, "a", "third-0")
	s.Purge(Purge{Tenant: "shop", Vhost: "a", Kind: PurgeTag, Arg: "third-1", Soft: true})
	edgetest.WaitFor(t, "a third to leave", func() bool { return s.Stats().Entries == held.Entries-1000 })
	if now := s.Stats(); now.Evictions != held.Evictions || now.Bytes >= held.Bytes {
		t.Errorf("before %+v, now %+v", held, now)
	}
	s.Invalidate(tagged("a", "/2").asked(s).Key)
	purgeTag(s, "a", "all")
	edgetest.WaitFor(t, "the vhost to be empty", func() bool { return s.Stats().Entries == 1 })
	if kept.forward(s) != "hit" {
		t.Error("another vhost's is gone")
	}
}

// What was compared with all that is stored need not be remembered, but acts as before.
func TestPurgesThatWereLookedThroughAreForgotten(t *testing.T) {
	s, _ := newStore(t, 64<<20)
	s.lurker.end()
	alive, soft := tagged("a", "/alive", "x"), tagged("a", "/soft", "soft")
	for _, p := range []page{alive, soft} {
		p.store(t, s)
	}
	under := tagged("a", "/under-way")
	req := under.asked(s)
	s.Lookup(req, &Policy{})
	for i := range 100 {
		purgeTag(s, "a", fmt.Sprint(i))
	}
	s.Purge(Purge{Tenant: "shop", Kind: PurgeTag, Arg: "soft", Soft: true})
	v := s.Vhost("shop", "a")
	look := func() {
		s.lurker = lurker{}
		s.lurker.start(func() {})
		s.lurker.looks = nil
		if whole, _, _ := s.look(); !whole {
			t.Fatal("the look is not whole")
		}
	}
	look()
	if len(v.purges.by) != 100 {
		t.Errorf("%d of 100 young purges are remembered", len(v.purges.by))
	}
	resp := answer(200, fresh...)
	if err := s.Put(NewEntry(req, resp, Decide(req, resp, &Policy{}), nil, 100, []byte("x"), "")); err != nil {
		t.Errorf("a request that was under way is refused for purges of others' tags: %v", err)
	}
	s.settle(s.seq.Load(), s.seq.Load())
	if len(v.purges.by)+len(v.tenant.purges.by) != 0 || v.purges.floor.hard == 0 {
		t.Errorf("%d and %d are left", len(v.purges.by), len(v.tenant.purges.by))
	}
	if alive.forward(s) != "hit" || soft.forward(s) != ForwardStale {
		t.Errorf("alive: %s, soft: %s", alive.forward(s), soft.forward(s))
	}
	var l lurker
	begin := time.Now()
	if l.oldest(glance{begin, 1}) != 0 || l.oldest(glance{begin.Add(settleAfter / 2), 2}) != 0 || l.oldest(glance{begin.Add(settleAfter), 3}) != 1 ||
		l.oldest(glance{begin.Add(2 * settleAfter), 4}) != 3 || len(l.looks) != 2 {
		t.Errorf("looks: %v", l.looks)
	}
}

// Pages have the number of their last purge in them: once a purge has returned, nobody gets a page with a smaller one, whatever
// fills, purges and looks through the store run at the same time.
func TestNoPurgeIsLostAmongFillsAndOthers(t *testing.T) {
	s, _ := newStore(t, 8<<20)
	const pagesEach, purgers = 40, 3
	var backend, purged [purgers]atomic.Int64 // the number that the backend has, and that of the last purge
	var done atomic.Bool
	var readers, writers sync.WaitGroup
	kinds := []Purge{
		{Tenant: "shop", Vhost: "v0", Kind: PurgeTag, Arg: "t"},
		{Tenant: "shop", Vhost: "v1", Kind: PurgeHost, Arg: "v1.test"},
		{Tenant: "shop", Vhost: "v2", Kind: PurgePrefix, Arg: "v2.test/"},
	}
	for range 3 {
		readers.Go(func() {
			for !done.Load() {
				of := rand.IntN(purgers)
				p := tagged(fmt.Sprint("v", of), fmt.Sprint("/", rand.IntN(pagesEach)), "t")
				least := purged[of].Load()
				req := p.asked(s)
				l := s.Lookup(req, &Policy{})
				if l.Entry != nil {
					var got int64
					if _, err := fmt.Sscan(string(l.Entry.Body), &got); err != nil || got < least {
						t.Errorf("v%d: got %d after purge %d", of, got, least)
						return
					}
					continue
				}
				body := []byte(fmt.Sprint(backend[of].Load()))
				resp := answer(200, append([]string{"Cache-Control", "max-age=60"}, p.response...)...)
				_ = s.Put(NewEntry(req, resp, Decide(req, resp, &Policy{}), nil, 100, body, "")) // or it is superseded
			}
		})
	}
	rounds := 3000
	if testing.Short() {
		rounds = 300
	}
	for of := range purgers {
		writers.Go(func() {
			for i := range rounds {
				p := kinds[of]
				if i%7 == 0 {
					p = Purge{Tenant: "shop", Kind: PurgeAll}
				}
				backend[of].Store(int64(i))
				s.Purge(p)
				purged[of].Store(int64(i))
			}
		})
	}
	writers.Wait()
	done.Store(true)
	readers.Wait()
}

func TestPurgeTakesNoLongerForMore(t *testing.T) {
	for _, n := range []int{100, 20_000} {
		s, _ := newStore(t, 64<<20)
		for i := range n {
			tagged("a", fmt.Sprint("/", i), "all").store(t, s)
		}
		begin := time.Now()
		for range 100 {
			purgeTag(s, "a", "all")
		}
		t.Logf("%d pages: %v per purge", n, time.Since(begin)/100)
	}
}

// BenchmarkPurge purges a tag that a million pages have. It takes some 700 MB.
func BenchmarkPurge(b *testing.B) {
	s, _ := newStore(b, 2<<30)
	for i := range 1_000_000 {
		p := tagged("a", fmt.Sprint("/", i), "all")
		req, resp := p.asked(s), answer(200, append([]string{"Cache-Control", "max-age=60"}, p.response...)...)
		s.Lookup(req, &Policy{})
		if err := s.Put(NewEntry(req, resp, Decide(req, resp, &Policy{}), nil, 100, []byte("x"), "")); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	for b.Loop() {
		purgeTag(s, "a", "all")
	}
	b.StopTimer()
	begin := time.Now()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for s.Stats().Entries > 0 && time.Since(begin) < 3*time.Minute { // longer than tests wait
		<-tick.C
	}
	b.ReportMetric(time.Since(begin).Seconds(), "s-until-empty")
}
