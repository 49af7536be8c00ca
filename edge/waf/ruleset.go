package waf

import (
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/experimental"
	"github.com/corazawaf/coraza/v3/types"

	wafrules "gatehouse/waf-rules"
)

// A ruleset is a [wafrules.Set] as compiled, and all that is known of it. A transaction has one from
// its beginning to its end, so that no request is judged by two. It is immutable but for its users.
//
// Whatever else is derived from the rules, such as a prescreen of requests that none of them can
// match, belongs in here: it is then made beside the rules and changes with them.
type ruleset struct {
	set        *wafrules.Set
	waf        coraza.WAF
	newTx      experimental.WAFWithOptions
	probe      probe
	catalog    *catalog  // of the rules
	rules      int       // and markers
	screening  screening // what stands before the rules
	directives string
	took       time.Duration

	users  atomic.Int64  // transactions, and one for the engine while it is in use
	closed chan struct{} // closed with the rules, once nobody uses them
}

// compileSet compiles directives that are read from the files of a set. A panic is an error. Observe, if not
// nil, is called after each rule.
func compileSet(set *wafrules.Set, directives string, observe func(), log *slog.Logger) (r *ruleset, err error) {
	defer func() {
		if p := recover(); p != nil {
			r, err = nil, fmt.Errorf("panic: %v", p)
		}
	}()
	start := time.Now()
	installOperators()
	r = &ruleset{set: set, directives: directives, catalog: newCatalog(), closed: make(chan struct{})}
	r.users.Store(1)
	observer := r.catalog.observe
	if observe != nil {
		observer = func(rule types.RuleMetadata) { r.catalog.observe(rule); observe() }
	}
	config := coraza.NewWAFConfig().WithRootFS(set.FS()).WithDirectives(directives)
	if r.waf, err = coraza.NewWAF(experimental.WAFConfigWithRuleObserver(config, observer)); err != nil {
		return nil, err
	}
	if err := r.repair(log); err != nil {
		return nil, err
	}
	if counter, ok := r.waf.(experimental.WAFWithRules); ok {
		r.rules = counter.RulesCount()
	}
	r.took = time.Since(start)
	return r, nil
}

// repair makes the rules safe to share, and learns about them.
func (r *ruleset) repair(log *slog.Logger) error {
	if err := r.catalog.complete(r.waf); err != nil {
		return err
	}
	clipped, err := clipExclusions(r.waf)
	if err != nil {
		return err
	}
	slack, seen, err := slackExclusions(r.waf)
	if err != nil {
		return err
	}
	if slack > 0 || seen == 0 {
		return fmt.Errorf("%d of %d target lists have room that transactions would share", slack, seen)
	}
	log.Debug("waf target lists clipped", "clipped", clipped, "lists", seen)

	var ok bool
	if r.newTx, ok = r.waf.(experimental.WAFWithOptions); !ok {
		return fmt.Errorf("engine %T cannot begin a transaction with an id", r.waf)
	}
	return r.probe.learn(r.newTx)
}

// use counts one more user; false: the rules are closed, and there are newer ones.
func (r *ruleset) use() bool {
	for {
		n := r.users.Load()
		if n == 0 {
			return false
		}
		if r.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// release ends one use. The last one closes the rules; their memory goes with the last reference.
func (r *ruleset) release() {
	if r.users.Add(-1) != 0 {
		return
	}
	if closer, ok := r.waf.(experimental.WAFCloser); ok {
		_ = closer.Close() // lets go of the pattern cache, which this build does not have, and cannot fail
	}
	close(r.closed)
}
