package balance

import (
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// about checks an ejection's time, of which up to a fifth is chance.
func about(t *testing.T, got, want time.Duration) {
	t.Helper()
	if got < want*8/10 || got > want*12/10 {
		t.Errorf("ejected for %v, want about %v", got, want)
	}
}

func TestAnUnreachableBackendIsEjectedAtOnce(t *testing.T) {
	for _, policy := range policies {
		synctest.Test(t, func(t *testing.T) {
			p := pool(policy, "dead", "b", "c")
			length := try(p, 0, Unreachable)
			about(t, length, 10*time.Second)
			left, why := p.Members()[0].State().Ejected()
			if left > length || left < length-time.Second || why != Unreachable {
				t.Errorf("%q: ejected for %v, says %v, for %v", policy, length, left, why)
			}
			for range 2 {
				count := picks(t, p, 3000)
				if count["dead"] != 0 {
					t.Errorf("%q: the dead one was picked %d times", policy, count["dead"])
				}
				if math.Abs(float64(count["b"])-1500) > 300 { // its share goes to all, not to its neighbour
					t.Errorf("%q: b got %d of 3000, c %d", policy, count["b"], count["c"])
				}
				time.Sleep(length*49/50 - length/2)
			}
			time.Sleep(length / 10)
			if picks(t, p, 1000)["dead"] != 1 {
				t.Errorf("%q: after its time it is not tried by one request", policy)
			}
		})
	}
}

// One answer that is no answer is nothing; five in a row are.
func TestFiveFailuresInARowEject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pool(P2C, "bad", "b")
		for _, o := range []Outcome{Failed, Failed, Failed, Failed, Answered, Failed, Failed, Failed, Unknown, Failed} {
			if length := try(p, 0, o); length != 0 {
				t.Fatalf("ejected for %v by %v", length, o)
			}
		}
		about(t, try(p, 0, Failed), 10*time.Second)
		if _, why := p.Members()[0].State().Ejected(); why != Failed {
			t.Errorf("for %v", why)
		}
	})
}

// The n-th ejection without a success in between lasts n times as long, up to five minutes and what chance adds.
func TestEjectionsGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pool(RoundRobin, "dead", "b")
		trial := func(o Outcome) time.Duration {
			for range 10 {
				if a, _ := p.Pick(0, nil); a.Member().Backend == "dead" {
					length := a.Report(o)
					a.Done()
					return length
				}
			}
			t.Fatal("it is not tried")
			return 0
		}
		length := try(p, 0, Unreachable)
		for n := 1; n <= 35; n++ {
			about(t, length, min(time.Duration(n)*10*time.Second, 5*time.Minute))
			time.Sleep(length)
			if n < 35 {
				length = trial([]Outcome{Unreachable, Failed}[n%2]) // one failure of a trial is enough
			}
		}
		if length := trial(Answered); length != 0 {
			t.Errorf("ejected for %v by an answer", length)
		}
		if count := picks(t, p, 100); count["dead"] != 50 {
			t.Errorf("after an answer: %v", count)
		}
		about(t, try(p, 0, Unreachable), 10*time.Second) // from the beginning
	})
}

// Nodes that have ejected a backend together must not all come back to it at once: each time is drawn from 80 % to 120 %, the longest too.
func TestNoTwoEjectionsLastTheSame(t *testing.T) {
	for _, inRow := range []int{1, 3, 30, 50} {
		length := min(time.Duration(inRow)*10*time.Second, 5*time.Minute)
		shortest, longest := time.Hour, time.Duration(0)
		for range 300 {
			p := pool(P2C, "dead", "b")
			p.Members()[0].State().inRow = inRow - 1
			got := try(p, 0, Unreachable)
			about(t, got, length)
			shortest, longest = min(shortest, got), max(longest, got)
		}
		// That 300 draws miss a tenth of the range has a chance of less than 1 in 10^13.
		if shortest > length*84/100 || longest < length*116/100 {
			t.Errorf("the %d. lasts %v to %v, want %v to %v", inRow, shortest, longest, length*8/10, length*12/10)
		}
	}
}

// A trial that says nothing, since its client has left, does not keep the backend out.
func TestATrialWithoutOutcomeIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pool(RoundRobin, "dead", "b")
		time.Sleep(try(p, 0, Unreachable))
		if n := picks(t, p, 100)["dead"]; n != 1 {
			t.Fatalf("tried by %d requests", n)
		}
		time.Sleep(trialTime)
		if n := picks(t, p, 100)["dead"]; n != 1 {
			t.Errorf("after that one, tried by %d requests", n)
		}
	})
}

// Connections that were open when a listener closed may answer for a while.
func TestAnAnswerToAnOlderRequestDoesNotEndAnEjection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pool(P2C, "a", "b")
		older := p.Begin(p.Members()[0])
		try(p, 0, Unreachable)
		older.Report(Answered)
		older.Done()
		if left, _ := p.Members()[0].State().Ejected(); left == 0 {
			t.Error("it did")
		}
	})
}

// Requests that fail together are one event: a hundred in flight must not eject for half an hour.
func TestFailuresAtATimeEjectOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pool(P2C, "a", "b")
		var flying []Attempt[string]
		for range 100 {
			a := p.Begin(p.Members()[0])
			flying = append(flying, a)
		}
		ejections := 0
		for _, a := range flying {
			if a.Report(Unreachable) > 0 {
				ejections++
			}
			a.Done()
		}
		left, _ := p.Members()[0].State().Ejected()
		about(t, left, 10*time.Second)
		if ejections != 1 {
			t.Errorf("ejected %d times", ejections)
		}
	})
}

func TestTheLastOneIsNotEjected(t *testing.T) {
	for _, policy := range policies {
		synctest.Test(t, func(t *testing.T) {
			single := pool(policy, "only")
			p := pool(policy, "a", "b", "drained")
			p.Members()[2].State().SetDrained(true)
			if try(single, 0, Unreachable) != 0 || try(p, 0, Unreachable) == 0 || try(p, 1, Unreachable) != 0 {
				t.Errorf("%q: the last one was ejected, or the one before not", policy)
			}
			if n := picks(t, single, 10)["only"]; n != 10 {
				t.Errorf("%q: picked %d times of 10", policy, n)
			}
			if n := picks(t, p, 10, p.Members()[1])["a"]; n != 10 { // rather than nobody
				t.Errorf("%q: the only untried one was picked %d times of 10", policy, n)
			}
		})
	}
}

// The other may fail between the look at it and the ejection.
func TestWhoWasWellAMomentAgoIsLookedAtAgain(t *testing.T) {
	p := pool(P2C, "a", "b")
	a, b := p.Begin(p.Members()[0]), p.Begin(p.Members()[1])
	var other time.Duration
	length := a.member.state.fail(a.attempt, Unreachable, func() bool {
		well := p.hasOther(a.member)
		if other == 0 {
			other = b.Report(Unreachable)
		}
		return well
	})
	if length != 0 || other == 0 {
		t.Errorf("ejected for %v, the other for %v", length, other)
	}
}

// The last two that fail in one moment each see the other well. That they are in two pools changes nothing.
func TestTheLastTwoThatFailTogetherAreNotBothEjected(t *testing.T) {
	specs := make([]Spec[string], 20_000) // that looking for others takes a while
	for i := range specs {
		specs[i].State = NewState()
		specs[i].State.SetDrained(i >= 2)
	}
	slices.Reverse(specs)
	const rounds = 300
	var failing sync.WaitGroup
	var arrived atomic.Int64
	var ejected [rounds]atomic.Int64
	for i := range int64(2) {
		p := New(P2C, specs)
		own := len(specs) - 1 - int(i)
		together := func(want int64) {
			arrived.Add(1)
			for n := 0; arrived.Load() < want; n++ {
				if n > 10_000 { // else both would not begin at once
					runtime.Gosched()
				}
			}
		}
		failing.Go(func() {
			for round := range int64(rounds) {
				together(4*round + 2)
				if try(p, own, Unreachable) > 0 {
					ejected[round].Add(1)
				}
				together(4*round + 4)
				try(p, own, Answered)
			}
		})
	}
	failing.Wait()
	for round := range ejected {
		if n := ejected[round].Load(); n != 1 {
			t.Fatalf("%d of two were ejected, in round %d", n, round)
		}
	}
}

// Where more than half are out, it is the judgement that is doubted.
func TestHealthIsIgnoredWhereMoreThanHalfAreOut(t *testing.T) {
	for _, policy := range policies {
		synctest.Test(t, func(t *testing.T) {
			p := pool(policy, "a", "b", "c", "d")
			try(p, 0, Unreachable)
			try(p, 1, Unreachable)
			if count := picks(t, p, 400); count["a"]+count["b"] != 0 {
				t.Errorf("%q: with half of them out, picked %v", policy, count)
			}
			try(p, 2, Unreachable)
			if count := picks(t, p, 400); count["a"] == 0 || count["b"] == 0 || count["c"] == 0 {
				t.Errorf("%q: with three of four out, picked %v", policy, count)
			}
			if try(p, 0, Answered); picks(t, p, 400)["b"] != 0 {
				t.Errorf("%q: an answer did not bring one back", policy)
			}
		})
	}
}

// Where health is doubted, what failed once goes to who is well all the same, and nobody asks all of many that are away.
func TestWhatFailedOnceGoesToWhoIsWell(t *testing.T) {
	for _, policy := range policies {
		p := pool(policy, "a", "b", "c", "d", "e", "f")
		m := p.Members()
		for i := range 5 {
			try(p, i, Unreachable)
		}
		if count := picks(t, p, 100, m[0]); count["f"] != 100 {
			t.Errorf("%q: after a failure, picked %v", policy, count)
		}
		if count := picks(t, p, 400, m[5]); len(count) != 5 && !p.Hashes() {
			t.Errorf("%q: with no other well, picked %v", policy, count)
		}
		if a, ok := p.Pick(1, []*Member[string]{m[5], m[0], m[1], m[2]}); ok {
			t.Errorf("%q: after four failures, picked %s", policy, a.Member().Backend)
		}
		a, _ := p.Pick(1, m[5:])
		if !a.DespiteHealth() {
			t.Errorf("%q: it is not known that %s is out", policy, a.Member().Backend)
		}
		a.Done()
		if a, _ = p.Pick(1, m[:1]); a.DespiteHealth() {
			t.Errorf("%q: %s is said to be out", policy, a.Member().Backend)
		}
		a.Done()
	}
}

// What active checks have found is no guess: where more than half are out, too, it is passed over while anybody else is left.
func TestWhatIsKnownToBeDownIsTheLastChoice(t *testing.T) {
	for _, policy := range policies {
		checks := [4]Check{}
		var specs []Spec[string]
		for i, name := range []string{"a", "b", "c", "d"} {
			specs = append(specs, Spec[string]{Backend: name, Name: name, Check: &checks[i]})
		}
		p := New(policy, specs)
		for i := range 3 {
			checks[i].Set(true)
		}
		if count := picks(t, p, 200); count["d"] != 200 {
			t.Errorf("%q: with three of four down, picked %v", policy, count)
		}
		try(p, 2, Answered)
		checks[2].Set(false)
		try(p, 2, Unreachable) // it may be our own fault, and then d is no better
		if count := picks(t, p, 400); count["c"] == 0 || count["d"] == 0 || count["c"]+count["d"] != 400 {
			t.Errorf("%q: with two of four down and one ejected, picked %v", policy, count)
		}
		checks[2].Set(true)
		checks[3].Set(true)
		if count := picks(t, p, 400); len(count) < 2 {
			t.Errorf("%q: with all down, picked %v", policy, count)
		}
	}
}

// Of many answers behind an ejection one has ended it.
func TestOneAnswerBringsABackendBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pool(RoundRobin, "dead", "b")
		for range 3 {
			older := p.Begin(p.Members()[0])
			time.Sleep(try(p, 0, Unreachable))
			older.Report(Answered)
			back := older.BroughtBack()
			older.Done()
			var flying []Attempt[string]
			for range 10 {
				flying = append(flying, p.Begin(p.Members()[0]))
			}
			for i := range flying {
				flying[i].Report(Answered)
				if back != (i > 0) {
					t.Errorf("before answer %d it is back: %v", i, back)
				}
				back = back || flying[i].BroughtBack()
				if i > 0 && flying[i].BroughtBack() {
					t.Errorf("answer %d brings it back once more", i)
				}
				flying[i].Done()
			}
		}
	})
}

// What one pool learns of a backend, another one with the same state knows, and one that replaces it.
func TestStateOutlivesPools(t *testing.T) {
	state := NewState()
	spec := []Spec[string]{{Backend: "a", State: state}, {Backend: "b"}}
	try(New(P2C, spec), 0, Unreachable)
	if n := picks(t, New(RoundRobin, append(spec, Spec[string]{Backend: "c"})), 100)["a"]; n != 0 {
		t.Errorf("picked %d times", n)
	}
}
