package acme

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Events tell nodes what has changed where they share it: a word and a name, or the key of a set.
const (
	eventCert   = "cert "   // a certificate was issued
	eventManual = "manual " // one was imported, or removed
	eventToken  = "token "  // an answer to HTTP-01 is there
	eventALPN   = "alpn "   // an answer to TLS-ALPN-01 is there
	eventARI    = "ari "    // the issuer has said when to renew
	eventFail   = "fail "   // an order has failed
)

const (
	// fullLook is how often a node compares all it has with what is shared: events may be lost in a failover.
	fullLook = 10 * time.Minute
	// lookAgain is when it does so once more where it could not, at first.
	lookAgain = time.Second
	// lookBatch is how many certificates are read at a time.
	lookBatch = 200
)

// A fleet keeps a node in step with what is shared.
type fleet struct {
	issuer  *issuer // nil: nothing is ordered
	imports *imports
	names   func() []string // that are looked for: of the table, and those that something was imported for
	shared  Shared
	log     *slog.Logger
	synced  atomic.Bool // all that is shared was read once
	opened  opened      // at the present look
	strange atomic.Bool // see opened, at the last whole look
	wake    chan struct{}

	newcomers *newcomers

	asking chan struct{} // of handshakes: a slot for each that waits

	mu     sync.Mutex
	absent map[string]time.Time // names that nothing is shared for, until when that is believed
	flying map[string]chan struct{}
}

func newFleet(m *Manager, shared Shared) *fleet {
	f := &fleet{
		issuer: m.issuer, imports: m.imports, names: m.store.looked, shared: shared, log: m.log, wake: make(chan struct{}, 1), asking: make(chan struct{}, mostAsking),
		absent: make(map[string]time.Time), flying: make(map[string]chan struct{}),
		newcomers: newNewcomers(),
	}
	f.imports.vault.opened = &f.opened
	if f.issuer != nil {
		f.issuer.vault.opened = &f.opened
	}
	return f
}

// run follows events until ctx ends.
func (f *fleet) run(ctx context.Context) {
	var parts sync.WaitGroup
	parts.Go(func() {
		_ = f.shared.Follow(ctx, func(event string) { f.heed(ctx, event) }, f.lookSoon) // ctx's error
	})
	parts.Go(func() { f.greet(ctx) })
	parts.Go(func() {
		wait, again := fullLook, lookAgain
		for {
			timer := time.NewTimer(jitter(wait))
			select {
			case <-ctx.Done():
				timer.Stop()
				return
			case <-f.wake:
			case <-timer.C:
			}
			timer.Stop()
			if f.look(ctx) {
				wait, again = fullLook, lookAgain
			} else {
				wait, again = again, min(2*again, fullLook)
			}
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

// look reads all that is shared of the names that are looked for, and reports whether it could.
func (f *fleet) look(ctx context.Context) bool {
	whole := true
	f.opened.reset()
	f.newcomers.begin()
	names := f.names()
	for len(names) > 0 && ctx.Err() == nil {
		n := min(len(names), lookBatch)
		if f.bring(ctx, names[:n]...) {
			f.newcomers.looked(names[:n]...)
		} else {
			whole = false
		}
		names = names[n:]
	}
	if whole && ctx.Err() == nil {
		f.synced.Store(true)
		strange := f.opened.isStrange()
		if strange && !f.strange.Load() {
			f.log.Error("certificates of other nodes cannot be opened", "err", errStrange)
		}
		f.strange.Store(strange)
		f.newcomers.again()
	}
	if f.issuer != nil {
		for _, a := range f.issuer.accounts {
			if err := a.keepShared(ctx); err != nil {
				f.log.Debug("account key not looked at", "issuer", a.host(), "err", err)
			}
		}
	}
	return whole
}

// bring puts certificates in place that others have issued or imported, and reports whether it could ask for them.
func (f *fleet) bring(ctx context.Context, names ...string) bool {
	err := f.bringIssued(ctx, names...)
	if err == nil {
		err = f.imports.bring(ctx, withWildcards(names)...)
	}
	if err != nil {
		f.log.Debug("certificates of other nodes cannot be read", "err", err)
	}
	return err == nil
}

// withWildcards are the names, and the wildcards above them, each once.
func withWildcards(names []string) []string {
	out := slices.Clone(names)
	seen := make(map[string]bool, len(names))
	for _, name := range names {
		seen[name] = true
	}
	for _, name := range names {
		up := parent(name)
		if wild := "*." + up; up != "" && !seen[wild] {
			seen[wild] = true
			out = append(out, wild)
		}
	}
	return out
}

func (f *fleet) bringIssued(ctx context.Context, names ...string) error {
	if f.issuer == nil {
		return nil
	}
	keys := f.issuer.keysOf(names)
	if len(keys) == 0 {
		return nil
	}
	found, err := f.issuer.vault.fetch(ctx, f.issuer.read, keys...)
	if err != nil {
		return err
	}
	for n, l := range found {
		if l == nil {
			continue
		}
		if old := f.issuer.held(keys[n]); old == nil || old.rank() < l.rank() {
			f.issuer.take(keys[n], l)
		}
	}
	return nil
}

// heed acts on an event.
func (f *fleet) heed(ctx context.Context, event string) {
	word, name, _ := strings.Cut(event, " ")
	if err := insist(ctx, func(ctx context.Context) error { return f.act(ctx, word+" ", name) }); err != nil {
		f.log.Debug("what another node has changed cannot be read", "event", event, "err", err)
		f.lookSoon()
	}
}

func (f *fleet) act(ctx context.Context, word, name string) error {
	i := f.issuer
	switch {
	case word == eventManual:
		return f.imports.bring(ctx, name)
	case i == nil:
	case word == eventCert:
		return f.bringIssued(ctx, name)
	case word == eventToken:
		return i.solver.fetchToken(ctx, name)
	case word == eventALPN:
		return i.solver.fetchCertificate(ctx, name)
	case word == eventFail && i.isWanted(name) && i.held(name) == nil:
		i.plan.set(name, time.Now().Add(jitter(time.Second))) // by then its lease is given back
	case word == eventARI && i.isWanted(name):
		i.ari.plan.set(name, time.Now())
	}
	return nil
}

// isWanted reports whether something is ordered under a key, should it be in need.
func (i *issuer) isWanted(key string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.wanted[key] != nil
}
