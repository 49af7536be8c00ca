package upstream

import (
	"context"
	"io"
	"sync"
)

// watch ends a round trip when its context ends: it closes the connection and aborts the request's
// body, which wakes whoever waits on them. A nil watch is that of a context that never ends.
type watch struct {
	ctx  context.Context
	body io.Reader
	stop func() bool
	ran  chan struct{} // closed when fire has run

	ended, unfired bool // end was called; its answer

	mu    sync.Mutex
	c     *conn
	fired bool
}

func watchContext(ctx context.Context, body io.Reader) *watch {
	if ctx.Done() == nil {
		return nil
	}
	w := &watch{ctx: ctx, body: body, ran: make(chan struct{})}
	w.stop = context.AfterFunc(ctx, w.fire)
	return w
}

func (w *watch) fire() {
	defer close(w.ran)
	w.mu.Lock()
	w.fired = true
	c := w.c
	w.mu.Unlock()
	if c != nil {
		c.sever()
	}
	abort(w.body)
}

// hold puts c under watch, in place of the one before; nil for none. It gives the context's error
// if that has ended.
func (w *watch) hold(c *conn) error {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fired {
		return w.ctx.Err()
	}
	w.c = c
	return nil
}

// cause gives the context's error if that is why something failed, else err.
func (w *watch) cause(err error) error {
	if w == nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fired {
		return w.ctx.Err()
	}
	return err
}

// end stops watching and, if the context has ended meanwhile, waits until fire is through with the
// connection and the body. It reports whether the context left both alone. Only the goroutine of
// the round trip calls it; calls after the first repeat the answer.
func (w *watch) end() bool {
	if w == nil {
		return true
	}
	if !w.ended {
		w.ended, w.unfired = true, w.stop()
		if !w.unfired {
			<-w.ran
		}
	}
	return w.unfired
}
