package edge

import (
	"context"
	"math/rand/v2"

	"gatehouse/cache"
)

// wait waits for the flight of an equal request and answers with what that brings, or sends this one on where that
// cannot answer it. [cache.ErrAgain]: nothing was decided,
// or for another variant.
func (c *cached) wait(next handler, f *cache.Flight) error {
	r := c.r
	c.gone = make(chan struct{})
	c.watch()
	select {
	case <-f.Decided():
	case <-c.gone:
	}
	r.srv.waiters.remove(&c.waiting)
	if c.isGone.Load() {
		f.Leave()
		if r.srv.waiters.closed.Load() {
			return fail(503, "the server is going away", context.Canceled)
		}
		return &httpError{status: 499, reason: "client closed the connection", cause: context.Canceled}
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
