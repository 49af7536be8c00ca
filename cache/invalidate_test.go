package cache

import (
	"strings"
	"testing"
)

// changing looks up a POST to /a that is about to be answered.
func changing(s *Store) *Request {
	req := pages["a"].asked(s)
	req.Method = "POST"
	s.Lookup(req, &Policy{})
	return req
}

// The answer to an unsafe request that may be stored is newer than what the request has changed, and not newer than what others
// have changed while it was under way: they may have come before it.
func TestAnswersToUnsafeRequestsAndWhatComesMeanwhile(t *testing.T) {
	shop := func(kind PurgeKind, arg string) func(*Store) {
		return func(s *Store) { s.Purge(Purge{Tenant: "shop", Vhost: "shop", Kind: kind, Arg: arg}) }
	}
	for name, tt := range map[string]struct {
		meanwhile func(*Store)
		changes   Changes
		then      func(*Store) // after its own changes
		stored    bool
	}{
		"nothing":                           {stored: true},
		"its own changes":                   {changes: Changes{Keys: [][]byte{get("/other").Key}, URLs: []string{"www.shop.test/a"}, Groups: []string{"g"}}, stored: true},
		"more groups than are told apart":   {changes: Changes{Groups: make([]string, maxInvalidated+1)}, stored: true},
		"a purge of all":                    {meanwhile: func(s *Store) { s.Purge(Purge{Kind: PurgeAll}) }},
		"a purge of all, softly":            {meanwhile: func(s *Store) { s.Purge(Purge{Kind: PurgeAll, Soft: true}) }},
		"a purge of its URL":                {meanwhile: shop(PurgeURL, "www.shop.test/a"), changes: Changes{URLs: []string{"www.shop.test/a"}}},
		"a purge of its tag":                {meanwhile: shop(PurgeTag, "red")},
		"a purge of its group":              {meanwhile: shop(PurgeGroup, "g"), changes: Changes{Groups: []string{"g"}}},
		"a purge of something else":         {meanwhile: shop(PurgeTag, "green"), stored: true},
		"another's change":                  {meanwhile: func(s *Store) { s.Invalidate(pages["a"].asked(s).Key) }},
		"another's change of something":     {meanwhile: func(s *Store) { s.Invalidate(pages["ab"].asked(s).Key) }, stored: true},
		"another POST to it":                {meanwhile: func(s *Store) { s.Answered(changing(s), head(), &Changes{}) }},
		"a purge of all afterwards":         {then: shop(PurgeAll, "")},
		"another's change of it afterwards": {then: func(s *Store) { s.Invalidate(pages["a"].asked(s).Key) }},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newStore(t, MinMaxBytes)
			pages["a"].store(t, s)
			req := changing(s)
			if tt.meanwhile != nil {
				tt.meanwhile(s)
			}
			resp := answer(200, "Cache-Control", "max-age=60", "Surrogate-Key", "red", "Cache-Groups", `"g"`)
			s.Answered(req, resp.Header, &tt.changes)
			if tt.then != nil {
				tt.then(s)
			}
			if got := pages["a"].forward(s); got != ForwardURIMiss {
				t.Errorf("what was stored before: %s", got)
			}
			req.Method, req.Explicit = "GET", true
			if stored := put(t, s, req, resp, "answer"); stored != tt.stored {
				t.Errorf("stored: %v, want %v", stored, tt.stored)
			}
		})
	}
}

// A request that is sent for another one's stale hit brings nothing back that was purged since that was found.
func TestPurgeOvertakesARefresh(t *testing.T) {
	s, _ := newStore(t, MinMaxBytes)
	p := pages["a"]
	p.store(t, s)
	first := p.asked(s)
	l := s.Lookup(first, &Policy{})
	l = Lookup{MayStore: true, Stale: l.Entry, Forward: ForwardStale}
	flight := s.Lead(first, &l)
	defer flight.Abandon()
	s.Purge(Purge{Kind: PurgeAll})
	behind := p.asked(s)
	flight.Begin(behind)
	if put(t, s, behind, answer(200, fresh...), "validated") {
		t.Error("what was purged is stored again")
	}
}

// RFC 9875 §2: groups are of an origin. A vhost with a wildcard, or with aliases, has several, and who writes the pages of one of
// them must not empty another's. Purges by the operator reach a group wherever it is.
func TestAttackGroupsOfAnotherOrigin(t *testing.T) {
	many := strings.Repeat("t ", maxTags+1)
	on := func(scheme, host, target string, response ...string) page {
		return page{tenant: "shop", vhost: "*.users.test", scheme: scheme, host: host, target: target, response: response}
	}
	stored := map[string]page{
		"eve":       on("https", "eve.users.test", "/", "Cache-Groups", `"x", "y"`),
		"eve many":  on("https", "eve.users.test", "/many", "Surrogate-Key", many, "Cache-Groups", `"x"`),
		"eve none":  on("https", "eve.users.test", "/none"),
		"eve plain": on("http", "eve.users.test", "/", "Cache-Groups", `"x"`),
		"bob":       on("https", "bob.users.test", "/", "Cache-Groups", `"x", "y"`),
		"bob many":  on("https", "bob.users.test", "/many", "Surrogate-Key", many, "Cache-Groups", `"x"`),
	}
	const all = "eve,eve many,eve none,eve plain,bob,bob many"
	for _, tt := range []struct {
		name string
		do   func(*Store)
		gone string
	}{
		{"a group", func(s *Store) {
			s.Answered(on("https", "eve.users.test", "/post").asked(s), head(), &Changes{Groups: []string{"x"}})
		}, "eve,eve many"},
		{"another group", func(s *Store) {
			s.Answered(on("https", "eve.users.test", "/post").asked(s), head(), &Changes{Groups: []string{"z"}})
		}, "eve many"},
		{"more groups than are told apart", func(s *Store) {
			s.Answered(on("https", "eve.users.test", "/post").asked(s), head(), &Changes{Groups: make([]string, maxInvalidated+1)})
		}, "eve,eve many,eve none,eve plain"},
		{"a purge of a group", func(s *Store) { s.Purge(Purge{Tenant: "shop", Vhost: "*.users.test", Kind: PurgeGroup, Arg: "y"}) }, "eve,eve many,bob,bob many"},
		{"a purge of a group of the tenant", func(s *Store) { s.Purge(Purge{Tenant: "shop", Kind: PurgeGroup, Arg: "x"}) }, "eve,eve many,eve plain,bob,bob many"},
		{"a purge of a group everywhere", func(s *Store) { s.Purge(Purge{Kind: PurgeGroup, Arg: "z"}) }, "eve many,bob many"},
		{"a purge of all", func(s *Store) { s.Purge(Purge{Kind: PurgeAll}) }, all},
	} {
		s, _ := newStore(t, MinMaxBytes)
		for _, p := range stored {
			p.store(t, s)
		}
		tt.do(s)
		for name, p := range stored {
			want := "hit"
			if contains(tt.gone, name) {
				want = ForwardURIMiss
			}
			if got := p.forward(s); got != want {
				t.Errorf("%s: %s: %s, want %s", tt.name, name, got, want)
			}
		}
	}
}

// What is on its way is told apart likewise.
func TestGroupsOfAnotherOriginEndNoFlight(t *testing.T) {
	for host, joins := range map[string]bool{"www.shop.test": false, "eve.shop.test": true} {
		s, _ := newStore(t, MinMaxBytes)
		p := pages["a"]
		first := p.asked(s)
		l := s.Lookup(first, &Policy{})
		flight, _ := s.Join(first, &l)
		s.Answered(page{tenant: "shop", vhost: "shop", scheme: "https", host: host, target: "/post"}.asked(s), head(), &Changes{Groups: []string{"x"}})
		second := p.asked(s)
		l = s.Lookup(second, &Policy{})
		joined, lead := s.Join(second, &l)
		if joined == nil || lead == joins {
			t.Errorf("%s: joins %v, want %v", host, !lead, joins)
		}
		if !lead {
			joined.Leave()
		}
		flight.Abandon()
		joined.Abandon()
	}
}
