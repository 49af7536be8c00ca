package waf

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"strings"
	"sync"
	"weak"

	"github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/experimental"
	"github.com/corazawaf/coraza/v3/types"

	"gatehouse/edge/waf/seclang"
	wafrules "gatehouse/waf-rules"
)

// OwnRules are the rules of one text that a tenant wrote, compiled. They never change, may be used by
// any number of profiles at a time, and go when no profile has them.
type OwnRules struct {
	newTx  experimental.WAFWithOptions
	digest string
	steps  int // at most, for each byte of a request
}

// RuleProblem is one thing wrong in a text of own rules, with its line and column in it.
type RuleProblem = seclang.Problem

// RulesError is why a text of own rules is refused as a whole.
type RulesError struct {
	Problems []*RuleProblem // at least one, in the order of the text
}

// Error joins the problems, one a line.
func (e *RulesError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// CompileOwn reads and compiles a tenant's text, as package seclang understands it; texts that say the
// same share one result. A text without a rule has none: nil. The error is a *[RulesError].
//
// It is safe for concurrent use and takes some 50 µs for a rule or two. What the largest text may take
// is bounded by what seclang takes; see BenchmarkCompileOwn.
func CompileOwn(text string) (*OwnRules, error) {
	set, problems := seclang.Read(text)
	if len(problems) > 0 {
		return nil, &RulesError{problems}
	}
	if set.Directives == "" {
		return nil, nil
	}
	return ownCache.get(set)
}

// CheckOwn says what is wrong with a text, line by line, without the engine: whoever reads ten thousand
// documents when he starts need not compile what few will ask for. The result is empty for a good one.
func CheckOwn(text string) []*RuleProblem {
	_, problems := seclang.Read(text)
	return problems
}

// SharedID returns an id that rules of both texts have, the first by its place in the second; 0: there is
// none. Both rules run, but nobody can tell from an event which of them it was.
func SharedID(first, second string) int {
	a, _ := seclang.Read(first)
	b, _ := seclang.Read(second)
	if a == nil || b == nil {
		return 0
	}
	for _, id := range b.IDs {
		if slices.Contains(a.IDs, id) {
			return id
		}
	}
	return 0
}

// ownRulesets holds what is in use, by the digest of what the engine reads.
type ownRulesets struct {
	mu        sync.Mutex
	known     map[[sha256.Size]byte]weak.Pointer[OwnRules]
	sequences map[string]struct{} // of transformations, prefixes included
}

// ownCache is one for the process, as is what it guards: rules are immutable, and the engine keeps a
// table of its own for all its instances.
var ownCache = ownRulesets{known: map[[sha256.Size]byte]weak.Pointer[OwnRules]{}, sequences: map[string]struct{}{}}

func (c *ownRulesets) get(set *seclang.Set) (*OwnRules, error) {
	key := digestOf(set)
	c.mu.Lock()
	known := c.known[key].Value()
	full := known == nil && !c.admit(set.Sequences)
	c.mu.Unlock()
	switch {
	case known != nil:
		return known, nil
	case full:
		return nil, refusal("this node has met too many different sequences of transformations: use one that other rules have, or restart it")
	}
	fresh, err := compileOwn(set)
	if err != nil {
		return nil, refusal(err.Error())
	}
	fresh.digest = hex.EncodeToString(key[:16])

	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.known[key].Value(); known != nil {
		return known, nil // another call was faster
	}
	c.known[key] = weak.Make(fresh)
	runtime.AddCleanup(fresh, c.forget, key)
	return fresh, nil
}

func digestOf(set *seclang.Set) [sha256.Size]byte { return sha256.Sum256([]byte(set.Directives)) }

// forget takes a ruleset out that nobody has any more, unless it was compiled again meanwhile.
func (c *ownRulesets) forget(key [sha256.Size]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p, ok := c.known[key]; ok && p.Value() == nil {
		delete(c.known, key)
	}
}

// size is how many rulesets there are.
func (c *ownRulesets) size() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.known)
}

// maxSequences bounds a table of the engine (transformationIDToName) in which every sequence of
// transformations that any rule ever had stays until the process ends, each of its beginnings too. Without a
// bound, a tenant who changes his rules in a loop would fill the memory of all.
const maxSequences = 20000

// admit reports whether there is room for the sequences, and enters them. The caller holds c.mu.
func (c *ownRulesets) admit(sequences []string) bool {
	fresh := map[string]struct{}{}
	for _, s := range sequences {
		for end := 0; end < len(s); {
			if next := strings.IndexByte(s[end+1:], '+'); next < 0 {
				end = len(s)
			} else {
				end += 1 + next
			}
			if _, known := c.sequences[s[:end]]; !known {
				fresh[s[:end]] = struct{}{}
			}
		}
	}
	if len(fresh) > 0 && len(c.sequences)+len(fresh) > maxSequences {
		return false
	}
	for s := range fresh {
		c.sequences[strings.Clone(s)] = struct{}{}
	}
	return true
}

func refusal(reason string) error {
	return &RulesError{[]*RuleProblem{{Line: 1, Column: 1, Reason: reason}}}
}

// compileOwn makes a small engine of its own, which runs before the shared one.
func compileOwn(set *seclang.Set) (out *OwnRules, err error) {
	defer func() {
		if r := recover(); r != nil {
			out, err = nil, fmt.Errorf("the engine gave up on these rules: %v", r)
		}
	}()
	if err := checkBuild(memoized); err != nil {
		return nil, err
	}
	base, err := engineSettings()
	if err != nil {
		return nil, err
	}
	installOperators()
	var ids []int
	config := coraza.NewWAFConfig().WithRootFS(noFiles{}).WithDirectives(base + apartRules + set.Directives)
	config = config.WithErrorCallback(countMatched)
	config = experimental.WAFConfigWithRuleObserver(config, func(rule types.RuleMetadata) {
		if rule.ID() != 0 && !isApart(rule.ID()) { // 0: a marker
			ids = append(ids, rule.ID())
		}
	})
	engine, err := coraza.NewWAF(config)
	if err != nil {
		return nil, fmt.Errorf("the engine does not take these rules: %w", err)
	}
	if !slices.Equal(ids, set.IDs) {
		return nil, fmt.Errorf("the engine has read the rules %v where %v are written", ids, set.IDs)
	}
	if _, err := clipExclusions(engine); err != nil {
		return nil, err
	}
	begins, ok := engine.(experimental.WAFWithOptions)
	if !ok {
		return nil, fmt.Errorf("engine %T cannot begin a transaction with an id", engine)
	}
	return &OwnRules{newTx: begins, steps: set.Steps}, nil
}

// engineSettings is base.conf without its rules: own rules see bodies under the same limits as the
// shared ones. What the rules there decide, the parser of a body, is taken over from their transaction.
var engineSettings = sync.OnceValues(func() (string, error) {
	text, err := fs.ReadFile(wafrules.Embedded().FS(), "base.conf")
	if err != nil {
		return "", fmt.Errorf("read base settings: %w", err)
	}
	var out strings.Builder
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "Sec") && !strings.HasPrefix(line, "SecRule ") && !strings.HasPrefix(line, "SecAction ") {
			out.WriteString(line)
		}
	}
	return out.String(), nil
})

// noFiles is a root without a file: the second fence behind a language that names none.
type noFiles struct{}

// errNoFiles is the only answer of noFiles.
var errNoFiles = errors.New("own rules read no files")

// Open fails.
func (noFiles) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: errNoFiles}
}

// heavySteps is the work, in steps of a regular expression, from which a request's own rules or exclusions are heavy:
// a third of a second at worst, at 10 ns a step.
const heavySteps = 32 << 20

// Heavy reports whether the profile's own rules may take long on that many bytes of a request, or its
// exclusions on names of so many bytes of it: those of parameters, cookies and fields. Exclusions are
// known from the first transaction on; shared ones are ours and light. The caller then bounds how many such requests run at a time.
func (p *Profile) Heavy(bytes, names int) bool {
	steps := 0
	for _, own := range p.Own {
		steps += own.steps
	}
	if steps > 0 && bytes > heavySteps/steps {
		return true
	}
	steps = p.Exclusions.steps()
	return steps > 0 && names > heavySteps/steps
}
