package edge

import (
	"cmp"
	"container/list"
	"errors"
	"runtime"
	"sync"
	"time"
)

// heavyBody is the size from which a body's inspection may take long: the rules
// take up to a minute of processor time per megabyte of hostile text.
const heavyBody = 2 << 10

// heavyWeight is the weight, in bytes of one long argument, from which the inspection of a head, and of
// a head and body together, may: some 60 ms, where a browser's usual head takes 2 and weighs a tenth.
const heavyWeight = 4 << 10

// ordinaryTarget is the weight of a page's target at most, with a query of a dozen arguments.
const ordinaryTarget = 512

// bigWeight is the weight from which an inspection may take most of a second and more. One turn of all is
// kept for those below it.
const bigWeight = 16 << 10

// heavyWait is how long a request waits for its turn. After that it
// is answered 503 in block mode, never let through unseen: whoever sends many
// would open the door for one. In detect mode, which never refuses, it goes on.
const heavyWait = 15 * time.Second

// errNoTurn means that heavyWait was not long enough.
var errNoTurn = errors.New("no processor came free to inspect a large request")

// headWeight estimates what the inspection of a request's head takes, in bytes of a query: the rules
// look at arguments and cookies value by value (10 to 30 µs a byte), and hardly at the rest.
func (r *request) headWeight() int {
	weight := itemWeight(r.Target)
	for _, f := range r.Fields {
		if f.Is("cookie") {
			weight += itemWeight(f.Value)
		} else {
			weight += (len(f.Name) + len(f.Value)) / 8
		}
	}
	return weight
}

// itemWeight counts each argument, cookie or JSON value as 24 bytes beside its own: a thousand of one letter
// take a second.
func itemWeight[T string | []byte](text T) int {
	items := 0
	for i := range len(text) {
		switch text[i] {
		case '&', ';', ',':
			items++
		}
	}
	return len(text) + 24*items
}

// heavy reports whether the inspection of the head and of that beginning of the body may take long, and its
// weight.
func (r *request) heavy(body []byte) (weight int, heavy bool) {
	weight = r.headWeight() + itemWeight(body)
	if r.ownHeavy(len(body)) {
		return weight + bigWeight, true // it takes a third of a second at least
	}
	return weight, len(body) > heavyBody || weight > heavyWeight
}

// lightWeight is what of a head, or of a body, counts among those that are inspected without a turn; 0: it is
// the head of an ordinary page, which never needs one.
func (r *request) lightWeight(body []byte) int {
	if len(body) > 0 {
		return itemWeight(body)
	}
	if weight := itemWeight(r.Target); weight > ordinaryTarget {
		return weight
	}
	return 0
}

// turns are taken by requests whose inspection may take long. A tenant gets as many at a time as half
// of the processors, at least one, and one more for a smaller request where bigger ones have all of them;
// all tenants together get three quarters, at least one more than one tenant does, and bigger ones never
// have the last of those. So whoever sends heavy requests to one tenant's sites makes that tenant's wait, and
// whoever sends them to all does not take the processors from requests that need no turn, nor from those
// that need a short one. Where several tenants wait, they are served in rotation, whatever each
// one's number. Bodies and queries that are light need no turn while few of a
// tenant's are inspected at a time.
// The zero value is ready.
type turns struct {
	patience time.Duration // 0: heavyWait

	mu      sync.Mutex
	busy    int
	big     int // of these, with bigger ones
	light   int // weight of what is inspected without a turn
	tenants map[string]*tenantTurns
	waiting list.List    // of those that wait: *tenantTurns, whose turn is next first
	owed    *tenantTurns // has the next turn for a bigger one; nil: nobody
}

// tenantTurns are those of one tenant, or of a vhost without one. It is kept while any are busy, wait or
// are light.
type tenantTurns struct {
	name             string
	busy, big, light int
	queues           [2]list.List  // of chan struct{}, closed when the turn has come; smaller ones, bigger ones
	passed           int           // smaller ones that went while a bigger one waited
	place            *list.Element // in turns.waiting; nil: nobody waits
}

// The kinds of turns.
const (
	smaller = iota
	bigger
)

// mostPassed is how many smaller requests of a tenant go before its bigger one that waits.
const mostPassed = 3

// turnsAtOnce returns how many turns there are for one tenant, and for all.
func turnsAtOnce() (tenant, all int) {
	n := runtime.GOMAXPROCS(0)
	tenant = max(1, n/2)
	return tenant, max(tenant+1, n*3/4)
}

// lightAtOnce returns the weight of bodies and queries that need no turn at a time, of one tenant and of all.
func lightAtOnce() (tenant, all int) {
	tenant, all = turnsAtOnce()
	return tenant * heavyWeight, 2 * all * heavyWeight
}

// enter lets a light body or query be inspected without a turn, unless there are too many; leave, to be called
// once, says that it was.
func (t *turns) enter(owner string, weight int) (leave func(), ok bool) {
	most, all := lightAtOnce()
	t.mu.Lock()
	defer t.mu.Unlock()
	mine := t.of(owner)
	if mine.light+weight > most || t.light+weight > all {
		t.forget(mine)
		return nil, false
	}
	mine.light += weight
	t.light += weight
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		mine.light -= weight
		t.light -= weight
		t.forget(mine)
	}, true
}

// take waits for a turn at what has that weight; release, to be called once, gives it back.
func (t *turns) take(owner string, weight int) (release func(), ok bool) {
	kind := smaller
	if weight > bigWeight {
		kind = bigger
	}
	t.mu.Lock()
	mine := t.of(owner)
	come := make(chan struct{})
	place := mine.queues[kind].PushBack(come)
	if mine.place == nil {
		mine.place = t.waiting.PushBack(mine)
	}
	t.admit()
	t.mu.Unlock()
	release = func() { t.release(mine, kind) }
	select {
	case <-come:
		return release, true
	default:
	}
	timer := time.NewTimer(cmp.Or(t.patience, heavyWait))
	defer timer.Stop()
	select {
	case <-come:
	case <-timer.C:
		if t.giveUp(mine, kind, place, come) {
			return nil, false
		}
	}
	return release, true
}

// of returns a tenant's turns, which are made if there are none.
func (t *turns) of(owner string) *tenantTurns {
	mine := t.tenants[owner]
	if mine == nil {
		if t.tenants == nil {
			t.tenants = map[string]*tenantTurns{}
		}
		mine = &tenantTurns{name: owner}
		t.tenants[owner] = mine
	}
	return mine
}

// admit gives the turns that are free to who waits for them.
func (t *turns) admit() {
	_, all := turnsAtOnce()
	for e := t.waiting.Front(); e != nil && t.busy < all; {
		next := e.Next()
		tenant := e.Value.(*tenantTurns)
		if kind, ok := t.choose(tenant); ok {
			t.start(tenant, kind)
			if tenant.place != nil {
				t.waiting.MoveToBack(e)
				if next == nil {
					next = e
				}
			}
		}
		e = next
	}
}

// choose returns which kind of the tenant's requests is next; not ok: none may go now.
func (t *turns) choose(tenant *tenantTurns) (kind int, ok bool) {
	most, all := turnsAtOnce()
	isBig := tenant.queues[bigger].Len() > 0
	isSmall := tenant.queues[smaller].Len() > 0
	room := t.big < all-1 && (t.owed == nil || t.owed == tenant)
	due := !isSmall || tenant.passed >= mostPassed
	if isBig && due && !room && isSmall && t.owed == nil {
		t.owed = tenant // or smaller ones would have its turns whenever there is room
	}
	if isBig && due && room && tenant.busy < most {
		return bigger, true
	}
	return smaller, isSmall && (tenant.busy < most || tenant.busy == most && tenant.big == most)
}

// start gives the tenant's next request of a kind its turn.
func (t *turns) start(tenant *tenantTurns, kind int) {
	queue := &tenant.queues[kind]
	close(queue.Remove(queue.Front()).(chan struct{}))
	t.busy++
	tenant.busy++
	if kind == bigger {
		t.big++
		tenant.big++
		tenant.passed = 0
		if t.owed == tenant {
			t.owed = nil
		}
	} else if tenant.queues[bigger].Len() > 0 {
		tenant.passed++
	}
	t.leaveQueue(tenant)
}

func (t *turns) release(tenant *tenantTurns, kind int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	tenant.busy--
	t.busy--
	if kind == bigger {
		tenant.big--
		t.big--
	}
	t.admit()
	t.forget(tenant)
}

// giveUp takes a request out of the queue, unless its turn has come by now.
func (t *turns) giveUp(tenant *tenantTurns, kind int, place *list.Element, come chan struct{}) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-come:
		return false
	default:
	}
	tenant.queues[kind].Remove(place)
	t.leaveQueue(tenant)
	t.admit() // what was kept for it may be another's
	t.forget(tenant)
	return true
}

// leaveQueue is called when a queue of the tenant has become shorter.
func (t *turns) leaveQueue(tenant *tenantTurns) {
	if tenant.queues[bigger].Len() == 0 {
		tenant.passed = 0
		if t.owed == tenant {
			t.owed = nil
		}
	}
	if tenant.waits() == 0 {
		t.waiting.Remove(tenant.place)
		tenant.place = nil
	}
}

// waits is how many of its requests wait.
func (t *tenantTurns) waits() int { return t.queues[smaller].Len() + t.queues[bigger].Len() }

// forget removes a tenant that has nothing to do with turns any more.
func (t *turns) forget(tenant *tenantTurns) {
	if tenant.busy == 0 && tenant.light == 0 && tenant.waits() == 0 {
		delete(t.tenants, tenant.name)
	}
}

// state returns how many requests have their turn, and how many wait for it.
func (t *turns) state() (busy, waiting int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, tenant := range t.tenants {
		waiting += tenant.waits()
	}
	return t.busy, waiting
}
