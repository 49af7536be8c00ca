package cache

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/ristretto/v2"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	// DefaultMaxBytes is the Options.MaxBytes of Options that have none.
	DefaultMaxBytes = 256 << 20
	// MinMaxBytes is the smallest Options.MaxBytes: below it the hundredth that
	// one entry may cost holds no page.
	MinMaxBytes = 1 << 20

	stripes      = 256     // locks of writers, by hash
	invalidSlots = 1 << 14 // sequences of invalidations, by hash
)

// Options configures a Store. The zero value works.
type Options struct {
	// MaxBytes bounds what is stored: bodies, templates, keys and bookkeeping.
	// Default DefaultMaxBytes, at least MinMaxBytes. One entry may cost a
	// hundredth of it. Objects on their way in or out come on top.
	MaxBytes int64
	// Now is the clock that freshness is measured by. Default time.Now.
	Now func() time.Time
	// Registerer receives the gatehouse_cache_* metrics. Nil: none.
	Registerer prometheus.Registerer
	// Logger; nil: slog.DiscardHandler.
	Logger *slog.Logger
}

// Store keeps entries in memory, the more valuable ones when room is short. All
// methods may be called from any goroutine, but see Close.
type Store struct {
	cache   *ristretto.Cache[uint64, *object]
	maxCost int64 // of one entry
	setting int64 // Options.MaxBytes; ledger.max is the bound in force
	now     func() time.Time
	hash    func(key []byte) uint64
	blind   atomic.Bool // see SetBlind; read by every hit
	ledger  ledger
	metrics *metrics
	log     *slog.Logger

	// seq orders writes and invalidations. A lookup notes it, so that a fill
	// which began before one of them is not stored after it.
	seq         atomic.Uint64
	invalidated [invalidSlots]atomic.Uint64

	// stripe serialises writers of one key: ristretto keeps the older of two
	// racing Sets of a new key. Readers do not take it.
	stripe [stripes]sync.Mutex

	flights flights
	vhosts  vhosts
	quotas  quotas
	nobody  Vhost // that of entries without one

	purging sync.Mutex // orders purges, see note
	purges  purges     // of everything
	lurker  lurker

	filling atomic.Int64 // bytes of bodies on their way in

	resize sync.Mutex   // held by Shrink and Grow
	life   sync.RWMutex // held by writers against Close
	closed bool
}

// maxCounters bounds what ristretto's own counters take, to a quarter of a gigabyte.
const maxCounters = 1 << 26

// New makes a Store. It starts ristretto's goroutines and one of its own, which Close ends.
func New(o Options) (*Store, error) {
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.MaxBytes < MinMaxBytes {
		return nil, fmt.Errorf("cache memory is %d bytes, must be at least %d", o.MaxBytes, MinMaxBytes)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	seed := maphash.MakeSeed()
	s := &Store{
		maxCost: o.MaxBytes / 100,
		now:     o.Now,
		log:     o.Logger,
		hash:    func(key []byte) uint64 { return maphash.Bytes(seed, key) },
	}
	s.ledger.quotas = &s.quotas
	s.setting = o.MaxBytes
	s.nobody.tenant = &Tenant{}
	s.ledger.max.Store(o.MaxBytes)
	// Costs are bytes, so the counters follow from the bytes: about a hundred
	// per object of usual size gave the best hit ratio.
	counters := min(max(100_000, o.MaxBytes/320), maxCounters)
	var err error
	s.cache, err = ristretto.NewCache(&ristretto.Config[uint64, *object]{
		NumCounters:        counters,
		MaxCost:            o.MaxBytes,
		BufferItems:        64,
		IgnoreInternalCost: true, // entryOverhead and objectOverhead have it
		OnEvict:            func(i *ristretto.Item[*object]) { s.ledger.evicted(i.Value) },
		OnExit:             s.exited,
		ShouldUpdate:       func(cur, prev *object) bool { return cur.seq >= prev.seq },
	})
	if err != nil {
		return nil, fmt.Errorf("open cache: %w", err)
	}
	if s.metrics, err = newMetrics(o.Registerer, &s.ledger, &s.blind); err != nil {
		s.cache.Close()
		return nil, err
	}
	s.log = o.Logger
	s.lurker.start(s.lurk)
	o.Logger.Debug("cache open", "max_bytes", o.MaxBytes, "max_entry_bytes", s.maxCost, "counters", counters)
	return s, nil
}

// Close drops everything and waits for the store's goroutines. It waits for
// running Puts; the caller has ended all Lookups before. Later Puts return
// false. A second Close does nothing.
func (s *Store) Close() {
	s.lurker.end()
	s.life.Lock()
	defer s.life.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	s.ledger.closing.Store(true)
	s.cache.Close()
	s.metrics.unregister()
}

// MaxEntry is the largest cost in bytes of an entry that Put accepts; a body
// longer than that need not be collected.
func (s *Store) MaxEntry() int64 { return s.maxCost }

// Put stores e in place of the response that its request selects. It
// returns once the outcome is known, normally within microseconds: nil means
// that the next Lookup finds e (unless it is evicted meanwhile), an error that e
// is refused: not permitted by its Decision, larger than MaxEntry, older than
// what is stored, than an invalidation of the key or than a purge, or worth less than what
// would have to leave. The error's text is the label of gatehouse_cache_rejected_total.
func (s *Store) Put(e *Entry) error {
	err := s.put(e)
	s.metrics.refused(err)
	return err
}

// Why put refuses.
var (
	errUnfit      = errors.New("unfit")
	errSize       = errors.New("size")
	errSuperseded = errors.New("superseded")
	errAdmission  = errors.New("admission")
	errClosed     = errors.New("closed")
	errBusy       = errors.New("busy") // of a Fill: no memory for its body
)

// Refused is the reason in an error of Put, or of Fill.Outcome for a whole body: unfit, size, superseded, admission, closed or
// busy. It is empty for other errors.
func Refused(err error) string {
	switch err {
	case errUnfit, errSize, errSuperseded, errAdmission, errClosed, errBusy:
		return err.Error()
	}
	return ""
}

func (s *Store) put(e *Entry) error {
	switch {
	case e == nil || e.refused || !e.whole:
		return errUnfit
	case e.cost > s.maxCost:
		return errSize
	}
	s.life.RLock()
	defer s.life.RUnlock()
	if s.closed {
		return errClosed
	}
	hash := s.hash(e.key)
	uses := int32(0)
	if s.stored(hash, e.key) == nil {
		var ok bool
		if uses, ok = s.makeRoom(e.vhost, hash, objectOverhead+int64(len(e.key))+e.cost); !ok {
			return errAdmission
		}
	}
	mu := &s.stripe[hash%stripes]
	mu.Lock()
	defer mu.Unlock()
	// A slot is shared by many keys: it may refuse a fill too many, which costs
	// one more fetch, but never one too few.
	if s.superseded(hash, e.seq) || s.bornStale(e) {
		return errSuperseded
	}
	old, _ := s.cache.Get(hash)
	base := old
	if old != nil && (old.invalid.Load() || !bytes.Equal(old.key, e.key)) {
		base = nil
	}
	now := s.now()
	o := base.with(e, variantRoom*s.maxCost, func(old *Entry) bool { return s.keeps(old, e, now) })
	if o == nil {
		return errSuperseded
	}
	o.seq = s.seq.Add(1)
	if o.vhost != nil {
		o.halvings.Store(o.vhost.tenant.halvings.Load())
	}
	if old != nil && bytes.Equal(old.key, e.key) {
		// It is the same page, and as much in use as before. Halved with its tenant's counts, but not for being replaced: how
		// often a page is asked for says nothing of how often it changes, and those that are fresh for seconds only would be
		// the first to leave.
		uses = old.used(o.halvings.Load())
	}
	o.uses.Store(uses)
	if !s.set(hash, o, old) {
		return errAdmission
	}
	if o.vhost != nil {
		s.queued(o.vhost.tenant, place{hash, o.seq})
	}
	if e.lifetime > e.initialAge && !e.terms.noCache { // see Decision.Shared
		s.setMark(hash, false)
	}
	return nil
}

// superseded reports whether the key, known by its hash, was invalidated since seq.
func (s *Store) superseded(hash, seq uint64) bool {
	return s.invalidated[hash%invalidSlots].Load() > seq
}

// set replaces old, which may be nil, with o and waits for the policy's word.
// The caller holds the stripe.
func (s *Store) set(hash uint64, o, old *object) bool {
	// ristretto never evicts for an update, so one that grows beyond the limit
	// comes in as a new item, for which others may have to leave. Del can block
	// only while its queue of 32768 is full; every writer waits for its own
	// item, so it holds a few per writer.
	if old != nil && !s.ledger.fits(o.cost-old.cost) {
		s.cache.Del(hash)
	}
	s.ledger.add(o)
	if !s.cache.Set(hash, o, o.cost) {
		s.ledger.release(o)
		return false
	}
	s.cache.Wait()
	return !o.released.Load()
}

// Stats is a snapshot of the store's figures; they are read one by one.
type Stats struct {
	Bytes     int64  // cost of what is stored
	MaxBytes  int64  // the bound in force: Options.MaxBytes, or less after Shrink
	Objects   int64  // keys
	Entries   int64  // responses; a key with Vary has several
	Evictions uint64 // entries that left for others, since New
	Rejected  uint64 // Puts that returned false, since New
}

// Stats returns the current figures.
func (s *Store) Stats() Stats {
	return Stats{
		Bytes:     s.ledger.bytes.Load(),
		MaxBytes:  s.ledger.max.Load(),
		Objects:   s.ledger.objects.Load(),
		Entries:   s.ledger.entries.Load(),
		Evictions: s.ledger.evictions.Load(),
		Rejected:  s.metrics.rejections.Load(),
	}
}
