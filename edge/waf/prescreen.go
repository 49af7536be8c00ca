package waf

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"weak"

	"github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/experimental"
	"github.com/corazawaf/coraza/v3/types"
	"github.com/corazawaf/coraza/v3/types/variables"

	"gatehouse/edge/waf/gate"
	wafrules "gatehouse/waf-rules"
)

// A prescreen is what stands before a rule set: a reader, which is an engine with next to no rules that takes requests
// apart, and a gate, which says of what it has read which rules can match. It is made with the rules and
// goes with them.
type prescreen struct {
	gate   *gate.Gate
	rules  []gate.Rule
	byID   []int       // the places of rules that have an id, by id
	place  map[int]int // by id
	native map[int]bool
	base   map[int]bool // those of the base settings
	reader experimental.WAFWithOptions
	usual  map[variables.RuleVariable]string // see reading; nil: it is not for these rules
	broken atomic.Pointer[int]               // the rule that it missed; nil: none, and it is in use

	mu      sync.Mutex
	settled map[string]*settled // by tuning
}

// gateCache is how much memory a gate's memory of values may take, in bytes.
const gateCache = 10 << 20

// newPrescreen makes the prescreen of compiled rules.
func newPrescreen(r *ruleset, step func()) (*prescreen, error) {
	p := &prescreen{place: map[int]int{}, native: map[int]bool{}, base: map[int]bool{}, settled: map[string]*settled{}}
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
	p.gate, err = gate.New(p.rules, gate.Options{Native: slices.Collect(maps.Keys(p.native)), Data: wordFiles(r.set), Cache: gateCache, Step: step})
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
	directives := []string{wafrules.BaseDirectives}
	for i := range p.rules {
		if r := &p.rules[i]; r.Silent && r.Widens() && !p.native[r.ID] {
			directives = append(directives, r.Text)
			p.native[r.ID] = true
		}
	}
	waf, err := compileReader(set, strings.Join(directives, "\n"))
	if err != nil {
		return err
	}
	var ok bool
	if p.reader, ok = waf.(experimental.WAFWithOptions); !ok {
		return fmt.Errorf("engine %T cannot begin a transaction with an id", waf)
	}
	return nil
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

// settled is all that follows from a tuning before anything is asked.
type settled struct {
	tenant *gate.Tenant
	first  map[string][]string // the values of variables before rules look at anything
	stance *stance
}

// stance leads from a tuning to what follows from it at one prescreen, which it does not keep. All equal tunings
// have the same.
type stance struct {
	generation uint64 // of the rules
	settled    weak.Pointer[settled]
}

// maxSettled bounds how many different tunings are kept. They take some kilobytes each.
const maxSettled = 1024

// settle returns what follows from a tuning; nil: the gate is of no use to it.
func (r *ruleset) settle(t *tuning) *settled {
	if at := t.stance.Load(); at != nil && at.generation == r.catalog.generation {
		if known := at.settled.Value(); known != nil {
			return known
		}
	}
	p := r.prescreen
	key := fmt.Sprintf("%d %q %q", t.paranoia, t.methods, t.types)
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.settled[key]
	if known == nil {
		level, values, err := r.settings(t)
		if err != nil {
			return nil
		}
		known = &settled{tenant: p.gate.Tenant(level, values)}
		if known.first, err = r.firstValues(t); err != nil {
			return nil
		}
		if len(p.settled) >= maxSettled {
			clear(p.settled)
		}
		known.stance = &stance{r.catalog.generation, weak.Make(known)}
		p.settled[key] = known
	}
	t.stance.Store(known.stance)
	return known
}

// errRefused is why a gate cannot be used for some settings.
var errRefused = errors.New("rules that depend on settings alone find something in every request")

// settings runs a plain request with the rules that do not look at requests, and returns the paranoia level and
// the variables that they have set. It fails if one of them shows.
func (r *ruleset) settings(t *tuning) (level int, values map[string][]string, err error) {
	tx := r.newTx.NewTransactionWithOptions(experimental.Options{ID: "settings", Context: context.Background()}).(engineTx)
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	t.apply(tx.Variables().TX())
	r.prescreen.only(tx, running{})
	it, err := plain(tx, "/")
	if err != nil {
		return 0, nil, err
	}
	if it == nil {
		tx.AddResponseHeader("Content-Type", "text/html")
		if it = tx.ProcessResponseHeaders(200, "HTTP/1.1"); it == nil {
			if it, err = tx.ProcessResponseBody(); err != nil {
				return 0, nil, fmt.Errorf("inspect response body: %w", err)
			}
		}
	}
	shows := slices.ContainsFunc(tx.MatchedRules(), func(m types.MatchedRule) bool { return !r.catalog.bookkeeping(m) })
	if it != nil || shows {
		return 0, nil, errRefused
	}
	values = map[string][]string{}
	for _, m := range tx.Variables().TX().FindAll() {
		if name := m.Key(); len(name) > 1 || name < "0" || name > "9" { // no groups of patterns
			values[strings.ToLower(name)] = append(values[strings.ToLower(name)], m.Value())
		}
	}
	for _, score := range []string{"blocking_inbound_anomaly_score", "blocking_outbound_anomaly_score"} {
		if at := values[score]; len(at) > 0 && at[0] != "0" {
			return 0, nil, errRefused // which thresholds are higher is not known
		}
	}
	level = 4
	if at := values["detection_paranoia_level"]; len(at) == 1 && len(at[0]) == 1 && '1' <= at[0][0] && at[0][0] <= '4' {
		level = int(at[0][0] - '0')
	}
	return level, values, tx.Close()
}

// firstValues runs the rules that give variables their first values, and returns these.
func (r *ruleset) firstValues(t *tuning) (values map[string][]string, err error) {
	tx := r.newTx.NewTransactionWithOptions(experimental.Options{ID: "first", Context: context.Background()}).(engineTx)
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	t.apply(tx.Variables().TX())
	for _, i := range r.prescreen.byID {
		if id := r.prescreen.rules[i].ID; !r.prescreen.gate.First(i) {
			tx.RemoveRuleByIDRange(id, id)
		}
	}
	if it := tx.ProcessRequestHeaders(); it != nil {
		return nil, errRefused
	}
	values = map[string][]string{}
	for _, m := range tx.Variables().TX().FindAll() {
		values[m.Key()] = append(values[m.Key()], m.Value())
	}
	return values, tx.Close()
}

// running are the rules that run in one transaction, but for those that always do.
type running struct {
	places []int
	begun  bool // variables have their first values
}

func (r running) has(place int) bool { return slices.Contains(r.places, place) }

// only takes out of a transaction all rules that neither run always nor are among these. Those of sides that are not
// judged yet may be taken out later, but not put back.
func (p *prescreen) only(tx engineTx, run running, sides ...gate.Side) {
	first, last := 0, 0
	for _, i := range p.byID {
		r := &p.rules[i]
		if p.gate.Kept(i) && !(run.begun && p.gate.First(i)) || p.native[r.ID] || len(sides) > 0 && !slices.Contains(sides, r.Side()) || run.has(i) {
			if last > 0 {
				tx.RemoveRuleByIDRange(first, last)
			}
			first, last = 0, 0
			continue
		}
		if last == 0 {
			first = r.ID
		}
		last = r.ID
	}
	if last > 0 {
		tx.RemoveRuleByIDRange(first, last)
	}
}
