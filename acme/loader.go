package acme

import (
	"context"
	"time"
)

const (
	// loaders is how many certificates of the folder are parsed at a time after a start; handshakes go before.
	loaders = 2
	// demandWait is how long a handshake waits for what is shared, mostAsking how many do at a time, and absentLife how long it is
	// believed that there is nothing.
	demandWait = 250 * time.Millisecond
	mostAsking = 64
	absentLife = 5 * time.Second
)

// look makes sure that the folder was looked into for a name or set, once.
func (i *issuer) look(key string, o *order) {
	o.looked.Do(func() {
		held := i.held(key)
		if held == nil {
			held = i.readLocal(key)
		}
		i.mu.Lock()
		o.rekey = held != nil && held.isRSA() != o.rsa
		i.mu.Unlock()
		i.readOthers(key, o, held)
		i.planFor(key, held)
	})
}

// read is what this node has under a key, in the folder too, where that was not looked into yet.
func (i *issuer) read(key string) *leaf {
	i.mu.Lock()
	o := i.wanted[key]
	i.mu.Unlock()
	if o == nil {
		return nil
	}
	i.look(key, o)
	return i.held(key)
}

// readOthers puts in place what was ordered for names alone, before they came into a set whose certificate, if there is one, lacks them.
func (i *issuer) readOthers(key string, o *order, held *leaf) {
	i.mu.Lock()
	names := o.names
	i.mu.Unlock()
	for _, name := range names {
		if name == key || held != nil && held.fits(name) || i.store.issued(name) != nil {
			continue
		}
		l, err := i.vault.local(name)
		if err != nil || !l.fits(name) {
			continue // it is ordered anyway
		}
		i.mu.Lock()
		if i.key(name) == key && i.store.issued(name) == nil {
			i.replaced(i.store.putIssued(name, l), l)
		}
		i.mu.Unlock()
	}
}

// demand is for a name whose certificate is not in memory: after a start it may not have been read yet. It reads the folder, which takes
// a tenth of a millisecond; with ask it also looks at what is shared, for demandWait at most. Nil: there is none yet.
func (i *issuer) demand(ctx context.Context, name string, ask bool) *leaf {
	for _, pattern := range []string{name, "*." + parent(name)} {
		key, o := i.orderOf(pattern)
		if o == nil {
			continue
		}
		i.look(key, o)
		if ask && i.fleet != nil && i.store.issued(pattern) == nil && !i.fleet.synced.Load() {
			i.fleet.demand(ctx, pattern)
		}
		if l := i.store.issued(pattern); l != nil && time.Now().Before(l.notAfter) {
			return l
		}
	}
	return nil
}

// demand reads one name, for all handshakes that wait for it. If too many wait for others already it does not.
func (f *fleet) demand(ctx context.Context, name string) {
	f.mu.Lock()
	if time.Now().Before(f.absent[name]) {
		f.mu.Unlock()
		return
	}
	done, flying := f.flying[name]
	if !flying {
		done = make(chan struct{})
		f.flying[name] = done
	}
	f.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, demandWait)
	defer cancel()
	if flying {
		select {
		case <-done:
		case <-ctx.Done():
		}
		return
	}
	select {
	case f.asking <- struct{}{}:
		// Another handshake may wait for it, so this one's end does not end it; and it takes no longer than any waits.
		bounded, stop := context.WithTimeout(context.WithoutCancel(ctx), demandWait)
		f.bring(bounded, name)
		stop()
		<-f.asking
	default:
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.issuer.store.issued(name) == nil && f.imports.store.imported(name) == nil {
		now := time.Now()
		for other, until := range f.absent {
			if now.After(until) {
				delete(f.absent, other)
			}
		}
		f.absent[name] = now.Add(absentLife)
	}
	delete(f.flying, name)
	close(done)
}

// load looks at the names of the table one after the other, so that all are in memory soon after a start.
func (i *issuer) load(ctx context.Context) {
	for {
		key, ok := i.unread.next(ctx)
		if !ok {
			return
		}
		i.mu.Lock()
		o := i.wanted[key]
		i.mu.Unlock()
		if o != nil {
			i.look(key, o)
		}
	}
}
