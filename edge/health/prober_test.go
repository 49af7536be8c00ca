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
			p.Add(target(fmt.Sprint("http://", i)))
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

// What one node finds another acts by, and goes on from when it is its turn.
func TestFindingsAreTakenOver(t *testing.T) {
	probe(t, func(t *testing.T, p *probing) {
		id := target("http://a").id().String()
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
