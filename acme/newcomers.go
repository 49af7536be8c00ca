package acme

import (
	"context"
	"sync"
)

// newcomers are names that came into the table after the last look at what is shared had begun: an import of long ago may be there for them, of
// which this node has never heard.
type newcomers struct {
	mu    sync.Mutex
	begun bool // a look has: it has the names of before
	names map[string]bool
	wake  chan struct{}
}

func newNewcomers() *newcomers {
	return &newcomers{names: make(map[string]bool), wake: make(chan struct{}, 1)}
}

// begin is called before a look takes the names of the table.
func (n *newcomers) begin() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.begun = true
}

// add notes a name that is in the table now.
func (n *newcomers) add(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.begun {
		n.names[name] = true
		n.signal()
	}
}

// looked notes that what is shared of some names was read.
func (n *newcomers) looked(names ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.names) == 0 {
		return
	}
	for _, name := range names {
		delete(n.names, name)
	}
	if len(n.names) == 0 {
		n.names = make(map[string]bool) // maps do not shrink
	}
}

// left are those that nobody has looked for yet.
func (n *newcomers) left() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	left := make([]string, 0, len(n.names))
	for name := range n.names {
		left = append(left, name)
	}
	return left
}

// among are those of some names.
func (n *newcomers) among(names []string) (found []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, name := range names {
		if n.names[name] {
			found = append(found, name)
		}
	}
	return found
}

// again has those that are left looked for.
func (n *newcomers) again() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.names) > 0 {
		n.signal()
	}
}

// signal wakes who looks. n.mu is held.
func (n *newcomers) signal() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// learn brings what was imported for those of some names that it is not known of yet.
func (f *fleet) learn(ctx context.Context, names ...string) error {
	if f.synced.Load() {
		names = f.newcomers.among(names)
	}
	if len(names) == 0 {
		return nil
	}
	if err := f.imports.bring(ctx, withWildcards(names)...); err != nil {
		return err
	}
	f.newcomers.looked(names...)
	return nil
}

// greet brings what was imported for newcomers, as they come, once all others were looked for, until ctx ends.
func (f *fleet) greet(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.newcomers.wake:
		}
		left := f.newcomers.left()
		for f.synced.Load() && len(left) > 0 {
			n := min(len(left), lookBatch)
			if err := f.learn(ctx, left[:n]...); err != nil {
				f.log.Debug("what was imported for new names cannot be read", "err", err)
				f.lookSoon()
				break
			}
			left = left[n:]
		}
	}
}
