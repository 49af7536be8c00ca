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

// heavy reports whether the inspection of the head and of that beginning of the body may take long.
func (r *request) heavy(body []byte) bool {
	return len(body) > heavyBody || r.headWeight()+itemWeight(body) > heavyWeight || r.ownHeavy(len(body))
}

// turns are taken by requests whose inspection may take long. A tenant gets as many at a time as half
// of the processors, at least one; all tenants together get three quarters, at least one more than one
// tenant does. So whoever sends heavy requests to one tenant's sites makes that tenant's wait, and
// whoever sends them to all does not take the processors from requests that need no turn. Where
// several tenants wait, they are served in rotation, whatever each one's number. The zero value
// is ready.
type turns struct {
	patience time.Duration // 0: heavyWait

	mu      sync.Mutex
	busy    int
	tenants map[string]*tenantTurns // that are busy or wait
	waiting list.List               // of those that wait: *tenantTurns, whose turn is next first
}

// tenantTurns are those of one tenant.
type tenantTurns struct {
	name  string
	busy  int
	queue list.List     // of chan struct{}, closed when the turn has come
	place *list.Element // in turns.waiting; nil: nobody waits
}

// turnsAtOnce returns how many turns there are for one tenant, and for all.
func turnsAtOnce() (tenant, all int) {
	n := runtime.GOMAXPROCS(0)
	tenant = max(1, n/2)
	return tenant, max(tenant+1, n*3/4)
}

// take waits for a turn; release, to be called once, gives it back.
func (t *turns) take(tenant string) (release func(), ok bool) {
	t.mu.Lock()
	if t.tenants == nil {
		t.tenants = map[string]*tenantTurns{}
	}
	mine := t.tenants[tenant]
	if mine == nil {
		mine = &tenantTurns{name: tenant}
		t.tenants[tenant] = mine
	}
	come := make(chan struct{})
	place := mine.queue.PushBack(come)
	if mine.place == nil {
		mine.place = t.waiting.PushBack(mine)
	}
	t.admit()
	t.mu.Unlock()
	select {
	case <-come:
		return func() { t.release(mine) }, true
	default:
	}
	timer := time.NewTimer(cmp.Or(t.patience, heavyWait))
	defer timer.Stop()
	select {
	case <-come:
	case <-timer.C:
		if t.giveUp(mine, place, come) {
			return nil, false
		}
	}
	return func() { t.release(mine) }, true
}

// admit gives the turns that are free to who waits for them.
func (t *turns) admit() {
	most, all := turnsAtOnce()
	for e := t.waiting.Front(); e != nil && t.busy < all; {
		next := e.Next()
		tenant := e.Value.(*tenantTurns)
		if tenant.busy < most {
			close(tenant.queue.Remove(tenant.queue.Front()).(chan struct{}))
			tenant.busy++
			t.busy++
			if tenant.queue.Len() == 0 {
				t.waiting.Remove(e)
				tenant.place = nil
			} else {
				t.waiting.MoveToBack(e)
				if next == nil {
					next = e
				}
			}
		}
		e = next
	}
}

func (t *turns) release(tenant *tenantTurns) {
	t.mu.Lock()
	defer t.mu.Unlock()
	tenant.busy--
	t.busy--
	t.admit()
	t.forget(tenant)
}

// giveUp takes a request out of the queue, unless its turn has come by now.
func (t *turns) giveUp(tenant *tenantTurns, place *list.Element, come chan struct{}) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-come:
		return false
	default:
	}
	tenant.queue.Remove(place)
	if tenant.queue.Len() == 0 {
		t.waiting.Remove(tenant.place)
		tenant.place = nil
	}
	t.forget(tenant)
	return true
}

// forget removes a tenant that has nothing to do with turns any more.
func (t *turns) forget(tenant *tenantTurns) {
	if tenant.busy == 0 && tenant.queue.Len() == 0 {
		delete(t.tenants, tenant.name)
	}
}

// state returns how many requests have their turn, and how many wait for it.
func (t *turns) state() (busy, waiting int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, tenant := range t.tenants {
		waiting += tenant.queue.Len()
	}
	return t.busy, waiting
}
