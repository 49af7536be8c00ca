package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"gatehouse/edge/waf"
	wafrules "gatehouse/waf-rules"
)

// openRules compiles the rules that the settings name, with the gate before them as they say.
func openRules(cfg *Config, opts waf.Options) (_ *waf.Engine, err error) {
	if opts.Gate, err = waf.ParseGateMode(cfg.WAF.Gate); err != nil {
		return nil, fmt.Errorf("waf.gate: %w", err)
	}
	opts.Shadow = uint64(cfg.WAF.Shadow)
	setting := "waf"
	if dir, ok := cfg.CRSDir(); ok {
		setting = "waf.crs"
		set, err := wafrules.FromDir(dir)
		if err != nil {
			return nil, fmt.Errorf("waf.crs: %w", err)
		}
		opts.Rules = set
	}
	rules, err := waf.New(opts)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", setting, err)
	}
	return rules, nil
}

// openRules compiles the first rules, and makes what follows their folder.
func (n *node) openRules() (err error) {
	dir, follow := n.cfg.CRSDir()
	if follow {
		n.watch = newRuleWatch(dir, n.log) // before they are read: what changes meanwhile is a change
	}
	if n.rules, err = openRules(n.cfg, waf.Options{Logger: n.log, Registerer: n.metrics}); err != nil {
		return err
	}
	if follow {
		n.watch.engine = n.rules
	}
	// A node that takes over gets all requests at once, and what rules of one's own are fit for is to be told at the start.
	if follow || n.predecessor() != nil {
		n.rules.MakeGate()
	}
	n.onClose(n.rules.Close)
	return nil
}

// ruleInterval is the time between two looks at a folder of rules: a change acts after one to
// two of them, and its compilation.
const ruleInterval = 2 * time.Second

// A ruleWatch follows a folder of rules and hands what changes to the engine. It looks at the names, sizes
// and times of the files and at where links lead, since the kernel's notices know nothing of
// a link that is switched above the folder.
type ruleWatch struct {
	dir      string
	engine   *waf.Engine
	log      *slog.Logger
	replaced func() // called after the engine has new rules

	seen  string // the folder at the last look
	acted string // the folder as it was last judged

	refused atomic.Pointer[error] // and why it was found wanting; nil: it was not
}

// problem returns why the folder's rules are not those in force, for any goroutine; a nil watch has none.
func (w *ruleWatch) problem() error {
	if w == nil {
		return nil
	}
	if err := w.refused.Load(); err != nil {
		return *err
	}
	return nil
}

// newRuleWatch begins with the folder as it is.
func newRuleWatch(dir string, log *slog.Logger) *ruleWatch {
	now := wafrules.Fingerprint(dir)
	return &ruleWatch{dir: dir, log: log, replaced: func() {}, seen: now, acted: now}
}

// run looks until ctx ends. A compilation that has begun is ended first.
func (w *ruleWatch) run(ctx context.Context) {
	tick := time.NewTicker(ruleInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			w.look()
		case <-ctx.Done():
			return
		}
	}
}

// look judges the folder if it has changed, and not since the last look: half of a release that is being
// unpacked is none.
func (w *ruleWatch) look() {
	now := wafrules.Fingerprint(w.dir)
	settled := now == w.seen
	w.seen = now
	if !settled || now == w.acted {
		return
	}
	set, readErr := wafrules.FromDir(w.dir)
	if wafrules.Fingerprint(w.dir) != now {
		return // it changes again
	}
	w.acted = now
	changed, err := w.engine.Reload(func() (*wafrules.Set, error) { return set, readErr })
	switch {
	case err != nil: // once: the next look finds nothing new
		w.log.Error("waf rules not replaced, those before stay in force", "folder", w.dir, "crs", w.engine.Set().Version(), "err", err)
	case changed:
		w.replaced()
	case w.problem() != nil:
		w.log.Info("waf rules are those in force again", "folder", w.dir, "crs", w.engine.Set().Version())
	}
	if err != nil {
		w.refused.Store(&err)
	} else {
		w.refused.Store(nil)
	}
}
