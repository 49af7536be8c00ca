package edge

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

const (
	// drainQuiet without a new request ends the time in which idle connections are
	// kept after a hand-over.
	drainQuiet = time.Second
	// handedMost ends that time at the latest: by then every client that has not
	// paused so long has been told that its connection ends.
	handedMost = 5 * time.Second
	// tunnelGrace is what upgraded connections get after the last request.
	tunnelGrace = 2 * time.Second
)

// Shutdown drains the server: it goes on accepting for Limits.DrainAccept, answers
// with Connection: close, then closes the listeners, lets requests under way end
// within Limits.DrainGrace, and closes upgraded connections last. It returns an
// error that is context.DeadlineExceeded, or ctx's, if requests are left, which
// Close then cuts.
func (s *Server) Shutdown(ctx context.Context) error { return s.drain(ctx, false) }

// Handover drains the server after another process has begun to accept from the
// same sockets. It is Shutdown with two differences: accepting stops at once,
// since a waiting connection is the other's now, and upgraded connections may
// stay until Limits.DrainGrace is over, since nobody waits for this process. Idle
// connections stay open for a moment: a request may be on its way on them.
func (s *Server) Handover(ctx context.Context) error { return s.drain(ctx, true) }

func (s *Server) drain(ctx context.Context, handed bool) error {
	s.active.Store(time.Now().UnixNano())
	s.draining.Store(true)
	var err error
	if handed {
		err = s.listening.close()
	}
	s.linger(ctx, handed)
	err = errors.Join(err, s.listening.close())
	ctx, cancel := context.WithTimeout(ctx, s.opts.Limits.DrainGrace)
	defer cancel()
	s.keepPromises(ctx)
	stop := s.closeIdle()
	ended := s.http.ShutdownWithContext(ctx)
	stop()
	if ended == nil || errors.Is(ended, net.ErrClosed) {
		s.settle()
	}
	if !errors.Is(ended, net.ErrClosed) { // Handover has closed them
		err = errors.Join(err, ended)
	}
	// What fasthttp has handed over is ours to wait for and to close.
	most := make(<-chan time.Time) // never
	if !handed {
		most = time.After(tunnelGrace)
	}
	select {
	case <-s.tunnels.wait():
	case <-most:
	case <-ctx.Done():
	}
	err = errors.Join(err, s.tunnels.closeAll((*taken).Close))
	select {
	case <-s.tunnels.wait():
	case <-ctx.Done():
	}
	return err
}

// closeIdle closes connections that wait for another request, from now on until stop.
// The library closes those that wait for their first.
func (s *Server) closeIdle() (stop func()) {
	over := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			s.door.CloseIdle()
			select {
			case <-tick.C:
			case <-over:
				return
			}
		}
	})
	return func() {
		close(over)
		running.Wait()
	}
}

// linger goes on serving for Limits.DrainAccept. After a hand-over nobody new
// comes, so a moment in which nobody has begun a request is enough.
func (s *Server) linger(ctx context.Context, handed bool) {
	most := max(s.opts.Limits.DrainAccept, 0)
	if handed {
		most = handedMost
	}
	begin := time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		since := time.Since(time.Unix(0, s.active.Load()))
		if handed && since > drainQuiet || time.Since(begin) > most {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// keepPromises waits until no answer is under way whose client was told that the
// connection goes on, and a moment more: its next request may be on its way.
func (s *Server) keepPromises(ctx context.Context) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	waited := false
	for last := time.Now(); ; {
		if s.door.Promised() > 0 {
			last, waited = time.Now(), true
		}
		if !waited || time.Since(last) > drainQuiet {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// listenerSet holds the listeners that are being served.
type listenerSet struct {
	mu        sync.Mutex
	listeners []net.Listener
	closed    bool
}

// add reports false if the set was closed before; the listener is closed then.
func (l *listenerSet) add(ln net.Listener) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		_ = ln.Close() // nobody has accepted from it
		return false
	}
	l.listeners = append(l.listeners, ln)
	return true
}

func (l *listenerSet) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	var errs []error
	for _, ln := range l.listeners {
		if err := ln.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	l.listeners = nil
	return errors.Join(errs...)
}
