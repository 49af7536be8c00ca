package acme

import (
	"errors"
	"slices"
	"strings"
	"time"
)

// A set is the names of the table that one certificate is ordered for: all of a vhost that wants it so (Change.Set), else each name by itself. It is
// known by its key, the name of the vhost, or the name itself. All that is kept of an order is kept under the key: the certificate, the lease, failed orders, the
// issuer's word on when to renew. So a set is ordered once, by one node, and counts as one order.

var errOneLabel = errors.New("acme: no issuer certifies a name of one label")

// want has names ordered under one key, now or when their certificate is due. Names that were ordered under another one leave that; those
// that are under this one stay.
//
// Another type of key has it ordered now only where the wish changes, or at the first sight of a certificate in this process: nodes that were told
// different things would else order in turn, for ever.
func (i *issuer) want(key string, isRSA, paused bool, names ...string) {
	i.mu.Lock()
	for _, name := range names {
		if i.key(name) != key {
			i.leave(name)
		}
	}
	o, known := i.wanted[key]
	if !known {
		o = &order{}
		i.wanted[key] = o
	}
	rekey := known && o.rsa != isRSA
	again := rekey || known && o.paused && !paused
	o.rekey = o.rekey || rekey
	o.rsa, o.paused = isRSA, paused
	grown := false
	for _, name := range names {
		if at, found := slices.BinarySearch(o.names, name); !found {
			o.names = slices.Insert(slices.Clone(o.names), at, name) // workers may be reading it
			grown = true
		}
		if name != key {
			i.keys[name] = key
		}
	}
	if known && grown && o.leaf != nil {
		i.serve(o, o.leaf)
	}
	switch {
	case paused:
		i.plan.drop(key)
	case again, known && grown:
		i.soon(key, o)
	}
	i.mu.Unlock()
	if !known {
		i.unread.set(key, time.Now())
	}
}

// unwant stops orders and renewals of a name. With forget, its certificate is not
// held any more; what is kept of it stays, so that a name that comes back needs no new order.
func (i *issuer) unwant(name string, forget bool) {
	i.mu.Lock()
	i.leave(name)
	i.mu.Unlock()
	if !forget {
		return
	}
	if old := i.store.putIssued(name, nil); old != nil {
		i.replaced(old, nil)
	}
}

// leave takes a name out of its set, and ends the set with its last name. i.mu is held.
func (i *issuer) leave(name string) {
	key := i.key(name)
	delete(i.keys, name)
	o := i.wanted[key]
	if o == nil {
		return
	}
	o.names = slices.DeleteFunc(slices.Clone(o.names), func(n string) bool { return n == name })
	if len(o.names) > 0 {
		if o.err != nil {
			i.soon(key, o) // it may be the name that it failed for
		}
		return
	}
	delete(i.wanted, key)
	i.plan.drop(key)
	i.unread.drop(key)
	i.ari.drop(key)
}

// key is what a name is ordered under. i.mu is held.
func (i *issuer) key(name string) string {
	if key, ok := i.keys[name]; ok {
		return key
	}
	return name
}

// keysOf are the keys that names are ordered under, each once; names that are not ordered have none.
func (i *issuer) keysOf(names []string) []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	var keys []string
	seen := make(map[string]bool, len(names))
	for _, name := range names {
		if key := i.key(name); i.wanted[key] != nil && !seen[key] {
			seen[key] = true
			keys = append(keys, key)
		}
	}
	return keys
}

// orderOf returns the order of a name and its key; nil: it is not ordered.
func (i *issuer) orderOf(name string) (key string, o *order) {
	i.mu.Lock()
	defer i.mu.Unlock()
	key = i.key(name)
	return key, i.wanted[key]
}

// isPaused reports whether a name is ordered, but not at present.
func (i *issuer) isPaused(name string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	o := i.wanted[i.key(name)]
	return o != nil && o.paused
}

// held is the certificate that is kept under a key; nil: none.
func (i *issuer) held(key string) *leaf {
	i.mu.Lock()
	defer i.mu.Unlock()
	if o := i.wanted[key]; o != nil {
		return o.leaf
	}
	return nil
}

// serve puts a certificate in place for the names of an order that it is for: one leaf for all of them. The others keep what they have, since an old
// certificate of a name is better than none. i.mu is held.
func (i *issuer) serve(o *order, l *leaf) {
	o.leaf = l
	now := time.Now()
	for _, name := range o.names {
		old := i.store.issued(name)
		if old == l || !l.fits(name) || old.validAt(now) && !l.validAt(now) {
			continue
		}
		i.replaced(i.store.putIssued(name, l), l)
	}
}

// uncovered has what is ordered for a pattern, or for names below it, looked at now: what was imported for it is gone.
func (i *issuer) uncovered(pattern string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if isExact(pattern) {
		if key := i.key(pattern); i.wanted[key] != nil {
			i.soon(key, i.wanted[key])
		}
		return
	}
	for key, o := range i.wanted {
		if slices.ContainsFunc(o.names, func(name string) bool { return name == pattern || "*."+parent(name) == pattern }) {
			i.soon(key, o)
		}
	}
}

// setOf is the key under which a name shares its certificate with others; empty: it has one of its own.
func (i *issuer) setOf(name string) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	key := i.key(name)
	if o := i.wanted[key]; o == nil || len(o.names) < 2 {
		return ""
	}
	return key
}

// needed are those names of a set that belong into its certificate at present. again is how soon that may change, as some were passed over
// that are not served, or have a file or an imported certificate; 0: none was.
func (i *issuer) needed(names []string, force bool) (need []string, again time.Duration) {
	for _, name := range names {
		wait := time.Until(i.store.takenOver(name))
		switch {
		case isOneLabel(name):
		case !i.known(knownAs(name)):
			again = unknownWait
		case wait > 0 && !force:
			if wait = min(wait, coveredWait); again == 0 || wait < again {
				again = wait
			}
		default:
			need = append(need, name)
		}
	}
	return need, again
}

func isOneLabel(name string) bool { return !strings.Contains(strings.TrimPrefix(name, "*."), ".") }

// compact leaves out names that a wildcard among them covers: Let's Encrypt refuses an order that has both.
func compact(names []string) []string {
	var out []string
	for _, name := range names {
		if !isExact(name) || !slices.Contains(names, "*."+parent(name)) {
			out = append(out, name)
		}
	}
	return out
}

// fitsAll reports whether the certificate covers all these names.
func (l *leaf) fitsAll(names []string) bool {
	for _, name := range names {
		if !l.fits(name) {
			return false
		}
	}
	return true
}

// mismatched reports whether a certificate has to be replaced for its key; i.mu is held.
func (o *order) mismatched(l *leaf) bool { return o.rekey && l != nil && l.isRSA() != o.rsa }

// due reports whether a certificate for these names is to be ordered now.
func due(l *leaf, names []string, ari time.Time) bool {
	return l == nil || !l.fitsAll(names) || !time.Now().Before(renewal(l, ari))
}

// leaveOutAfter is how many orders of a set fail before names that they failed for are left out: the others have waited for forty minutes by then.
const leaveOutAfter = 3

// rest are the names to order without those that have failed again and again, so that these do not keep the others from having a certificate. Nil: all
// are ordered together, since it has not come to that, or the others have theirs.
func (f *failure) rest(l *leaf, names []string, ari time.Time) []string {
	if f.Count < leaveOutAfter {
		return nil
	}
	var rest []string
	for _, name := range names {
		if !slices.Contains(f.Failed, name) {
			rest = append(rest, name)
		}
	}
	if len(rest) == len(names) || len(rest) == 0 || !due(l, rest, ari) {
		return nil
	}
	return rest
}

// isOver reports whether all names that the orders failed for have left the set since.
func (f *failure) isOver(names []string) bool {
	return len(f.Failed) > 0 && !slices.ContainsFunc(f.Failed, func(name string) bool { return slices.Contains(names, name) })
}

// errFor is the last error, where it concerns one of the names. It does not where the name's certificate is not due, and the order was for the sake of
// others, unless somebody had asked for it, or wants another type of key; and none does while nothing is ordered. i.mu is held.
func (o *order) errFor(name string) error {
	switch {
	case o.paused:
		return nil
	case isOneLabel(name):
		return errOneLabel
	case len(o.names) == 1, o.asked, o.mismatched(o.leaf), due(o.leaf, []string{name}, o.ari):
		return o.err
	}
	return nil
}
