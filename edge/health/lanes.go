package health

import (
	"cmp"
	"container/heap"
	"container/list"
	"time"
)

// probesAtATime bounds the checks that are under way: what is due beyond that waits, so that thousands of backends that hang
// cost no more than that.
const probesAtATime = 128

// idleWait is how long nothing is due where there is nothing to check.
const idleWait = time.Minute

// lanes have what is to be checked wait for its time, and then for a slot of probesAtATime. An owner has no more checks under way
// than there are free slots beside them: half of them if he is alone, less beside others who want as many. So his backends that
// hang leave slots to whoever comes, and those that wait for one are served in turns, whatever each one's number.
type lanes struct {
	byOwner  map[string]*lane
	upcoming upcoming  // of which nothing was due when that was looked at last
	due      list.List // the others: *lane, whose turn is next first
	running  int
}

// A lane is what one tenant has checked, or a vhost without one. It is kept while anything waits in it or is under way.
type lane struct {
	owner   string
	queue   queue
	running int
	at      int           // in lanes.upcoming; -1: it is not there
	place   *list.Element // in lanes.due; nil: it is not there
}

// owner is who may have so many checks at a time.
func (t *Target) owner() string {
	if t.Tenant == "" {
		return "vhost " + t.Vhost
	}
	return "tenant " + t.Tenant
}

// push has a target wait for its time.
func (l *lanes) push(e *probed) {
	if e.lane == nil {
		owner := e.owner()
		if e.lane = l.byOwner[owner]; e.lane == nil {
			e.lane = &lane{owner: owner, at: -1}
			l.byOwner[owner] = e.lane
		}
	}
	heap.Push(&e.lane.queue, e)
	l.settle(e.lane)
}

// remove takes a target out that waits.
func (l *lanes) remove(e *probed) {
	if e.at >= 0 {
		heap.Remove(&e.lane.queue, e.at)
		l.settle(e.lane)
	}
}

// next takes out what is to be checked now; nil: nothing is, for the time that it returns, unless a check ends before.
func (l *lanes) next(now time.Time) (*probed, time.Duration) {
	for len(l.upcoming) > 0 && !l.upcoming[0].first().After(now) {
		q := heap.Pop(&l.upcoming).(*lane)
		q.place = l.due.PushBack(q)
	}
	free := probesAtATime - l.running
	for at := l.due.Front(); at != nil && free > 0; {
		q := at.Value.(*lane)
		at = at.Next()
		if q.running >= free && !q.first().After(now) {
			continue // of those there are no more than checks are under way
		}
		l.due.Remove(q.place)
		q.place = nil
		if q.first().After(now) { // what was due is removed, or put off
			l.settle(q)
			continue
		}
		e := heap.Pop(&q.queue).(*probed)
		q.running++
		l.running++
		l.settle(q) // behind the others
		return e, 0
	}
	if len(l.upcoming) == 0 {
		return nil, idleWait
	}
	return nil, l.upcoming[0].first().Sub(now)
}

// ended notes that a check is no longer under way.
func (l *lanes) ended(e *probed) {
	l.running--
	e.lane.running--
	l.settle(e.lane)
}

// reorder is to be called when times were changed.
func (l *lanes) reorder() {
	for _, q := range l.byOwner {
		heap.Init(&q.queue)
	}
	heap.Init(&l.upcoming)
}

// settle puts a lane where it belongs after a change of it.
func (l *lanes) settle(q *lane) {
	waits := len(q.queue) > 0
	switch {
	case waits && q.place != nil: // next looks whether that is due
	case waits && q.at >= 0:
		heap.Fix(&l.upcoming, q.at)
	case waits:
		heap.Push(&l.upcoming, q)
	default:
		if q.at >= 0 {
			heap.Remove(&l.upcoming, q.at)
		}
		if q.place != nil {
			l.due.Remove(q.place)
			q.place = nil
		}
		if q.running == 0 {
			delete(l.byOwner, q.owner)
		}
	}
}

// first is when something of it is due. It must not be empty.
func (q *lane) first() time.Time { return q.queue[0].due }

// upcoming has the lane of which something is due first at its head.
type upcoming []*lane

func (u upcoming) Len() int           { return len(u) }
func (u upcoming) Less(i, j int) bool { return u[i].first().Before(u[j].first()) }

func (u upcoming) Swap(i, j int) {
	u[i], u[j] = u[j], u[i]
	u[i].at, u[j].at = i, j
}

// Push implements heap.Interface.
func (u *upcoming) Push(x any) {
	q := x.(*lane)
	q.at = len(*u)
	*u = append(*u, q)
}

// Pop implements heap.Interface.
func (u *upcoming) Pop() any {
	last := len(*u) - 1
	q := (*u)[last]
	*u = (*u)[:last]
	q.at = -1
	return q
}

// A queue has what is due first at its head.
type queue []*probed

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return cmp.Less(q[i].due.UnixNano(), q[j].due.UnixNano()) }

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].at, q[j].at = i, j
}

// Push implements heap.Interface.
func (q *queue) Push(x any) {
	e := x.(*probed)
	e.at = len(*q)
	*q = append(*q, e)
}

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	*q = (*q)[:last]
	e.at = -1
	return e
}
