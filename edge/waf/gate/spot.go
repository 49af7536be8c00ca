package gate

import (
	"math/bits"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/corazawaf/coraza/v3/types/variables"
)

// A spot is where values stand in a message: a list of the engine's, which may go by several variables. A parameter of a
// query is one of ARGS_GET and one of ARGS.
type spot struct {
	from      variables.RuleVariable   // the list that the engine is asked for
	variables []variables.RuleVariable // what rules call it
	base      *row                     // for values under keys that no rule names
	rows      map[string]*row          // by key in lower case
}

// A row is the checks that look at the values of a spot under one key, or under any that has no row of its own.
type row struct {
	number   uint32 // among all of a side's
	levels   [maxLevel + 1][]part
	tenanted bool // a check's outcome depends on the tenant's settings
	public   bool // what was found in a value is for all tenants
}

// A part of a row is its checks that have one chain and run at a level.
type part struct {
	chain  int
	checks []uint64
}

// together are the lists that are also part of another variable's.
var together = map[variables.RuleVariable]variables.RuleVariable{
	variables.ArgsGet: variables.Args, variables.ArgsPost: variables.Args,
	variables.ArgsGetNames: variables.ArgsNames, variables.ArgsPostNames: variables.ArgsNames,
}

// newSpots returns the spots that the checks and counts of a side look at.
func newSpots(s *side) (out []*spot) {
	used := map[variables.RuleVariable]bool{}
	keys := map[variables.RuleVariable]map[string]bool{}
	name := func(v variables.RuleVariable, key string) {
		if keys[v] == nil {
			keys[v] = map[string]bool{}
		}
		keys[v][strings.ToLower(key)] = true
	}
	for i := range s.checks {
		for _, t := range s.checks[i].link.Targets {
			used[t.Variable] = true
			if t.Key != "" && t.Pattern == nil {
				name(t.Variable, t.Key)
			}
			for _, x := range t.Except {
				if x.Pattern == nil {
					name(t.Variable, x.Key)
				}
			}
		}
	}
	for _, c := range s.counts {
		used[c.target.Variable] = true
		if c.target.Key != "" {
			name(c.target.Variable, c.target.Key)
		}
	}
	for part, whole := range together {
		if used[whole] {
			used[part] = true
		}
	}
	number := uint32(0)
	for _, v := range sortedVariables(used) {
		if v == variables.Args || v == variables.ArgsNames {
			continue // they are lists of others
		}
		p := &spot{from: v, variables: []variables.RuleVariable{v}, rows: map[string]*row{}}
		if whole, ok := together[v]; ok {
			p.variables = append(p.variables, whole)
		}
		p.base = s.newRow(p, "", &number)
		for _, v := range p.variables {
			for key := range keys[v] {
				if p.rows[key] == nil {
					p.rows[key] = s.newRow(p, key, &number)
				}
			}
		}
		out = append(out, p)
		s.countIn(p)
	}
	return out
}

// countIn gives the rows of a spot to the conditions that count its values.
func (s *side) countIn(p *spot) {
	for i := range s.counts {
		c := &s.counts[i]
		if !slices.Contains(p.variables, c.target.Variable) {
			continue
		}
		if c.target.Key != "" {
			c.rows = append(c.rows, p.rows[c.target.Key].number)
			continue
		}
		c.rows = append(c.rows, p.base.number)
		for _, r := range p.rows {
			c.rows = append(c.rows, r.number)
		}
	}
}

func sortedVariables(set map[variables.RuleVariable]bool) (out []variables.RuleVariable) {
	for v := range set {
		out = append(out, v)
	}
	slices.Sort(out)
	return out
}

// browsers are the fields in which browsers say the same everywhere.
var browsers = map[string]bool{
	"user-agent": true, "accept": true, "accept-encoding": true, "accept-charset": true, "content-type": true, "connection": true, "range": true,
	"sec-fetch-user": true, "sec-ch-ua": true, "sec-ch-ua-mobile": true, "cache-control": true, "content-length": true,
}

// isPublic reports whether values of a spot under a key are nobody's secret. Of any other value no tenant shall learn, by
// how long an answer takes, that it was sent to another one.
func (p *spot) isPublic(key string) bool {
	switch p.from {
	case variables.RequestMethod, variables.RequestProtocol, variables.RequestHeadersNames:
		return true
	case variables.RequestHeaders:
		return browsers[key]
	}
	return false
}

// newRow gathers the checks of a spot's values under a key; empty: under any other.
func (s *side) newRow(p *spot, key string, number *uint32) *row {
	r := &row{number: *number, public: p.isPublic(key)}
	*number++
	all := make([]uint64, len(s.atLevel[0]))
	for i := range s.checks {
		if c := &s.checks[i]; p.seenBy(c.link, key) {
			setBit(all, i)
			r.tenanted = r.tenanted || c.tenanted
		}
	}
	for level := range r.levels {
		for chain := range s.ofChain {
			if checks := both(all, s.atLevel[level], s.ofChain[chain]); checks != nil {
				r.levels[level] = append(r.levels[level], part{chain, checks})
			}
		}
	}
	return r
}

// both returns the bits that all of three rows have; nil: there are none.
func both(a, b, c []uint64) []uint64 {
	out, any := make([]uint64, len(a)), uint64(0)
	for k := range a {
		out[k] = a[k] & b[k] & c[k]
		any |= out[k]
	}
	if any == 0 {
		return nil
	}
	return out
}

// seenBy reports whether a link may look at a value of the spot under the key.
func (p *spot) seenBy(l *Link, key string) bool {
	for i := range l.Targets {
		t := &l.Targets[i]
		for _, v := range p.variables {
			if key != "" && t.looksAt(v, key) || key == "" && t.mayLookAt(v) {
				return true
			}
		}
	}
	return false
}

// row returns the row of a key as the engine has it.
func (p *spot) row(key string) *row {
	if len(p.rows) == 0 {
		return p.base
	}
	var room [64]byte
	if len(key) > len(room) {
		if r, ok := p.rows[strings.ToLower(key)]; ok {
			return r
		}
		return p.base
	}
	for i := range len(key) {
		c := key[i]
		switch {
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		case c >= utf8.RuneSelf:
			if r, ok := p.rows[strings.ToLower(key)]; ok {
				return r
			}
			return p.base
		}
		room[i] = c
	}
	if r, ok := p.rows[string(room[:len(key)])]; ok {
		return r
	}
	return p.base
}

func trailing(word uint64) int { return bits.TrailingZeros64(word) }
