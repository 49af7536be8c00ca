package waf

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/debuglog"
	"github.com/corazawaf/coraza/v3/experimental"
	"github.com/corazawaf/coraza/v3/types"

	wafrules "gatehouse/waf-rules"
)

// Reload replaces the rules in use by the set that read returns, and reports whether it did: it does
// not if the set is the one in use already. Requests under way keep the rules that they began with; no
// request waits. It takes 0.5 to 2 s, since it leaves the processors to requests most of the
// time, and for that long 20 MB more.
//
// On an error, a panic of the compiler included, nothing has changed: read failed, the rules
// do not compile, or they do not do what rules must, see prove. One reload runs at a time.
func (e *Engine) Reload(read func() (*wafrules.Set, error)) (changed bool, err error) {
	e.reloading.Lock()
	defer e.reloading.Unlock()
	if e.closed.Load() {
		return false, ErrClosed
	}
	defer func() {
		if p := recover(); p != nil {
			changed, err = false, fmt.Errorf("panic: %v", p)
		}
		e.metrics.reloaded(changed, err)
	}()
	set, err := read()
	if err != nil {
		return false, err
	}
	old := e.current.Load()
	if set.Digest() == old.set.Digest() {
		return false, nil
	}
	step := (&pace{rest: e.rest}).step
	rules, err := e.compileAndProve(set, step)
	if err != nil {
		return false, err
	}
	e.screen(rules, step)
	e.current.Store(rules)
	e.metrics.show(rules)
	old.release()
	e.log.Info("waf rules replaced", "crs", set.Version(), "before", old.set.Version(), "from", origin(set),
		"digest", set.Digest()[:digestShown], "rules", rules.rules, "took", rules.took.Round(time.Millisecond))
	return true, nil
}

// origin is where a set comes from, for people.
func origin(set *wafrules.Set) string {
	if set.Origin() == "" {
		return "embedded"
	}
	return set.Origin()
}

// digestShown is how much of a digest is shown.
const digestShown = 12

// compileAndProve compiles a set and tries it.
func (e *Engine) compileAndProve(set *wafrules.Set, observe func()) (*ruleset, error) {
	directives := e.setup + "\n" + set.Directives()
	e.compiles.Add(1)
	rules, err := compileSet(set, directives, observe, e.log)
	if err != nil {
		return nil, fmt.Errorf("compile waf rules %s: %w", origin(set), located(set, directives, observe, err))
	}
	if err := rules.prove(); err != nil {
		return nil, fmt.Errorf("try waf rules %s: %w", origin(set), err)
	}
	return rules, nil
}

// A pace lets a compilation have a part of one processor: requests that run on the others
// share caches, memory and the collector with it.
type pace struct {
	rest    time.Duration // for each time that it was busy
	resumed time.Time
}

const (
	paceBusy = 500 * time.Microsecond // at least, before it rests
	paceRest = 3                      // times as long as it was busy
)

// step is called between rules, and rests when it is time to.
func (p *pace) step() {
	if p.resumed.IsZero() {
		p.resumed = time.Now()
	}
	if busy := time.Since(p.resumed); busy >= paceBusy {
		time.Sleep(p.rest * busy)
		p.resumed = time.Now()
	}
}

// located adds to an error of the compiler the file and line, which it does not know: it counts lines
// through all files. So the text is read once more, and the last directive that was begun is the one.
func located(set *wafrules.Set, directives string, observe func(), err error) (out error) {
	defer func() {
		if p := recover(); p != nil && out == nil {
			out = err
		}
	}()
	last, seen := traced(set, directives, observe)
	file, line, ok := set.Place(last, seen)
	if !ok {
		return err
	}
	// The compiler says what it called, and repeats the directive, which may be kilobytes.
	reason, _, _ := strings.Cut(err.Error(), last)
	if _, inner, ok := strings.Cut(reason, "failed to parse string: "); ok {
		reason = inner
	}
	return &wafrules.Problem{File: file, Line: line, Reason: strings.TrimSpace(reason)}
}

// traced returns the last directive that the compiler began, and how many equal ones it met.
func traced(set *wafrules.Set, directives string, observe func()) (last string, seen int) {
	count := map[string]int{}
	logger := debuglog.DefaultWithPrinterFactory(func(io.Writer) debuglog.Printer {
		return func(_ debuglog.Level, message, fields string) {
			if text, ok := strings.CutPrefix(fields, "line="); ok && message == "Parsing directive" {
				if line, err := strconv.Unquote(text); err == nil {
					last = line
					count[line]++
				}
			}
		}
	}).WithLevel(debuglog.LevelDebug)
	defer func() {
		_ = recover() // the compiler's own, which is known already
		seen = count[last]
	}()
	config := coraza.NewWAFConfig().WithRootFS(set.FS()).WithDebugLogger(logger).WithDirectives(directives)
	if observe != nil { // as slowly as the first time
		config = experimental.WAFConfigWithRuleObserver(config, func(types.RuleMetadata) { observe() })
	}
	_, err := coraza.NewWAF(config)
	if err == nil {
		last = "" // what failed is not the compiler's
	}
	return last, 0
}
