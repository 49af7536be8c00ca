package health

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var errSick = errors.New("sick")

func target(url string) Target {
	return Target{Vhost: "a.test", URL: url, Path: "/", Status: "200", Interval: 3 * time.Second, Timeout: time.Second, Rise: 2, Fall: 3}
}

// probing runs a prober over backends that are sick or not.
type probing struct {
	*Prober
	mu    sync.Mutex
	sick  map[string]bool
	times map[string][]time.Time
	down  map[string]bool
}

// probe runs test with one in a bubble, and ends it after that.
func probe(t *testing.T, test func(t *testing.T, p *probing)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &probing{sick: map[string]bool{}, times: map[string][]time.Time{}, down: map[string]bool{}}
		p.Prober = NewProber(ProberOptions{
			Probe: func(_ context.Context, t Target) error {
				p.mu.Lock()
				defer p.mu.Unlock()
				p.times[t.URL] = append(p.times[t.URL], time.Now())
				if p.sick[t.URL] {
					return errSick
				}
				return nil
			},
			Found: func(t Target, f *Finding) { p.down[t.URL] = f != nil }, // with the prober's lock
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- p.Run(ctx) }()
		test(t, p)
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func (p *probing) set(url string, sick bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sick[url] = sick
}

func (p *probing) checks(url string) []time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.times[url]
}

func (p *probing) isDown(url string) bool {
	p.Prober.mu.Lock()
	defer p.Prober.mu.Unlock()
	return p.down[url]
}

func TestRiseAndFall(t *testing.T) {
	probe(t, func(t *testing.T, p *probing) {
		p.Lead(true)
		p.Add(target("http://a"))
		p.Add(target("http://a")) // once
		time.Sleep(3 * time.Second)
		// after waits for n more checks.
		after := func(n int) bool {
			time.Sleep(time.Duration(n) * 3 * time.Second)
			synctest.Wait()
			return p.isDown("http://a")
		}
		if len(p.checks("http://a")) == 0 || after(0) {
			t.Fatal("it is not checked within an interval, or down")
		}
		p.set("http://a", true)
		if after(2) || !after(1) || p.Down() != 1 {
			t.Error("after two failures it is down, or after three it is not")
		}
		p.set("http://a", false)
		if !after(1) || after(1) {
			t.Error("after one success it is up, or after two it is not")
		}
		p.set("http://a", true)
		after(2)
		p.set("http://a", false)
		after(1)
		p.set("http://a", true)
		if after(2) {
			t.Error("failures count that were not in a row")
		}
		times := p.checks("http://a")
		for i := range times[1:] {
			if d := times[i+1].Sub(times[i]); d != 3*time.Second {
				t.Fatalf("checks %v apart", d)
			}
		}
		p.Remove(target("http://a"))
		before := len(p.checks("http://a"))
		if after(3); len(p.checks("http://a")) != before {
			t.Error("it is checked on after it was removed")
		}
	})
}

// Thousands of backends that hang take no more than so many checks at a time, and those of a node that does not lead none.
func TestChecksAtATimeAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most, all atomic.Int64
		p := NewProber(ProberOptions{
			Probe: func(ctx context.Context, _ Target) error {
				most.Store(max(most.Load(), now.Add(1)))
				defer now.Add(-1)
				all.Add(1)
				<-ctx.Done()
				return ctx.Err()
			},
			Found: func(Target, *Finding) {},
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- p.Run(ctx) }()
		for i := range 2000 {
			one := target(fmt.Sprint("http://", i))
			one.Vhost = one.URL // each of another owner
			p.Add(one)
		}
		time.Sleep(10 * time.Second)
		if all.Load() != 0 {
			t.Errorf("%d checks of a node that does not lead", all.Load())
		}
		p.Lead(true)
		time.Sleep(30 * time.Second)
		if most.Load() != probesAtATime || all.Load() < 29*probesAtATime {
			t.Errorf("%d checks at a time, %d in all", most.Load(), all.Load())
		}
		p.Lead(false)
		time.Sleep(2 * time.Second)
		before := all.Load()
		time.Sleep(10 * time.Second)
		if all.Load() != before {
			t.Error("it goes on checking")
		}
		cancel()
		<-ended
	})
}

// Whose backends hang has half of the slots at most, and less beside another: checks of whoever else has some come when they are due.
func TestHangingBackendsOfSomeTenantsDelayNoOthersChecks(t *testing.T) {
	t.Parallel()
	for _, hanging := range [][]string{{"a"}, {"a", "c"}, {"a", "c", "d", "e", "f"}} {
		synctest.Test(t, func(t *testing.T) {
			now, most := map[string]int{}, map[string]int{}
			var mu sync.Mutex
			var times []time.Time
			p := NewProber(ProberOptions{
				Probe: func(ctx context.Context, one Target) error {
					mu.Lock()
					if now[one.Tenant]++; now[one.Tenant] > most[one.Tenant] {
						most[one.Tenant] = now[one.Tenant]
					}
					if one.Tenant == "b" {
						times = append(times, time.Now())
					}
					mu.Unlock()
					if one.Tenant != "b" {
						<-ctx.Done()
					}
					mu.Lock()
					now[one.Tenant]--
					mu.Unlock()
					return ctx.Err()
				},
				Found: func(Target, *Finding) {},
			})
			p.Lead(true)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() { ended <- p.Run(ctx) }()
			of := func(tenant, url string) Target {
				one := target(url)
				one.Tenant, one.Interval = tenant, time.Second
				return one
			}
			for _, tenant := range hanging {
				for i := range 1000 {
					p.Add(of(tenant, fmt.Sprint("http://", tenant, i)))
				}
			}
			time.Sleep(5 * time.Second)
			mine := of("b", "http://b")
			p.Add(mine)
			begin := time.Now()
			time.Sleep(40 * time.Second)
			cancel()
			<-ended
			for _, at := range times {
				if d := at.Sub(begin); d > 1100*time.Millisecond {
					t.Fatalf("beside %v: %v between two checks", hanging, d)
				}
				begin = at
			}
			if len(times) < 38 {
				t.Errorf("beside %v: %d checks in 40 s", hanging, len(times))
			}
			for tenant, n := range most {
				if n > probesAtATime/2 || tenant != "b" && n < probesAtATime/(len(hanging)+1)-1 {
					t.Errorf("beside %v: %d checks of %s at a time", hanging, n, tenant)
				}
			}
		})
	}
}

// What waits for a slot and is removed, or put off, is not checked, and lanes of nothing are not kept.
func TestLanesEndWithTheirTargets(t *testing.T) {
	t.Parallel()
	probe(t, func(t *testing.T, p *probing) {
		var all []Target
		for i := range 50 {
			one := target(fmt.Sprint("http://", i))
			one.Vhost = fmt.Sprint(i%7, ".test")
			all = append(all, one)
			p.Add(one)
		}
		p.Lead(true)
		time.Sleep(4 * time.Second)
		p.Lead(false)
		time.Sleep(20 * time.Second)
		p.Lead(true)
		for _, one := range all[:25] {
			p.Remove(one)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		for i, one := range all {
			if n := len(p.checks(one.URL)); i < 25 && n > 2 || i >= 25 && n < 4 {
				t.Errorf("%d: %d checks", i, n)
			}
		}
		for _, one := range all[25:] {
			p.Remove(one)
		}
		p.Prober.mu.Lock()
		defer p.Prober.mu.Unlock()
		if l := &p.lanes; len(l.byOwner) != 0 || len(l.upcoming) != 0 || l.due.Len() != 0 || l.running != 0 {
			t.Errorf("%d lanes, %d upcoming, %d due, %d under way", len(l.byOwner), len(l.upcoming), l.due.Len(), l.running)
		}
	})
}

// What one node finds another acts by, and goes on from when it is its turn.
func TestFindingsAreTakenOver(t *testing.T) {
	probe(t, func(t *testing.T, p *probing) {
		id := target("http://a").place().String()
		p.Learn(map[string]Finding{id: {Reason: "sick"}})
		p.Add(target("http://a"))
		p.Add(target("http://b"))
		if !p.isDown("http://a") || p.isDown("http://b") || len(p.Untold()) != 0 {
			t.Error("what was learned before it was added does not count")
		}
		p.Learn(nil)
		if p.isDown("http://a") {
			t.Error("it is down on")
		}
		p.Learn(map[string]Finding{id: {Reason: "sick"}})
		p.Lead(true)
		if !p.isDown("http://a") {
			t.Error("who begins to lead forgets")
		}
		p.set("http://a", true)
		p.Learn(nil) // Redis was emptied
		if untold := p.Untold(); untold[id] == nil || !p.isDown("http://a") {
			t.Errorf("it is not told anew: %v", untold)
		}
		p.Tell(map[string]*Finding{id: {Reason: "sick"}}) // that failed
		p.set("http://a", false)
		time.Sleep(9 * time.Second)
		synctest.Wait()
		if untold := p.Untold(); len(untold) != 1 || untold[id] != nil || p.isDown("http://a") {
			t.Errorf("that it is up is not told: %v", untold)
		}
	})
}

// changed is a target after a change of its settings.
func changed(timeout time.Duration) Target {
	out := target("http://a")
	out.Timeout = timeout
	return out
}

// Whoever changes how a backend is checked brings it neither back nor down: that takes as many checks by the new settings as they say.
func TestAChangeOfSettingsForgetsNothing(t *testing.T) {
	t.Parallel()
	probe(t, func(t *testing.T, p *probing) {
		place := target("http://a").place().String()
		p.Lead(true)
		p.set("http://a", true)
		p.Add(target("http://a"))
		time.Sleep(12 * time.Second)
		synctest.Wait()
		if untold := p.Untold(); untold[place] == nil {
			t.Fatalf("it is not down: %v", untold)
		}
		p.Add(changed(time.Minute))
		p.Remove(target("http://a"))
		p.set("http://a", false)
		if untold := p.Untold(); p.Down() != 1 || !p.isDown("http://a") || len(untold) != 0 {
			t.Errorf("after a change %d backends are down, told is %v", p.Down(), untold)
		}
		p.Learn(map[string]Finding{place: {Told: time.Now()}})
		before := len(p.checks("http://a"))
		for p.Down() > 0 {
			time.Sleep(time.Second)
			synctest.Wait()
		}
		if n := len(p.checks("http://a")) - before; n != 2 {
			t.Errorf("it is up after %d checks, want 2", n)
		}
		p.set("http://a", true)
		p.Add(changed(time.Hour))
		p.Remove(changed(time.Minute))
		before = len(p.checks("http://a"))
		for p.Down() == 0 {
			time.Sleep(time.Second)
			synctest.Wait()
		}
		if n := len(p.checks("http://a")) - before; n != 3 {
			t.Errorf("it is down after %d checks, want 3", n)
		}
		p.Remove(changed(time.Hour))
		if untold := p.Untold(); len(untold) != 1 || untold[place] != nil || p.Down() != 0 {
			t.Errorf("removed, %d are down, told is %v", p.Down(), untold)
		}
	})
}

// A node that follows another keeps what that has found while settings change, whichever of the two hears of them first.
func TestFollowersKeepFindingsWhenSettingsChange(t *testing.T) {
	t.Parallel()
	probe(t, func(t *testing.T, p *probing) {
		down := map[string]Finding{target("http://a").place().String(): {Reason: "sick"}}
		p.Add(target("http://a"))
		p.Learn(down)
		p.Add(changed(time.Minute))
		p.Remove(target("http://a"))
		for range 2 {
			if p.Down() != 1 || !p.isDown("http://a") {
				t.Error("it is up")
			}
			p.Learn(down)
		}
	})
}

// Settings that change more often than a backend is checked do not put its checks off.
func TestChangesOfSettingsDoNotPutChecksOff(t *testing.T) {
	t.Parallel()
	probe(t, func(t *testing.T, p *probing) {
		p.Lead(true)
		last := target("http://a")
		p.Add(last)
		timeout := last.Timeout
		for range 30 {
			time.Sleep(100 * time.Millisecond)
			var next Target
			for { // one whose first check comes later than the next change
				timeout += time.Second
				next = changed(timeout)
				if (&probed{Target: next, id: next.id()}).offset() > time.Second {
					break
				}
			}
			p.Add(next)
			p.Remove(last)
			last = next
		}
		synctest.Wait()
		if n := len(p.checks("http://a")); n == 0 {
			t.Error("it is not checked within an interval")
		}
	})
}

func TestDigestIsThatOfTheTargets(t *testing.T) {
	one, other := NewProber(ProberOptions{Found: func(Target, *Finding) {}}), NewProber(ProberOptions{Found: func(Target, *Finding) {}})
	if one.Digest() != "" {
		t.Error("nothing has a digest")
	}
	a, b, c := target("http://a"), target("http://b"), target("http://c")
	for _, t := range []Target{a, b, c} {
		one.Add(t)
	}
	for _, t := range []Target{b, a} {
		other.Add(t)
	}
	if one.Digest() == other.Digest() {
		t.Error("different targets have one digest")
	}
	one.Remove(c)
	one.Remove(c)
	if one.Digest() != other.Digest() {
		t.Error("the same targets have two digests")
	}
}
