package waf

import (
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/experimental"
	"github.com/corazawaf/coraza/v3/types/variables"

	"gatehouse/edge/waf/gate"
	wafrules "gatehouse/waf-rules"
)

// A prescreen is what stands before a rule set: a reader, which is an engine with next to no rules that takes requests
// apart, and a gate, which says of what it has read which rules can match. It is made with the rules and
// goes with them.
type prescreen struct {
	gate       *gate.Gate
	rules      []gate.Rule
	byID       []int       // the places of rules that have an id, by id
	place      map[int]int // by id
	native     map[int]bool
	base       map[int]bool // those of the base settings
	reader     experimental.WAFWithOptions
	usual      map[variables.RuleVariable]string // see reading; nil: it is not for these rules
	log        *slog.Logger
	broken     atomic.Pointer[int] // the rule that it missed; nil: none, and it is in use
	chanceTold atomic.Bool         // that what was found once was not found again, see repeats

	mu      sync.Mutex
	settled map[string]*settled // by tuning
}

// gateCache is how much memory a gate's memory of values may take, in bytes.
const gateCache = 10 << 20

// newPrescreen makes the prescreen of compiled rules.
func newPrescreen(r *ruleset, log *slog.Logger, step func() error) (*prescreen, error) {
	p := &prescreen{log: log, place: map[int]int{}, native: map[int]bool{}, base: map[int]bool{}, settled: map[string]*settled{}}
	var err error
	if p.rules, err = compiledRules(r.waf); err != nil {
		return nil, err
	}
	if err := p.read(r.set); err != nil {
		return nil, fmt.Errorf("compile the reader of requests: %w", err)
	}
	for i := range p.rules {
		if id := p.rules[i].ID; id != 0 {
			p.place[id] = i
			p.byID = append(p.byID, i)
		}
	}
	slices.SortFunc(p.byID, func(a, b int) int { return p.rules[a].ID - p.rules[b].ID })
	p.gate, err = gate.New(p.rules, gate.Options{
		Native: slices.Collect(maps.Keys(p.native)), Fixed: spared, Data: wordFiles(r.set), Cache: gateCache, Step: step,
	})
	if err != nil {
		return nil, err
	}
	return p, p.learnUsual()
}

// read compiles the reader: the base settings with their rules, and the silent rules that decide how a body is read. No other
// text may change how, see wafrules.
func (p *prescreen) read(set *wafrules.Set) error {
	base, err := compileReader(set, wafrules.BaseDirectives)
	if err != nil {
		return err
	}
	own, err := compiledRules(base)
	if err != nil {
		return err
	}
	for i := range own {
		p.native[own[i].ID], p.base[own[i].ID] = true, true
	}
	if err := p.same(own); err != nil {
		return err
	}
	directives := []string{wafrules.BaseDirectives}
	for i := range p.rules {
		if r := &p.rules[i]; !r.Shows() && r.Widens() && !p.native[r.ID] {
			directives = append(directives, r.Text)
			p.native[r.ID] = true
		}
	}
	waf, err := compileReader(set, strings.Join(directives, "\n"))
	if err != nil {
		return err
	}
	if own, err = compiledRules(waf); err != nil {
		return err
	}
	if err := p.same(own); err != nil {
		return err
	}
	var ok bool
	if p.reader, ok = waf.(experimental.WAFWithOptions); !ok {
		return fmt.Errorf("engine %T cannot begin a transaction with an id", waf)
	}
	return nil
}

// same fails if rules of the reader are not those of the same numbers that the whole set has, whose later directives may have
// changed them.
func (p *prescreen) same(reader []gate.Rule) error {
	for i := range reader {
		at := slices.IndexFunc(p.rules, func(r gate.Rule) bool { return r.ID != 0 && r.ID == reader[i].ID })
		if reader[i].ID != 0 && (at < 0 || asMade(&reader[i]) != asMade(&p.rules[at])) {
			return fmt.Errorf("rule %d, which decides how requests are read, was removed or changed by another directive", reader[i].ID)
		}
	}
	return nil
}

// asMade is all that a rule looks at and does, to compare.
func asMade(r *gate.Rule) string {
	var b strings.Builder
	fmt.Fprint(&b, r.Phase, r.Silent, r.Text)
	for i := range r.Links {
		l := &r.Links[i]
		fmt.Fprintf(&b, "\n%s %q %t %q %t %t %+v %+v", l.Name, l.Argument, l.Negated, l.Transforms, l.MultiMatch, l.Captures, l.Sets, l.Acts)
		for _, t := range l.Targets {
			fmt.Fprint(&b, " ", t.Variable, t.Count, t.Key, t.Pattern)
			for _, x := range t.Except {
				fmt.Fprint(&b, " but ", x.Key, x.Pattern)
			}
		}
	}
	return b.String()
}

func compileReader(set *wafrules.Set, directives string) (coraza.WAF, error) {
	return coraza.NewWAF(coraza.NewWAFConfig().WithRootFS(set.FS()).WithDirectives(directives))
}

// wordFiles finds the files of words of a set by their names alone, as rules beside them do.
func wordFiles(set *wafrules.Set) func(name string) ([]byte, error) {
	places := map[string][]string{}
	for _, pattern := range []string{"*.data", "*/*.data"} {
		found, err := fs.Glob(set.FS(), pattern)
		if err != nil {
			continue // the pattern is good
		}
		for _, name := range found {
			places[path.Base(name)] = append(places[path.Base(name)], name)
		}
	}
	return func(name string) ([]byte, error) {
		if at := places[name]; len(at) == 1 {
			return fs.ReadFile(set.FS(), at[0])
		}
		return nil, fmt.Errorf("%w: %s", fs.ErrNotExist, name)
	}
}

// An idSpan is the ids from one to another.
type idSpan [2]int

// spans returns the ids of all rules of a side that do not run, those in between of which there are no rules included.
func (p *prescreen) spans(side gate.Side, runs func(place int) bool) (out []idSpan) {
	last := 0
	for _, i := range p.byID {
		r := &p.rules[i]
		if p.native[r.ID] || r.Side() != side || runs(i) {
			last = 0
			continue
		}
		if last > 0 {
			out[len(out)-1][1] = r.ID
		} else {
			out = append(out, idSpan{r.ID, r.ID})
		}
		last = r.ID
	}
	return out
}

// takeOut takes out of a transaction the rules of all spans but those at the places.
func (p *prescreen) takeOut(tx engineTx, spans []idSpan, but []int) {
	ids := make([]int, len(but))
	for i, place := range but {
		ids[i] = p.rules[place].ID
	}
	slices.Sort(ids)
	at := 0
	for _, s := range spans {
		for ; at < len(ids) && ids[at] <= s[1]; at++ {
			if ids[at] > s[0] {
				tx.RemoveRuleByIDRange(s[0], ids[at]-1)
			}
			s[0] = max(s[0], ids[at]+1)
		}
		if s[0] <= s[1] {
			tx.RemoveRuleByIDRange(s[0], s[1])
		}
	}
}
