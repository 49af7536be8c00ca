package acme

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// orderers is how many orders a node has under way at a time, and ownersMost how many of these are one tenant's: his name servers may take minutes, for
	// which nobody else waits. Names without a tenant count as one's; a node of one owner has four. Eight take little memory, since they mostly wait,
	// and ask some dozen times a second at most (Let's Encrypt gives an address 20 new nonces a second, and more of all else). How many orders
	// there are in the end is for quota.
	orderers   = 8
	ownersMost = orderers / 2
	// unknownWait is how long a name waits that is to be ordered but not served:
	// the table and the Known function change one after the other.
	unknownWait = 10 * time.Second
	// coveredWait is how long a name waits at most that a wildcard's file, or an imported certificate, covers.
	coveredWait = 10 * time.Minute
	// minRenewWait keeps certificates of a very short life from being ordered
	// without pause.
	minRenewWait = time.Minute
	// busyWait is when a name is looked at again that another node has the lease of, should no word of it come. That node may not be ordering, but
	// looking, too, whether it has to, or may have been slow to say how it went. No more names have leases than all nodes have workers, so these are few looks.
	busyWait = 5 * time.Second
	// blindWait is when a name is looked at again after what nodes share could not be reached.
	blindWait = 15 * time.Second
)

// issuer orders and renews certificates: some workers, each with one order at a time, in the
// order in which a tenant's names fall due. Tenants take turns.
type issuer struct {
	vault    *vault
	accounts []*account // in the order of the settings
	solver   *solver
	check    *selfCheck
	ari      *ariPoll
	quota    *quota
	owner    string // of leases: this process
	known    func(string) bool
	tenant   func(string) string
	store    *store
	replaced func(old, l *leaf)
	log      *slog.Logger
	results  *prometheus.CounterVec
	plan     *schedule[string]
	unread   *schedule[string] // names whose folder was not looked into yet
	fleet    *fleet            // nil: this node is alone
	notices  *notices

	mu     sync.Mutex
	wanted map[string]*order // by key, see set.go
	keys   map[string]string // of names that are ordered under another one: which
}

// order is what is known about getting the certificate of one name, or of a set.
type order struct {
	names  []string  // of the table, that it is for; sorted, and replaced as a whole
	leaf   *leaf     // what is kept under the key; nil: nothing yet
	err    error     // of the last attempt; nil after success
	tried  time.Time // when err was set
	force  bool      // order though the certificate is not due
	hand   bool      // force is somebody's word, which goes before any wait
	words  int       // how often it was given
	asked  bool      // err is of an attempt by force
	busy   bool      // a worker has it
	again  bool      // another one was to have it meanwhile
	active bool      // an attempt is under way
	told   time.Time // when operators were told that it fails, as far as this node knows
	ari    time.Time // when to renew by the issuer's word; zero: it has not said
	rsa    bool      // an RSA key
	rekey  bool      // order anew if the certificate has a key of the other type
	paused bool      // order nothing
	looked sync.Once // into the folder
}

// readLocal puts the folder's certificate of a name or set in place, if there is one.
func (i *issuer) readLocal(name string) *leaf {
	l, err := i.vault.local(name)
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			i.log.Warn("certificate of the folder not usable", "name", name, "err", err)
		}
		return nil
	}
	if time.Since(l.notAfter) > forgetAfter {
		if err := ignoreAbsent(os.Remove(i.vault.file(name))); err != nil {
			i.log.Warn("expired certificate not removed", "name", name, "err", err)
		}
		return nil
	}
	i.place(name, l)
	return l
}

// place serves l from now on, unless something better is there.
func (i *issuer) place(key string, l *leaf) {
	i.mu.Lock()
	defer i.mu.Unlock()
	o := i.wanted[key]
	if o == nil || o.leaf != nil && o.leaf.rank() >= l.rank() {
		return
	}
	i.serve(o, l)
}

// take is place for what another node has issued: it spares an order here.
func (i *issuer) take(name string, l *leaf) {
	i.mu.Lock()
	o, wanted := i.wanted[name]
	i.mu.Unlock()
	if !wanted {
		return
	}
	before := i.held(name)
	i.place(name, l)
	i.mu.Lock()
	o.err, o.told = nil, time.Time{}
	if before == nil || before.digest != l.digest {
		o.ari = time.Time{}
	}
	if before == nil && !o.hand || before != nil && before.digest != l.digest { // else it is the one that somebody wants replaced, seen for the first time
		o.force, o.hand = false, false
	}
	o.rekey = o.rekey || before == nil
	o.rekey = o.mismatched(o.leaf) // which may be another than l, if that goes before it
	i.mu.Unlock()
	i.planFor(name, i.held(name))
}

// planFor plans the next look at what is wanted under a key: when its certificate is due, or now.
func (i *issuer) planFor(key string, held *leaf) {
	at := time.Now()
	i.mu.Lock()
	o := i.wanted[key]
	paused := o != nil && o.paused
	if held != nil && o != nil && held.fitsAll(o.names) && !o.force && !o.mismatched(held) {
		at = renewal(held, o.ari)
	}
	i.mu.Unlock()
	if paused {
		i.plan.drop(key)
		return
	}
	if held != nil {
		i.ari.watch(key)
	}
	i.plan.set(key, at)
}

// hurry has a name ordered now, with its set, whatever the age of the certificate. By hand, it also waits for nothing, whatever orders have failed.
func (i *issuer) hurry(name string, hand bool) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	key := i.key(name)
	o, ok := i.wanted[key]
	if !ok {
		return fmt.Errorf("acme: no certificate of %s is ordered from the issuer", name)
	}
	switch {
	case o.paused && hand:
		return fmt.Errorf("acme: %s is suspended: nothing is ordered for it", name)
	case o.paused:
		o.force = true // when that ends
		return nil
	}
	o.force, o.hand = true, o.hand || hand
	if hand {
		o.words++
	}
	i.soon(key, o)
	return nil
}

// revoked has the names of a certificate that the issuer has revoked ordered anew, with another key.
func (i *issuer) revoked(l *leaf) {
	for _, name := range l.names {
		if key, o := i.orderOf(name); i.store.issued(name) != l || o != nil && i.held(key) != l {
			continue // the set has another one already, which lacks this name, and tries to get it
		}
		if err := i.hurry(name, false); err != nil {
			i.log.Debug("revoked certificate not ordered anew", "name", name, "err", err)
		}
	}
}

// run works until ctx ends.
func (i *issuer) run(ctx context.Context) {
	end := func() {
		for _, a := range i.accounts {
			a.gate.close()
		}
	}
	stop := context.AfterFunc(ctx, end)
	defer func() {
		stop()
		end()
		i.check.close()
	}()
	var workers sync.WaitGroup
	for range orderers {
		workers.Go(func() { i.plan.work(ctx, func(key string) { i.process(ctx, key) }) })
	}
	for range loaders {
		workers.Go(func() { i.load(ctx) })
	}
	for range ariPollers {
		workers.Go(func() { i.ari.run(ctx, i) })
	}
	workers.Go(func() { i.keepSwept(ctx) })
	workers.Wait()
}

// process orders what is wanted under a key, if it still is, and due, and plans the next time.
func (i *issuer) process(ctx context.Context, key string) {
	o := i.begin(key)
	if o == nil {
		return
	}
	defer i.end(key, o)
	i.look(key, o)
	i.mu.Lock()
	t := &try{key: key, order: o, all: o.names, force: o.force, hand: o.hand, words: o.words}
	held, ari, paused, mismatched := o.leaf, o.ari, o.paused, o.mismatched(o.leaf)
	i.mu.Unlock()
	need, again := i.needed(t.all, t.force)
	t.all, t.names = need, need
	switch {
	case paused:
	case len(need) == 0 && again == 0:
		i.finish(t, errOneLabel, 24*time.Hour)
	case len(need) == 0:
		i.plan.set(key, time.Now().Add(again))
	case t.force || mismatched || due(held, need, ari):
		i.attempt(ctx, t)
	default:
		at := renewal(held, ari)
		if again > 0 {
			at = earlier(at, time.Now().Add(again))
		}
		i.plan.set(key, at)
		i.ari.watch(key)
	}
}

// begin has this worker alone work at an order; nil: it is not wanted, or another one does, and has it looked at once more when it ends.
func (i *issuer) begin(key string) *order {
	i.mu.Lock()
	defer i.mu.Unlock()
	o := i.wanted[key]
	if o == nil {
		return nil
	}
	if o.busy {
		o.again = true
		return nil
	}
	o.busy = true
	return o
}

// soon has an order looked at now; once more, if a worker has it. i.mu is held.
func (i *issuer) soon(key string, o *order) {
	o.again = o.again || o.busy // the worker plans the next time, too
	i.plan.set(key, time.Now())
}

func (i *issuer) end(key string, o *order) {
	i.mu.Lock()
	defer i.mu.Unlock()
	o.busy = false
	if o.again && i.wanted[key] == o {
		i.plan.set(key, time.Now())
	}
	o.again = false
}

// orders reports whether certificates of a canonical pattern can be had at all.
func (i *issuer) orders(pattern string) bool {
	return isExact(pattern) || pattern != "*" && i.solver.dns != nil
}

// knownAs is a host that the table has if it has the name: any below it of a wildcard.
func knownAs(name string) string {
	if rest, wild := strings.CutPrefix(name, "*."); wild {
		return "any." + rest
	}
	return name
}

// finish notes the outcome of an attempt and plans the next one after wait.
func (i *issuer) finish(t *try, err error, wait time.Duration) {
	if err != nil {
		i.results.WithLabelValues("failed").Inc()
		i.log.Error("certificate not issued", "name", t.key, "err", err, "retry_in", wait.Round(time.Second))
	} else {
		i.results.WithLabelValues("issued").Inc()
		i.log.Info("certificate issued", "name", t.key, "renew_in", wait.Round(time.Second))
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	o := t.order
	o.err, o.tried, o.asked = err, time.Now(), t.force
	if err == nil {
		o.told = time.Time{}
	}
	// One that is revoked goes in the end; somebody's word is for once, and not for what was under way when it was given.
	if (err == nil || t.hand) && o.words == t.words {
		o.force, o.hand = false, false
	}
	if err == nil {
		o.rekey = o.mismatched(o.leaf) // the wish may have changed meanwhile
	}
	if i.wanted[t.key] == o && !o.paused { // not removed, nor removed and added again, meanwhile
		i.plan.set(t.key, time.Now().Add(wait))
	}
}

func (i *issuer) setActive(o *order, active bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	o.active = active
}

// status returns when a name is tried or renewed next, when the last attempt ended, and its error, if that is of concern for the name.
func (i *issuer) status(name string) (next, tried time.Time, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	key := i.key(name)
	o, ok := i.wanted[key]
	if !ok {
		return next, tried, nil
	}
	err = o.errFor(name)
	if o.active {
		return time.Now(), o.tried, err
	}
	return i.plan.at(key), o.tried, err
}

// failing counts the names whose last attempt failed, or was put off.
func (i *issuer) failing() (n int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, o := range i.wanted {
		for _, name := range o.names {
			if o.errFor(name) != nil {
				n++
			}
		}
	}
	return n
}

// waiting counts the names without an issued certificate that one is ordered for.
func (i *issuer) waiting() (n int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, o := range i.wanted {
		for _, name := range o.names {
			if !o.paused && i.store.issued(name) == nil {
				n++
			}
		}
	}
	return n
}

// jitter varies a wait by ±20 %.
func jitter(d time.Duration) time.Duration {
	return time.Duration((0.8 + 0.4*rand.Float64()) * float64(d))
}
