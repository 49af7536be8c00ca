package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// work is what a node's goroutines do, in two parts: those that write in the data
// folder end before the others when another process takes it over.
type work struct {
	all, data         context.Context
	stopAll, haltData context.CancelFunc
	running, writing  sync.WaitGroup
	broken            chan error // gets the first of what ends before its time
}

// newWork has the values of ctx but not its end: a node drains first.
func newWork(ctx context.Context) *work {
	w := &work{broken: make(chan error, 8)}
	w.all, w.stopAll = context.WithCancel(context.WithoutCancel(ctx))
	w.data, w.haltData = context.WithCancel(w.all)
	return w
}

// begin runs f until it returns, at the latest when ctx, one of w's two, has ended.
func (w *work) begin(ctx context.Context, what string, f func() error) {
	group := &w.running
	if ctx == w.data {
		group = &w.writing
	}
	group.Go(func() {
		if err := f(); err != nil && ctx.Err() == nil {
			select {
			case w.broken <- fmt.Errorf("%s: %w", what, err):
			default: // enough is broken
			}
		}
	})
}

// stopData ends what writes in the data folder, and waits for it.
func (w *work) stopData() {
	w.haltData()
	w.writing.Wait()
}

// stop ends everything, and waits for it.
func (w *work) stop() {
	w.stopAll()
	w.stopData()
	w.running.Wait()
}

// After a hand-over, connections to the APIs that were accepted before get apiQuiet
// to send their request, and apiGrace in all to be answered.
const (
	apiQuiet = time.Second
	apiGrace = 10 * time.Second
)

// drain ends the edge; a second signal ends it at once.
func (n *node) drain() error {
	ctx, release := afterSignals(1) // the one that began it has been taken
	defer release()
	begin := time.Now()
	err := n.edge.Shutdown(ctx)
	err = errors.Join(n.cut(err, begin), n.edge.Close(), n.closeServers())
	n.saveCache(ctx)
	return err
}

// drainHanded is drain beside a heir that accepts already. The first signal says
// nothing new, the second one ends it at once.
func (n *node) drainHanded(h *heir) error {
	ctx, release := afterSignals(2)
	defer release()
	begin := time.Now()
	var apis sync.WaitGroup
	var apisErr error
	apis.Go(func() { apisErr = n.leaveAPIs(ctx) })
	var giving sync.WaitGroup
	giving.Go(func() { n.giveCache(ctx, h.cache) })
	err := n.edge.Handover(ctx)
	apis.Wait()
	err = errors.Join(n.cut(err, begin), n.cut(apisErr, begin), n.edge.Close(), n.closeServers())
	giving.Wait()
	return err
}

// leaveAPIs leaves the admin listener and the socket to the heir. net/http's
// Shutdown gives no answer to a request that it reads after it began, so
// connections that were accepted before get a moment first.
func (n *node) leaveAPIs(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, apiGrace)
	defer cancel()
	err := closed(n.socket.Close())
	if n.admin != nil {
		err = errors.Join(err, closed(n.admin.Close()))
	}
	select {
	case <-time.After(apiQuiet):
	case <-ctx.Done():
	}
	return errors.Join(err, n.shutServers(ctx))
}

// cut makes requests that had to be cut a line in the log.
func (n *node) cut(err error, begin time.Time) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		n.log.Warn("requests are cut", "requests", n.edge.InFlight(), "after", time.Since(begin).Round(100*time.Millisecond))
		return nil
	}
	return err
}

// afterSignals returns a context that ends with the count-th signal to end from now on.
func afterSignals(count int) (ctx context.Context, release func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, count)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	var counting sync.WaitGroup
	counting.Go(func() {
		defer cancel()
		for range count {
			select {
			case <-signals:
			case <-ctx.Done():
				return
			}
		}
	})
	return ctx, func() {
		signal.Stop(signals)
		cancel()
		counting.Wait()
	}
}
