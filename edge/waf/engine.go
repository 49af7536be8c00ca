package waf

import (
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	wafrules "gatehouse/waf-rules"
)

// ErrClosed is the error of a transaction that was begun after [Engine.Close].
var ErrClosed = errors.New("waf engine is closed")

// Options are the settings of an [Engine]. The zero value works.
type Options struct {
	// Logger hears what was compiled, and with what repairs. Nil: silence.
	Logger *slog.Logger
	// Registerer takes the gatehouse_waf_* metrics; they are taken back by Close. Nil: the engine
	// counts unseen.
	Registerer prometheus.Registerer
	// Rules are compiled first. Nil: the embedded ones. [Engine.Reload] takes others.
	Rules *wafrules.Set
	// Gate says what becomes of what the gate says, see package gate. Zero: GateOn.
	Gate GateMode
	// Shadow has all rules run on one of every so many requests that were at the gate, once it has ended, and a gate that missed
	// a rule switched off; see [Transaction.Close]. Which one it is nobody can tell. 0: on none.
	Shadow uint64
	// Setup is rule text that is compiled before the CRS: for the CRS's settings that hold for every
	// tenant, such as its limits on arguments and files, which are off by default. A setting that a
	// [Profile] has must not be in it, since it would win over every tenant's. Digests do not
	// cover it. Empty: none.
	Setup string
}

// Engine has the compiled rule set that is in use. It is safe for concurrent use. The first request begins a goroutine that makes the
// gate, in a second or two, and ends then; until then all rules run.
type Engine struct {
	log        *slog.Logger
	setup      string // of the options
	gate       GateMode
	shadow     uint64
	counter    atomic.Uint64 // of requests at the gate
	seed       maphash.Seed  // of which of them are drawn
	current    atomic.Pointer[ruleset]
	now        func() time.Time // for exclusions that end
	rest       time.Duration    // of reloads, see pace
	metrics    *metrics
	registerer prometheus.Registerer
	compiles   atomic.Int64
	reloading  sync.Mutex // held while the rules in use may change
	closed     atomic.Bool
	making     making
	verifying  atOnce
}

// New compiles the rule set, which takes 0.2 to 0.5 s and 20 MB.
//
// It fails if the program was built without the tag coraza.no_memoize, if the rules do not
// compile, if the engine inside is not the one that this package knows, or if TMPDIR (else
// /tmp) is not a writable directory: Coraza insists on one although nothing is ever put there.
func New(opts Options) (*Engine, error) {
	if opts.Rules == nil {
		opts.Rules = wafrules.Embedded()
	}
	return compileEngine(opts, opts.Setup+"\n"+opts.Rules.Directives())
}

// newEngine is New with other directives, for tests that need a rule of their own. It makes the gate.
func newEngine(opts Options, directives string) (*Engine, error) {
	e, err := compileEngine(opts, directives)
	if err == nil {
		e.MakeGate()
	}
	return e, err
}

func compileEngine(opts Options, directives string) (*Engine, error) {
	if err := checkBuild(memoized); err != nil {
		return nil, err
	}
	if opts.Rules == nil {
		opts.Rules = wafrules.Embedded()
	}
	e := &Engine{log: opts.Logger, setup: opts.Setup, gate: opts.Gate, shadow: opts.Shadow, seed: maphash.MakeSeed(), registerer: opts.Registerer, now: time.Now, rest: paceRest}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	rules, err := e.first(opts.Rules, directives)
	if err != nil {
		return nil, err
	}
	e.current.Store(rules)
	e.metrics = newMetrics(e)
	e.metrics.show(rules)
	if err := e.metrics.register(opts.Registerer); err != nil {
		return nil, fmt.Errorf("register waf metrics: %w", err)
	}
	e.log.Info("waf rules compiled", "crs", opts.Rules.Version(), "from", origin(opts.Rules),
		"digest", opts.Rules.Digest()[:digestShown], "rules", rules.rules, "took", rules.took)
	return e, nil
}

// first compiles the rules of a new engine, as fast as it can. The embedded ones are tried by tests.
func (e *Engine) first(set *wafrules.Set, directives string) (*ruleset, error) {
	if set.Origin() != "" {
		return e.compileAndProve(set, nil)
	}
	e.compiles.Add(1)
	rules, err := compileSet(set, directives, nil, e.log)
	if err != nil {
		return nil, fmt.Errorf("compile waf rules: %w", err)
	}
	return rules, nil
}

// checkBuild refuses a build that has Coraza's pattern cache. The cache is keyed by bare text: a
// pattern known as one type is returned as another (a panic at compile time), and a word list
// read by one tenant's rule set is silently given to another's.
func checkBuild(memoized bool) error {
	if memoized {
		return errors.New("built without the tag coraza.no_memoize, " +
			"whose absence lets one tenant's rules use another's patterns; " +
			"build with: go build -tags coraza.no_memoize")
	}
	return nil
}

// Set is the rule text in use.
func (e *Engine) Set() *wafrules.Set { return e.current.Load().set }

// Compiles returns how many rule sets this engine has compiled since it was made, or tried to: one and each reload,
// however many profiles use them.
func (e *Engine) Compiles() int64 {
	return e.compiles.Load()
}

// Begin starts a transaction with the profile's tuning. The id goes into nothing but the
// rules' UNIQUE_ID. A nil profile is the zero one.
//
// With mode Off it returns nil, which is a valid transaction: every method of it does nothing and
// finds nothing. A failure to begin is in [Transaction.Err].
func (e *Engine) Begin(p *Profile, id string) *Transaction {
	if p == nil {
		p = &Profile{}
	}
	if p.Mode >= Off {
		return nil
	}
	t := &Transaction{engine: e, id: id, profile: p, tuning: p.resolve()}
	for !e.closed.Load() {
		// Between the two, the rules may have been replaced and their last user gone.
		if rules := e.current.Load(); rules.use() {
			t.rules, t.plan = rules, p.Exclusions.plan(rules.catalog)
			t.begin()
			return t
		}
	}
	t.err = ErrClosed
	return t
}

// Close takes the metrics back and lets go of what the engine shares with others. Transactions under way
// may go on to their end; new ones have the error [ErrClosed]. It may be called more than once.
func (e *Engine) Close() error {
	if e.closed.Swap(true) {
		return nil
	}
	e.making.end()
	e.metrics.unregister(e.registerer)
	e.reloading.Lock()
	defer e.reloading.Unlock()
	e.current.Load().release() // what is known of the rules stays
	return nil
}
