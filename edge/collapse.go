package edge

import (
	"context"
	"math/rand/v2"
	"time"

	"gatehouse/cache"
)

// mostAgain is how often a request joins others before it goes on its own: those that lead may all be of one who has them end
// without an answer for others.
const mostAgain = 4

// wait waits for the flight of an equal request and answers with what that brings, or sends this one on where that
// cannot answer it, or has failed. [cache.ErrAgain]: nothing was decided,
// or for another variant.
func (c *cached) wait(next handler, f *cache.Flight) error {
	r := c.r
	c.gone = make(chan struct{})
	c.watch()
	leads, cause := c.await(f)
	r.srv.waiters.remove(&c.waiting)
	if c.isGone.Load() {
		if leads {
			f.Abandon()
		} else {
			f.Leave()
		}
		if r.srv.waiters.closed.Load() {
			return fail(503, "the server is going away", context.Canceled)
		}
		return &httpError{status: 499, reason: "client closed the connection", cause: context.Canceled}
	}
	if leads {
		return c.succeed(next, f, cause)
	}
	l, body, err := f.Take(&c.request)
	switch {
	case err == cache.ErrAgain:
		return err
	case err != nil && c.store.ServesOnError(&c.lookup):
		c.stale(cache.Outcome{Forwarded: true, Collapsed: true}, err)
		return nil
	case err == errBackend:
		return c.lead(next, nil)
	case err != nil:
		return err
	}
	l.Forward = c.lookup.Forward
	if l.Entry == nil && l.Stale == nil {
		l.Stale = c.lookup.Stale // what another got was of another variant, and says nothing of this one
	}
	c.lookup, c.body = l, body
	c.inspectHit()
	if c.lookup.Entry == nil {
		c.close()
		return c.lead(next, nil)
	}
	r.record.Cache = "collapsed"
	c.answer(cache.Outcome{Forwarded: true, Collapsed: true})
	if c.body != nil {
		r.onDone(c.close)
		c.watch()
	}
	return nil
}

// await waits until the flight is decided, the client is gone, or the request is to lead: then cause is why the one before does no
// more, nil if it is only slow.
func (c *cached) await(f *cache.Flight) (leads bool, cause error) {
	timer := time.NewTimer(f.Due())
	defer timer.Stop()
	for {
		select {
		case <-f.Decided():
			return false, nil
		case <-c.gone:
			return false, nil
		case number := <-f.Vacancy():
			if leads, cause = f.Succeed(number); leads {
				return true, cause
			}
		case <-timer.C:
			if f.Beside() {
				return true, nil
			}
			timer.Reset(f.Due())
		}
	}
}

// succeed leads a flight in the place of a request that has failed, or beside one that is slow. The former is a repetition, and one
// for all who wait: where the site's budget has no room for it, they get the error.
func (c *cached) succeed(next handler, f *cache.Flight, cause error) error {
	if cause == nil {
		return c.lead(next, f)
	}
	r := c.r
	if !r.site.budget.Take(time.Now()) {
		r.srv.metrics.retries.WithLabelValues("refused").Inc()
		f.Fail(cause)
		if c.store.ServesOnError(&c.lookup) {
			c.stale(cache.Outcome{Forwarded: true, Collapsed: true}, cause)
			return nil
		}
		return cause
	}
	defer r.site.budget.Release()
	r.srv.metrics.retries.WithLabelValues("taken").Inc()
	c.repeats = true
	return c.lead(next, f)
}

// watch has it noticed that the client leaves, until c.close.
func (c *cached) watch() {
	w := &c.waiting
	w.who, w.conn, w.shard = c, c.r.conn, rand.IntN(waiterShards)
	c.r.srv.waiters.add(w)
}

// left implements leaver.
func (c *cached) left() { c.cut() }

// cut implements leaver.
func (c *cached) cut() {
	switch {
	case c.body != nil:
		c.body.Leave()
	case c.isGone.CompareAndSwap(false, true):
		close(c.gone)
	}
}
