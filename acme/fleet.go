package acme

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Events tell nodes what has changed where they share it: a word and a name.
const (
	eventCert  = "cert "  // a certificate was issued or imported
	eventToken = "token " // an answer to HTTP-01 is there
	eventALPN  = "alpn "  // an answer to TLS-ALPN-01 is there
	eventARI   = "ari "   // the issuer has said when to renew
	eventFail  = "fail "  // an order has failed
)

const (
	// fullLook is how often a node compares all it has with what is shared: events may be lost in a failover.
	fullLook = 10 * time.Minute
	// lookBatch is how many certificates are read at a time.
	lookBatch = 200
)

// A fleet keeps a node in step with what is shared.
type fleet struct {
	issuer *issuer
	shared Shared
	synced atomic.Bool // all that is shared was read once
	wake   chan struct{}

	asking chan struct{} // of handshakes: a slot for each that waits

	mu     sync.Mutex
	absent map[string]time.Time // names that nothing is shared for, until when that is believed
	flying map[string]chan struct{}
}

func newFleet(i *issuer, shared Shared) *fleet {
	return &fleet{
		issuer: i, shared: shared, wake: make(chan struct{}, 1), asking: make(chan struct{}, mostAsking),
		absent: make(map[string]time.Time), flying: make(map[string]chan struct{}),
	}
}

// run follows events until ctx ends.
func (f *fleet) run(ctx context.Context) {
	var parts sync.WaitGroup
	parts.Go(func() {
		_ = f.shared.Follow(ctx, func(event string) { f.heed(ctx, event) }, f.lookSoon) // ctx's error
	})
	parts.Go(func() {
		for {
			timer := time.NewTimer(jitter(fullLook))
			select {
			case <-ctx.Done():
				timer.Stop()
				return
			case <-f.wake:
			case <-timer.C:
			}
			timer.Stop()
			f.look(ctx)
		}
	})
	parts.Wait()
}

// lookSoon has all that is shared read again.
func (f *fleet) lookSoon() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// look reads all that is shared of the names of the table.
func (f *fleet) look(ctx context.Context) {
	whole := true
	names := f.issuer.names()
	for len(names) > 0 && ctx.Err() == nil {
		n := min(len(names), lookBatch)
		whole = f.bring(ctx, names[:n]...) && whole
		names = names[n:]
	}
	if whole && ctx.Err() == nil {
		f.synced.Store(true)
	}
}

// bring puts certificates in place that others have issued, and reports whether it could ask for them.
func (f *fleet) bring(ctx context.Context, names ...string) bool {
	limited, cancel := context.WithTimeout(ctx, sharedWait)
	defer cancel()
	found, err := f.issuer.vault.fetch(limited, names...)
	if err != nil {
		f.issuer.log.Debug("what other nodes have issued cannot be read", "err", err)
		return false
	}
	for n, l := range found {
		if l == nil {
			continue
		}
		if old := f.issuer.store.issued(names[n]); old == nil || old.rank() < l.rank() {
			f.issuer.take(names[n], l)
		}
	}
	return true
}

// heed acts on an event.
func (f *fleet) heed(ctx context.Context, event string) {
	i := f.issuer
	word, name, _ := strings.Cut(event, " ")
	switch word + " " {
	case eventCert:
		if i.isWanted(name) {
			f.bring(ctx, name)
		}
	case eventToken, eventALPN:
		limited, cancel := context.WithTimeout(ctx, sharedWait)
		defer cancel()
		if word+" " == eventToken {
			i.solver.fetchToken(limited, name)
		} else {
			i.solver.fetchCertificate(limited, name)
		}
	case eventFail:
		if i.isWanted(name) && i.store.issued(name) == nil {
			i.plan.set(name, time.Now().Add(jitter(time.Second))) // by then its lease is given back
		}
	case eventARI:
		if i.isWanted(name) {
			i.ari.plan.set(name, time.Now())
		}
	}
}

// isWanted reports whether a name is ordered, should it be in need.
func (i *issuer) isWanted(name string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.wanted[name] != nil
}
