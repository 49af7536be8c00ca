package acme

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	xacme "golang.org/x/crypto/acme"
)

// backoffs are the waits after the first, second, … failed order of a name, each
// ±20 %. Let's Encrypt allows five failed validations per name and hour.
var backoffs = []time.Duration{
	time.Minute, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 6 * time.Hour, 24 * time.Hour,
}

const (
	// unknownWait is how long a name waits that is to be ordered but not served:
	// the table and the Known function change one after the other.
	unknownWait = 10 * time.Second
	// coveredWait is how long a name waits that a wildcard's file covers.
	coveredWait = 10 * time.Minute
	// minRenewWait keeps certificates of a very short life from being ordered
	// without pause.
	minRenewWait = time.Minute
)

// issuer orders and renews certificates: one worker, one order at a time, in the
// order in which names fall due.
type issuer struct {
	dir        string // certificates and account key, of this directory only
	client     *xacme.Client
	gate       *gate
	email      string
	eab        *xacme.ExternalAccountBinding
	known      func(string) bool
	store      *store
	challenges *challenges
	replaced   func(old, l *leaf)
	log        *slog.Logger
	orders     *prometheus.CounterVec
	plan       *schedule[string]

	mu     sync.Mutex
	wanted map[string]*order
}

// order is what is known about getting the certificate of one name.
type order struct {
	failures int
	err      error // of the last attempt; nil after success
	force    bool  // order though the certificate is not due
	active   bool  // an attempt is under way
}

func newIssuer(o Options, s *store, c *challenges, orders *prometheus.CounterVec) (*issuer, error) {
	g, err := newGate(o.ACME.Trust)
	if err != nil {
		return nil, err
	}
	i := &issuer{
		dir: filepath.Join(o.Data, "certs", directoryFolder(o.ACME.Directory)),
		client: &xacme.Client{
			DirectoryURL: o.ACME.Directory,
			HTTPClient:   &http.Client{Transport: g},
			RetryBackoff: g.backoff,
			UserAgent:    "gatehouse",
		},
		gate:       g,
		email:      o.ACME.Email,
		known:      o.Known,
		store:      s,
		challenges: c,
		log:        o.Logger,
		orders:     orders,
		plan:       newSchedule[string](),
		wanted:     make(map[string]*order),
	}
	if eab := o.ACME.EAB; eab != nil {
		key, err := eab.key()
		if err != nil {
			return nil, err
		}
		i.eab = &xacme.ExternalAccountBinding{KID: eab.KID, Key: key}
	}
	if err := os.MkdirAll(i.dir, 0o700); err != nil {
		return nil, fmt.Errorf("acme: folder of certificates: %w", err)
	}
	return i, nil
}

// want has an exact name ordered, now or when its certificate is due.
func (i *issuer) want(name string) {
	i.mu.Lock()
	_, known := i.wanted[name]
	if !known {
		i.wanted[name] = &order{}
	}
	i.mu.Unlock()
	if known {
		return
	}
	held := i.store.issued(name)
	if held == nil {
		l, err := i.read(name)
		if err == nil {
			held = l
			i.replaced(i.store.putIssued(name, l), l)
		} else if !errors.Is(err, os.ErrNotExist) {
			i.log.Warn("certificate of the folder not usable", "name", name, "err", err)
		}
	}
	at := time.Now()
	if held != nil {
		at = spread(held)
	}
	i.plan.set(name, at)
}

// unwant stops orders and renewals of a name. With forget, its certificate is not
// held any more; the file stays, so that a name that comes back needs no new order.
func (i *issuer) unwant(name string, forget bool) {
	i.mu.Lock()
	delete(i.wanted, name)
	i.mu.Unlock()
	i.plan.drop(name)
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
	o.force = true
	i.plan.set(name, time.Now())
	return nil
}

// run works until ctx ends.
func (i *issuer) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, i.gate.close)
	defer func() {
		stop()
		i.gate.close()
	}()
	for {
		name, ok := i.plan.next(ctx)
		if !ok {
			return
		}
		i.process(ctx, name)
	}
}

// process orders a name if that is still wanted and due, and plans the next time.
func (i *issuer) process(ctx context.Context, name string) {
	i.mu.Lock()
	o, ok := i.wanted[name]
	force := ok && o.force
	i.mu.Unlock()
	held := i.store.issued(name)
	switch {
	case !ok:
		return
	case !strings.Contains(name, "."):
		i.finish(name, o, errors.New("acme: no issuer certifies a name of one label"), 24*time.Hour)
		return
	case !i.known(name):
		i.plan.set(name, time.Now().Add(unknownWait))
		return
	case i.store.hasFile(name) && !force:
		i.plan.set(name, time.Now().Add(coveredWait))
		return
	case held != nil && !force && time.Now().Before(held.renewAt()):
		i.plan.set(name, spread(held))
		return
	}
	if !force && i.adopt(name) {
		return
	}
	i.setActive(o, true)
	l, err := i.issue(name)
	i.setActive(o, false)
	if ctx.Err() != nil && err != nil {
		return // the stop made it fail
	}
	if err == nil {
		i.finish(name, o, nil, max(time.Until(spread(l)), minRenewWait))
		return
	}
	i.finish(name, o, err, max(jitter(backoffs[min(i.failures(o), len(backoffs)-1)]), min(rateLimit(err), 24*time.Hour)))
}

// adopt takes a certificate that another process of this data folder has issued
// since New, and reports whether it spares an order.
func (i *issuer) adopt(name string) bool {
	l, err := i.read(name)
	if err != nil || !time.Now().Before(l.renewAt()) {
		return false // absent, or in need of a new one anyway
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if _, wanted := i.wanted[name]; !wanted {
		return true
	}
	i.replaced(i.store.putIssued(name, l), l)
	i.plan.set(name, spread(l))
	return true
}

// issue orders a certificate, checks it, stores it and puts it in place.
func (i *issuer) issue(name string) (*leaf, error) {
	text, err := i.obtain(name)
	if err != nil {
		return nil, err
	}
	l, err := parseIssued(name, text)
	if err != nil {
		return nil, fmt.Errorf("check certificate of %s: %w", name, err)
	}
	if err := writeFile(i.file(name), text, 0o600); err != nil {
		// It is served all the same; after a restart it would be ordered again.
		i.log.Error("issued certificate not stored", "name", name, "err", err)
	}
	i.mu.Lock() // held over both, or a removal in between would leave the certificate behind
	defer i.mu.Unlock()
	if _, wanted := i.wanted[name]; wanted {
		i.replaced(i.store.putIssued(name, l), l)
	}
	return l, nil
}

// finish notes the outcome of an attempt and plans the next one after wait.
func (i *issuer) finish(name string, o *order, err error, wait time.Duration) {
	if err != nil {
		i.orders.WithLabelValues("failed").Inc()
		i.log.Error("certificate not issued", "name", name, "err", err, "retry_in", wait.Round(time.Second))
	} else {
		i.orders.WithLabelValues("issued").Inc()
		i.log.Info("certificate issued", "name", name, "renew_in", wait.Round(time.Second))
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	o.err, o.force = err, false
	if err != nil {
		o.failures++
	} else {
		o.failures = 0
	}
	if i.wanted[name] == o { // not removed, nor removed and added again, meanwhile
		i.plan.set(name, time.Now().Add(wait))
	}
}

func (i *issuer) failures(o *order) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return o.failures
}

func (i *issuer) setActive(o *order, active bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	o.active = active
}

// status returns when a name is tried or renewed next, and the last attempt's error.
func (i *issuer) status(name string) (next time.Time, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	o, ok := i.wanted[name]
	if !ok {
		return time.Time{}, nil
	}
	if o.active {
		return time.Now(), o.err
	}
	return i.plan.at(name), o.err
}

// waiting counts the names without an issued certificate.
func (i *issuer) waiting() int {
	i.mu.Lock()
	names := make([]string, 0, len(i.wanted))
	for name := range i.wanted {
		names = append(names, name)
	}
	i.mu.Unlock()
	n := 0
	for _, name := range names {
		if i.store.issued(name) == nil {
			n++
		}
	}
	return n
}

// spread is the certificate's renewal time plus up to 2 % of its life, so that
// names issued together are not renewed together.
func spread(l *leaf) time.Time {
	return l.renewAt().Add(time.Duration(rand.Float64() * 0.02 * float64(l.notAfter.Sub(l.notBefore))))
}

// jitter varies a wait by ±20 %.
func jitter(d time.Duration) time.Duration {
	return time.Duration((0.8 + 0.4*rand.Float64()) * float64(d))
}
