package waf

import (
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/experimental"
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
	// Setup is rule text that is compiled before the CRS: for the CRS's settings that hold for every
	// tenant, such as its limits on arguments and files, which are off by default. A setting that a
	// [Profile] has must not be in it, since it would win over every tenant's. Digests do not
	// cover it. Empty: none.
	Setup string
}

// Engine is the compiled rule set. It is safe for concurrent use and starts no goroutine.
type Engine struct {
	log        *slog.Logger
	waf        coraza.WAF
	newTx      experimental.WAFWithOptions
	probe      probe
	catalog    *catalog         // of the rules
	now        func() time.Time // for exclusions that end
	metrics    *metrics
	registerer prometheus.Registerer
	compiles   atomic.Int64
	closed     atomic.Bool
}

// New compiles the rule set, which takes 0.2 to 0.5 s and 20 MB.
//
// It fails if the program was built without the tag coraza.no_memoize, if the rules do not
// compile, if the engine inside is not the one that this package knows, or if TMPDIR (else
// /tmp) is not a writable directory: Coraza insists on one although nothing is ever put there.
func New(opts Options) (*Engine, error) {
	return newEngine(opts, opts.Setup+"\n"+wafrules.Directives)
}

// newEngine is New with other rules, for tests that need a rule of their own.
func newEngine(opts Options, directives string) (*Engine, error) {
	if err := checkBuild(memoized); err != nil {
		return nil, err
	}
	e := &Engine{log: opts.Logger, registerer: opts.Registerer, now: time.Now}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	start := time.Now()
	if err := e.compile(directives); err != nil {
		return nil, fmt.Errorf("compile waf rules: %w", err)
	}
	took := time.Since(start)

	rules := 0
	if counter, ok := e.waf.(experimental.WAFWithRules); ok {
		rules = counter.RulesCount()
	}
	e.metrics = newMetrics(e, rules, took)
	if err := e.metrics.register(opts.Registerer); err != nil {
		return nil, fmt.Errorf("register waf metrics: %w", err)
	}
	e.log.Info("waf rules compiled", "crs", wafrules.Version(), "rules", rules, "took", took)
	return e, nil
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

func (e *Engine) compile(directives string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	e.compiles.Add(1)
	e.catalog = newCatalog()
	config := coraza.NewWAFConfig().WithRootFS(wafrules.FS).WithDirectives(directives)
	e.waf, err = coraza.NewWAF(experimental.WAFConfigWithRuleObserver(config, e.catalog.observe))
	if err != nil {
		return err
	}
	if err := e.catalog.complete(e.waf); err != nil {
		return err
	}
	clipped, err := clipExclusions(e.waf)
	if err != nil {
		return err
	}
	slack, seen, err := slackExclusions(e.waf)
	if err != nil {
		return err
	}
	if slack > 0 || seen == 0 {
		return fmt.Errorf("%d of %d target lists have room that transactions would share", slack, seen)
	}
	e.log.Debug("waf target lists clipped", "clipped", clipped, "lists", seen)

	var ok bool
	if e.newTx, ok = e.waf.(experimental.WAFWithOptions); !ok {
		return fmt.Errorf("engine %T cannot begin a transaction with an id", e.waf)
	}
	return e.probe.learn(e.newTx)
}

// Compiles returns how many rule sets this engine has compiled since it was made: one, however
// many profiles use it.
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
	t := &Transaction{engine: e, profile: p, tuning: p.resolve(), catalog: e.catalog, plan: p.Exclusions.plan(e.catalog)}
	if e.closed.Load() {
		t.err = ErrClosed
		return t
	}
	t.begin(id)
	return t
}

// Close takes the metrics back and lets go of what the engine shares with others. Transactions under way
// may go on to their end; new ones have the error [ErrClosed]. It may be called more than once.
func (e *Engine) Close() error {
	if e.closed.Swap(true) {
		return nil
	}
	e.metrics.unregister(e.registerer)
	if closer, ok := e.waf.(experimental.WAFCloser); ok {
		if err := closer.Close(); err != nil {
			return fmt.Errorf("close waf engine: %w", err)
		}
	}
	return nil
}
