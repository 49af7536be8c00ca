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
	// orderers is how many orders a node has under way at a time.
	orderers = 4
	// unknownWait is how long a name waits that is to be ordered but not served:
	// the table and the Known function change one after the other.
	unknownWait = 10 * time.Second
	// coveredWait is how long a name waits that a wildcard's file covers.
	coveredWait = 10 * time.Minute
	// minRenewWait keeps certificates of a very short life from being ordered
	// without pause.
	minRenewWait = time.Minute
	// busyWait is when a name is looked at again that another node orders, should no word of it come.
	busyWait = leaseLife
	// blindWait is when a name is looked at again after what nodes share could not be reached.
	blindWait = 15 * time.Second
)

// issuer orders and renews certificates: some workers, each with one order at a time, in the
// order in which names fall due.
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
	wanted map[string]*order
}

// order is what is known about getting the certificate of one name.
type order struct {
	err    error     // of the last attempt; nil after success
	tried  time.Time // when err was set
	force  bool      // order though the certificate is not due
	active bool      // an attempt is under way
	ari    time.Time // when to renew by the issuer's word; zero: it has not said
	rsa    bool      // an RSA key
	rekey  bool      // order anew if the certificate has a key of the other type
	paused bool      // order nothing
	looked sync.Once // into the folder
}

// want has a name ordered, now or when its certificate is due.
//
// Another type of key has it ordered now only where the wish changes, or at the first sight of a certificate in this process: nodes that were told
// different things would else order in turn, for ever.
func (i *issuer) want(name string, isRSA, paused bool) {
	i.mu.Lock()
	o, known := i.wanted[name]
	if !known {
		o = &order{}
		i.wanted[name] = o
	}
	again := known && (o.rsa != isRSA || o.paused && !paused)
	o.rekey = o.rekey || known && o.rsa != isRSA
	o.rsa, o.paused = isRSA, paused
	i.mu.Unlock()
	switch {
	case !known:
		i.unread.set(name, time.Now())
	case paused:
		i.plan.drop(name)
	case again:
		i.plan.set(name, time.Now())
	}
}

// mismatched reports whether a certificate has to be replaced for its key; i.mu is held.
func (o *order) mismatched(l *leaf) bool { return o.rekey && l != nil && l.isRSA() != o.rsa }

// readLocal puts the folder's certificate of a name in place, if there is one.
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
func (i *issuer) place(name string, l *leaf) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if old := i.store.issued(name); old != nil && old.rank() >= l.rank() {
		return
	}
	i.replaced(i.store.putIssued(name, l), l)
}

// take is place for what another node has issued: it spares an order here.
func (i *issuer) take(name string, l *leaf) {
	i.mu.Lock()
	o, wanted := i.wanted[name]
	i.mu.Unlock()
	if !wanted {
		return
	}
	before := i.store.issued(name)
	i.place(name, l)
	i.mu.Lock()
	if o.err = nil; before == nil || before.digest != l.digest {
		o.ari = time.Time{}
	}
	o.rekey = (o.rekey || before == nil) && l.isRSA() != o.rsa
	i.mu.Unlock()
	i.planFor(name, i.store.issued(name))
}

// planFor plans the next look at a name: when its certificate is due, or now.
func (i *issuer) planFor(name string, held *leaf) {
	at := time.Now()
	var ari time.Time
	var paused, mismatched bool
	i.mu.Lock()
	if o := i.wanted[name]; o != nil {
		ari, paused, mismatched = o.ari, o.paused, o.mismatched(held)
	}
	i.mu.Unlock()
	if paused {
		i.plan.drop(name)
		return
	}
	if held != nil && !mismatched {
		at = renewal(held, ari)
		i.ari.watch(name)
	}
	i.plan.set(name, at)
}

// unwant stops orders and renewals of a name. With forget, its certificate is not
// held any more; what is kept of it stays, so that a name that comes back needs no new order.
func (i *issuer) unwant(name string, forget bool) {
	i.mu.Lock()
	delete(i.wanted, name)
	i.mu.Unlock()
	i.plan.drop(name)
	i.unread.drop(name)
	i.ari.drop(name)
	if !forget {
		return
	}
	if old := i.store.putIssued(name, nil); old != nil {
		i.replaced(old, nil)
	}
}

// hurry has a name ordered now, whatever the age of its certificate.
func (i *issuer) hurry(name string) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	o, ok := i.wanted[name]
	if !ok {
		return fmt.Errorf("acme: no certificate of %s is ordered from the issuer", name)
	}
	if o.paused {
		return fmt.Errorf("acme: %s is suspended: nothing is ordered for it", name)
	}
	o.force = true
	i.plan.set(name, time.Now())
	return nil
}

// revoked has the names of a certificate that the issuer has revoked ordered anew, with another key.
func (i *issuer) revoked(l *leaf) {
	for _, name := range l.names {
		if i.store.issued(name) == l {
			if err := i.hurry(name); err != nil {
				i.log.Debug("revoked certificate not ordered anew", "name", name, "err", err)
			}
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
		workers.Go(func() {
			for {
				name, ok := i.plan.next(ctx)
				if !ok {
					return
				}
				i.process(ctx, name)
			}
		})
	}
	for range loaders {
		workers.Go(func() { i.load(ctx) })
	}
	for range ariPollers {
		workers.Go(func() { i.ari.run(ctx, i) })
	}
	workers.Wait()
}

// process orders a name if that is still wanted and due, and plans the next time.
func (i *issuer) process(ctx context.Context, name string) {
	i.mu.Lock()
	o, ok := i.wanted[name]
	i.mu.Unlock()
	if !ok {
		return
	}
	i.look(name, o)
	held := i.store.issued(name)
	i.mu.Lock()
	force, ari, paused, mismatched := o.force, o.ari, o.paused, o.mismatched(held)
	i.mu.Unlock()
	switch {
	case paused:
	case !strings.Contains(strings.TrimPrefix(name, "*."), "."):
		i.finish(name, o, errors.New("acme: no issuer certifies a name of one label"), 24*time.Hour)
	case !i.known(knownAs(name)):
		i.plan.set(name, time.Now().Add(unknownWait))
	case i.store.hasFile(name) && !force:
		i.plan.set(name, time.Now().Add(coveredWait))
	case held != nil && !force && !mismatched && time.Now().Before(renewal(held, ari)):
		i.planFor(name, held)
	default:
		i.attempt(ctx, name, o, force)
	}
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
func (i *issuer) finish(name string, o *order, err error, wait time.Duration) {
	if err != nil {
		i.results.WithLabelValues("failed").Inc()
		i.log.Error("certificate not issued", "name", name, "err", err, "retry_in", wait.Round(time.Second))
	} else {
		i.results.WithLabelValues("issued").Inc()
		i.log.Info("certificate issued", "name", name, "renew_in", wait.Round(time.Second))
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	o.err, o.tried, o.force = err, time.Now(), false
	o.rekey = o.rekey && err != nil
	if i.wanted[name] == o { // not removed, nor removed and added again, meanwhile
		i.plan.set(name, time.Now().Add(wait))
	}
}

func (i *issuer) setActive(o *order, active bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	o.active = active
}

// status returns when a name is tried or renewed next, when the last attempt ended, and its error.
func (i *issuer) status(name string) (next, tried time.Time, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	o, ok := i.wanted[name]
	if !ok {
		return next, tried, nil
	}
	if o.active {
		return time.Now(), o.tried, o.err
	}
	return i.plan.at(name), o.tried, o.err
}

// failing counts the names whose last attempt failed, or was put off.
func (i *issuer) failing() (n int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, o := range i.wanted {
		if o.err != nil {
			n++
		}
	}
	return n
}

// waiting counts the names without an issued certificate.
func (i *issuer) waiting() int {
	n := 0
	for _, name := range i.names() {
		if i.store.issued(name) == nil {
			n++
		}
	}
	return n
}

// names are those that are wanted, in no particular order.
func (i *issuer) names() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	names := make([]string, 0, len(i.wanted))
	for name := range i.wanted {
		names = append(names, name)
	}
	return names
}

// jitter varies a wait by ±20 %.
func jitter(d time.Duration) time.Duration {
	return time.Duration((0.8 + 0.4*rand.Float64()) * float64(d))
}
