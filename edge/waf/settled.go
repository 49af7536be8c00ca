package waf

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"weak"

	"github.com/corazawaf/coraza/v3/experimental"
	"github.com/corazawaf/coraza/v3/types"
	"github.com/corazawaf/coraza/v3/types/variables"

	"gatehouse/edge/waf/gate"
)

// settled is all that follows from a tuning before anything is asked.
type settled struct {
	tenant *gate.Tenant        // nil: the gate is of no use
	err    error               // why it is not
	first  map[string][]string // the values of variables before rules look at anything
	stance *stance
	// What does not run unless it can match, by side; of requests, without the rules that give variables their first values.
	spans [2][]idSpan
}

// stance leads from a tuning to what follows from it at one prescreen, which it does not keep. All equal tunings
// have the same.
type stance struct {
	generation uint64 // of the rules
	settled    weak.Pointer[settled]
}

// maxSettled bounds how many different tunings are kept. They take some kilobytes each.
const maxSettled = 2048

// settle returns what follows from a tuning; nil: the gate is of no use to it.
func (p *prescreen) settle(r *ruleset, t *tuning) *settled {
	if at := t.stance.Load(); at != nil && at.generation == r.catalog.generation {
		if known := at.settled.Value(); known != nil {
			return known.useful()
		}
	}
	key := tuningKey(t)
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.settled[key]
	if known == nil {
		known = &settled{}
		level, values, err := p.settings(r, t)
		if err == nil {
			known.first, err = p.firstValues(r, t)
		}
		if err == nil {
			known.tenant = p.gate.Tenant(level, values)
			for _, side := range []gate.Side{gate.Request, gate.Answer} {
				known.spans[side] = p.spans(side, func(i int) bool { return p.gate.Kept(i) && !p.gate.First(i) && !known.tenant.Idle(i) })
			}
			p.tellAlways(known.tenant, level)
		} else if known.err = err; len(p.settled) > 0 { // of the first one, who makes the prescreen tells
			p.log.Warn("waf gate not in use for the settings of a tenant", "paranoia", t.paranoia, "inbound", t.inbound, "outbound", t.outbound, "err", err)
		}
		if len(p.settled) >= maxSettled {
			for other := range p.settled { // any
				delete(p.settled, other)
				break
			}
		}
		known.stance = &stance{r.catalog.generation, weak.Make(known)}
		p.settled[key] = known
	}
	t.stance.Store(known.stance)
	return known.useful()
}

// tellAlways logs which rules the gate cannot keep from any request or answer: they cost each of them a run of the engine.
func (p *prescreen) tellAlways(t *gate.Tenant, level int) {
	for side, of := range map[gate.Side]string{gate.Request: "request", gate.Answer: "response"} {
		if id := t.Always(side); id != 0 {
			p.log.Warn("waf gate cannot tell when a rule matches: it is run each time", "rule", id, "on", of, "paranoia", level)
		}
	}
}

// fit says why the gate is of no use with the settings of who has none of his own; nil: it is.
func (p *prescreen) fit(r *ruleset) error {
	t := (&Profile{}).resolve()
	p.settle(r, t)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.settled[tuningKey(t)].err
}

// tuningKey is all that a tuning sets, see apply.
func tuningKey(t *tuning) string {
	return fmt.Sprintf("%d %d %d %q %q", t.paranoia, t.inbound, t.outbound, t.methods, t.types)
}

// useful returns it, if there is a gate for such settings.
func (s *settled) useful() *settled {
	if s.tenant == nil {
		return nil
	}
	return s
}

// errNoBase is why there is no gate for rules that do not begin with our base settings: the reader has these.
var errNoBase = errors.New("the rules lack the base settings")

// errParser and errEarly are further reasons: the reader knows nothing of settings, and the gate is asked when the body is there.
var (
	errParser = errors.New("a setting of the rules decides how bodies are read")
	errEarly  = errors.New("the rules refuse by the head alone (early_blocking)")
)

// errRefused is why a gate cannot be used for some settings.
var errRefused = errors.New("rules that depend on settings alone find something in every request")

// settings runs a plain request with the rules that do not look at requests, and returns the paranoia level and
// the variables that they have set. It fails if one of them shows.
func (p *prescreen) settings(r *ruleset, t *tuning) (level int, values map[string][]string, err error) {
	tx := r.newTx.NewTransactionWithOptions(experimental.Options{ID: "settings", Context: context.Background()}).(engineTx)
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	t.apply(tx.Variables().TX())
	for _, side := range []gate.Side{gate.Request, gate.Answer} {
		p.takeOut(tx, p.spans(side, p.gate.Follows), nil)
	}
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
	if kind := kindOf(tx); kind != p.usual[variables.ReqbodyProcessor] {
		return 0, nil, errParser
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
	if at := values["early_blocking"]; len(at) > 0 && at[0] != "0" {
		return 0, nil, errEarly
	}
	level = 4
	if at := values["detection_paranoia_level"]; len(at) == 1 && len(at[0]) == 1 && '1' <= at[0][0] && at[0][0] <= '4' {
		level = int(at[0][0] - '0')
	}
	return level, values, tx.Close()
}

// firstValues runs the rules that give variables their first values, and returns these.
func (p *prescreen) firstValues(r *ruleset, t *tuning) (values map[string][]string, err error) {
	tx := r.newTx.NewTransactionWithOptions(experimental.Options{ID: "first", Context: context.Background()}).(engineTx)
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	t.apply(tx.Variables().TX())
	for _, i := range p.byID {
		if id := p.rules[i].ID; !p.gate.First(i) {
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
