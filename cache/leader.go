package cache

import (
	"math/rand/v2"
	"time"
)

// defaultPatience is the Options.Patience of Options that have none.
const defaultPatience = 10 * time.Second

// mostFailures is after how many failures those who wait for a flight get the error. The first may have been the leader's own doing:
// a field that its backend chokes on. Two say that the backend is dead, and then nobody who waits is to ask it, too.
const mostFailures = 2

// How a flight comes by a new leader. One that fails leaves its place to one who waits, drawn by lot: see GiveUp and Succeed. One
// that gets no answer for long is not waited for by all: another asks beside it, and the first answer is everybody's. That may be
// who comes then, or one who waits: see Beside.

// lead notes that one more request is under way for f. The caller holds the shard.
func (f *Flight) lead() {
	f.leaders++
	f.attempts++
	f.asked = time.Now()
}

// due is how long the last of the requests under way is still waited for before another is sent beside it: twice as long each
// time, so that an answer that takes a minute for everybody costs the backend a few requests. The caller holds the shard.
func (f *Flight) due() time.Duration {
	patience := f.store.patience << min(f.attempts-1, 16)
	if f.done || f.vacant {
		return patience
	}
	return patience - time.Since(f.asked)
}

// Due is how long a waiter waits before he calls Beside.
func (f *Flight) Due() time.Duration {
	shard := f.shard()
	shard.mu.Lock()
	defer shard.mu.Unlock()
	return max(f.due(), time.Millisecond)
}

// Beside makes a waiter one more leader, if it is time for one.
func (f *Flight) Beside() (leads bool) {
	shard := f.shard()
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if f.due() > 0 {
		return false
	}
	f.waiting.Add(-1)
	f.lead()
	return true
}

// GiveUp is for a leader whose request has failed, and who is done with the flight. One of those who wait takes its place, unless
// another leads already; where it is not the first who fails, or nobody waits, it is Fail.
func (f *Flight) GiveUp(err error) {
	shard := f.shard()
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if f.done {
		return
	}
	f.leaders--
	f.failures++
	waiting := int(f.waiting.Load())
	switch {
	case f.failures >= mostFailures || f.leaders == 0 && waiting == 0:
		f.settle(shard, nil, nil, err)
	case f.leaders == 0:
		f.vacant, f.cause = true, err
		f.vacancy <- waiting // it has room: there is one vacancy at a time
	}
}

// Vacancy has a number for one waiter at a time while the flight has no leader. Who takes it calls Succeed.
func (f *Flight) Vacancy() <-chan int { return f.vacancy }

// Succeed makes the waiter who took number from Vacancy the new leader, or leaves that to another: number is how many of them there
// are to choose from, and each has the same chance. Were it who has waited longest, an attacker's second request would be it.
// cause is what the leader before has got.
func (f *Flight) Succeed(number int) (leads bool, cause error) {
	shard := f.shard()
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if f.done {
		return false, nil
	}
	if number = min(number, int(f.waiting.Load())); number > 1 && rand.IntN(number) > 0 {
		f.vacancy <- number - 1
		return false, nil
	}
	f.vacant = false
	f.waiting.Add(-1)
	f.lead()
	return true, f.cause
}
