package upstream

import (
	"context"
	"io"
	"sync"
)

// A Lifeline lets others end a round trip: Cut closes the connection to the backend and aborts the
// request's body, which wakes whoever waits on them. It is for callers with very many round trips,
// for whom a context each would cost too much; see Request.Lifeline. The zero value is ready, for
// any number of round trips one after another. It is safe for concurrent use.
type Lifeline struct {
	mu    sync.Mutex // held while a cut acts, which is short
	under bool       // a round trip is under way
	body  io.Reader
	c     *conn
	dial  context.CancelFunc
	cause error // of the cut

	// Of a round trip whose context may end.
	stop func() bool
	ran  chan struct{} // closed when the context's end has acted
}

// Cut ends the round trip that is under way, and every later one, with cause as the error. The first
// cause stays.
func (l *Lifeline) Cut(cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cause != nil {
		return
	}
	l.cause = cause
	if !l.under {
		return
	}
	if l.dial != nil {
		l.dial()
	}
	if l.c != nil {
		l.c.sever()
	}
	abort(l.body)
}

// begin puts a round trip on the line, that of a context too if it can end.
func (l *Lifeline) begin(ctx context.Context, body io.Reader) {
	l.mu.Lock()
	l.under, l.body = true, body
	l.mu.Unlock()
	if ctx.Done() == nil {
		return
	}
	ran := make(chan struct{})
	l.ran = ran
	l.stop = context.AfterFunc(ctx, func() {
		defer close(ran)
		l.Cut(ctx.Err())
	})
}

// hold puts c on the line, in place of the one before; nil for none. It gives the cut's cause if
// there was one.
func (l *Lifeline) hold(c *conn) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.c, l.dial = c, nil
	return l.cause
}

// holdDial has a cut end a dial.
func (l *Lifeline) holdDial(cancel context.CancelFunc) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dial = cancel
	return l.cause
}

// why gives the cut's cause if that is why something failed, else err.
func (l *Lifeline) why(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cause != nil {
		return l.cause
	}
	return err
}

// end takes the round trip off the line: from then on nothing touches its connection and its body.
// It reports whether no cut did. Only the goroutine of the round trip calls it; calls after the
// first repeat the answer.
func (l *Lifeline) end() bool {
	if stop := l.stop; stop != nil {
		l.stop = nil
		if !stop() {
			<-l.ran
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.under, l.c, l.body, l.dial = false, nil, nil, nil
	return l.cause == nil
}
