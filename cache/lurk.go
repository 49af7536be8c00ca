package cache

import (
	"sync"
	"time"
)

const (
	// deadPerLook bounds the objects that one look through the store collects: half a megabyte of pointers.
	deadPerLook = 1 << 16
	// deadPerStep is how many of them leave between two pauses of stepPause: some milliseconds' work.
	deadPerStep = 1 << 10
	stepPause   = 5 * time.Millisecond
	// After a whole look the lurker rests for restShare times as long as it took, lookPause at least: a twentieth of one
	// processor, however often is purged. After one that found too much for once it is a third.
	restShare   = 20
	restBetween = 2
	lookPause   = time.Second
	// mostOrphans bounds the entries whose forms wait to leave.
	mostOrphans = 1 << 10
	// settleAfter is how long purges are remembered at least, unless they get many: what is asked of a slow backend meanwhile is
	// compared with them when it comes.
	settleAfter = time.Minute
)

// A lurker is the goroutine that gives the memory back of what was purged, and of forms whose entries have left.
type lurker struct {
	wake, quit, done chan struct{}
	orphans          chan orphan
	once             sync.Once // of end
	looks            []glance  // those that may matter, the last one last
}

// A glance is a look through the store that was whole: when it began, in time and as the store's sequence.
type glance struct {
	at  time.Time
	seq uint64
}

// oldest returns the sequence of the last look that is settleAfter ago; 0: there was none.
func (l *lurker) oldest(now glance) (seq uint64) {
	l.looks = append(l.looks, now)
	for len(l.looks) > 1 && now.at.Sub(l.looks[1].at) >= settleAfter {
		l.looks = l.looks[1:]
	}
	if now.at.Sub(l.looks[0].at) < settleAfter {
		return 0
	}
	return l.looks[0].seq
}

func (l *lurker) start(run func()) {
	l.wake, l.quit, l.done = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	l.orphans = make(chan orphan, mostOrphans)
	go func() {
		defer close(l.done)
		run()
	}()
}

func (l *lurker) wakeUp() {
	select {
	case l.wake <- struct{}{}:
	default: // it has not looked yet
	}
}

// end ends the lurker and waits for it.
func (l *lurker) end() {
	l.once.Do(func() { close(l.quit) })
	<-l.done
}

// rest waits, and reports whether to go on.
func (l *lurker) rest(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.quit:
		return false
	}
}

// lurk looks through the store after purges, until the store closes. What must not be used any more leaves, and what has
// been compared with all purges needs them no more.
func (s *Store) lurk() {
	for {
		select {
		case <-s.lurker.wake:
		case of := <-s.lurker.orphans:
			s.dropForms(of)
			continue
		case <-s.lurker.quit:
			return
		}
		for whole := false; !whole; {
			var took time.Duration
			var goOn bool
			if whole, took, goOn = s.look(); !goOn {
				return
			}
			pause := restBetween * took
			if whole {
				pause = max(restShare*took, lookPause)
			}
			if !s.lurker.rest(pause) {
				return
			}
		}
	}
}

// look looks through the store once, or as far as the dead do not get too many: then it is not whole.
func (s *Store) look() (whole bool, took time.Duration, goOn bool) {
	s.purging.Lock()
	upTo := s.seq.Load() // the purges before it are all noted
	s.purging.Unlock()
	begin := time.Now()
	var dead []*object
	whole = true
	// IterValues holds the lock of a 256th of the store at a time, so nothing is deleted meanwhile.
	s.cache.IterValues(func(o *object) (stop bool) {
		if s.dead(o) {
			dead = append(dead, o)
		}
		whole = len(dead) < deadPerLook
		return !whole
	})
	took = time.Since(begin)
	for len(dead) > 0 {
		n := min(len(dead), deadPerStep)
		for _, o := range dead[:n] {
			s.bury(o)
		}
		clear(dead[:n])
		dead = dead[n:]
		if !s.lurker.rest(stepPause) {
			return whole, took, false
		}
	}
	if whole {
		s.settle(s.lurker.oldest(glance{begin, upTo}), upTo)
	}
	return whole, took, true
}

// bury drops a dead object, unless it was replaced or has left.
func (s *Store) bury(o *object) {
	hash := s.hash(o.key)
	mu := &s.stripe[hash%stripes]
	mu.Lock()
	defer mu.Unlock()
	if now, _ := s.cache.Get(hash); now != o {
		return
	}
	s.metrics.buried.Add(float64(len(o.variants)))
	s.cache.Del(hash)
}

// settle forgets old purges with which all that is stored was compared, and where they are many all of them. A response
// that was about to be stored meanwhile, and that the look did not find, is beneath the floor then: one fetch too many.
func (s *Store) settle(old, all uint64) {
	s.purges.settle(old, all)
	s.vhosts.mu.Lock()
	scopes := make([]*purges, 0, len(s.vhosts.tenants)+len(s.vhosts.by))
	for _, t := range s.vhosts.tenants {
		scopes = append(scopes, &t.purges)
	}
	for _, v := range s.vhosts.by {
		scopes = append(scopes, &v.purges)
	}
	s.vhosts.mu.Unlock()
	for _, p := range append(scopes, &s.nobody.purges) {
		p.settle(old, all)
	}
}
