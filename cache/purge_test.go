package cache

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// A stored page of the tests: its vhost, and what of it purges can name.
type page struct {
	tenant, vhost, scheme, host, target, custom string
	request                                     []string // pairs of fields
	response                                    []string
}

func (p page) asked(s *Store) *Request {
	return &Request{
		Method: "GET", Target: p.target, Header: head(p.request...), Vhost: s.Vhost(p.tenant, p.vhost),
		Key: append(AppendKey(nil, p.tenant, p.vhost, p.scheme, p.host, p.target), p.custom...),
	}
}

func (p page) store(t *testing.T, s *Store) {
	t.Helper()
	response := append([]string{"Cache-Control", "max-age=60", "Etag", `"1"`}, p.response...)
	if !fill(t, s, p.asked(s), answer(200, response...), "body") {
		t.Fatal("not stored")
	}
}

func (p page) forward(s *Store) string {
	l := s.Lookup(p.asked(s), &Policy{})
	if l.Entry != nil {
		return "hit"
	}
	return l.Forward
}

// pages are what TestPurgeNamesWhatItNames stores, by name.
var pages = map[string]page{
	"a":          {tenant: "shop", vhost: "shop", scheme: "https", host: "www.shop.test", target: "/a", response: []string{"Surrogate-Key", "red  blue"}},
	"a plain":    {tenant: "shop", vhost: "shop", scheme: "http", host: "www.shop.test", target: "/a"},
	"a german":   {tenant: "shop", vhost: "shop", scheme: "https", host: "www.shop.test", target: "/a/x", request: []string{"X-L", "de"}, response: []string{"Vary", "X-L", "Cache-Tag", "blue, sky high"}},
	"a cookie":   {tenant: "shop", vhost: "shop", scheme: "https", host: "www.shop.test", target: "/a", custom: "c1"},
	"a tablet":   {tenant: "shop", vhost: "shop", scheme: "https", host: "www.shop.test", target: "/a", custom: "d1"},
	"a query":    {tenant: "shop", vhost: "shop", scheme: "https", host: "www.shop.test", target: "/a?b=1", response: []string{"Xkey", "one", "Xkey", "two red"}},
	"ab":         {tenant: "shop", vhost: "shop", scheme: "https", host: "www.shop.test", target: "/ab", response: []string{"Cache-Groups", `"red", "wide";p`}},
	"alias":      {tenant: "shop", vhost: "shop", scheme: "https", host: "shop.test", target: "/a", response: []string{"Surrogate-Key", "red"}},
	"second":     {tenant: "shop", vhost: "second", scheme: "https", host: "second.test", target: "/a", response: []string{"Surrogate-Key", "red"}},
	"other":      {tenant: "other", vhost: "shop", scheme: "https", host: "www.shop.test", target: "/a", response: []string{"Surrogate-Key", "red"}},
	"tenantless": {vhost: "free", scheme: "https", host: "free.test", target: "/a", response: []string{"Surrogate-Key", "red"}},
}

func TestPurgeNamesWhatItNames(t *testing.T) {
	shop := func(kind PurgeKind, arg string) Purge {
		return Purge{Tenant: "shop", Vhost: "shop", Kind: kind, Arg: arg}
	}
	tests := []struct {
		purge Purge
		gone  string // names of pages, by comma
	}{
		{shop(PurgeURL, "www.shop.test/a"), "a,a plain,a cookie,a tablet"},
		{shop(PurgeURL, "www.shop.test/a?b=1"), "a query"},
		{shop(PurgeURL, "www.shop.test/"), ""},
		{shop(PurgeURL, "www.shop.test"), ""},
		{shop(PurgePrefix, "www.shop.test/a"), "a,a plain,a german,a cookie,a tablet,a query,ab"},
		{shop(PurgePrefix, "www.shop.test/a/"), "a german"},
		{shop(PurgePrefix, "shop.test/"), "alias"},
		{shop(PurgeTag, "red"), "a,a query,alias"},
		{shop(PurgeTag, "blue"), "a,a german"},
		{shop(PurgeTag, "sky high"), "a german"},
		{shop(PurgeTag, "one"), "a query"},
		{shop(PurgeTag, "Red"), ""},
		{shop(PurgeTag, "wide"), ""},
		{shop(PurgeGroup, "wide"), "ab"},
		{shop(PurgeGroup, "red"), "ab"},
		{shop(PurgeHost, "shop.test"), "alias"},
		{shop(PurgeAll, ""), "a,a plain,a german,a cookie,a tablet,a query,ab,alias"},
		{shop("of a later version", "x"), "a,a plain,a german,a cookie,a tablet,a query,ab,alias"},
		{Purge{Tenant: "shop", Kind: PurgeTag, Arg: "red"}, "a,a query,alias,second"},
		{Purge{Tenant: "shop", Kind: PurgeAll}, "a,a plain,a german,a cookie,a tablet,a query,ab,alias,second"},
		{Purge{Tenant: "nobody", Kind: PurgeAll}, ""},
		{Purge{Vhost: "free", Kind: PurgeAll}, "tenantless"},
		{Purge{Vhost: "shop", Kind: PurgeAll}, ""}, // of a tenant, and not named as such
		{Purge{Kind: PurgeTag, Arg: "red"}, "a,a query,alias,second,other,tenantless"},
		{Purge{Kind: PurgeURL, Arg: "www.shop.test/a"}, "a,a plain,a cookie,a tablet,other"},
		{Purge{Kind: PurgeAll}, "a,a plain,a german,a cookie,a tablet,a query,ab,alias,second,other,tenantless"},
	}
	for _, soft := range []bool{false, true} {
		for _, tt := range tests {
			tt.purge.Soft = soft
			t.Run(fmt.Sprintf("%+v", tt.purge), func(t *testing.T) {
				s, _ := newStore(t, MinMaxBytes)
				for _, p := range pages {
					p.store(t, s)
				}
				s.Purge(tt.purge)
				gone := ForwardURIMiss
				if soft {
					gone = ForwardStale
				}
				for name, p := range pages {
					want := "hit"
					if contains(tt.gone, name) {
						want = gone
					}
					for range 2 { // what was checked stays as it is
						if got := p.forward(s); got != want {
							t.Errorf("%s: %s, want %s", name, got, want)
						}
					}
				}
			})
		}
	}
}

func contains(list, name string) bool { return strings.Contains(","+list+",", ","+name+",") }

func TestPurgeOfEverythingReachesWhatIsNobodys(t *testing.T) {
	s, _ := newStore(t, MinMaxBytes)
	fill(t, s, get("/"), answer(200, fresh...), "body")
	s.Purge(Purge{Tenant: "shop", Kind: PurgeAll})
	wantHit(t, s, get("/"), "body")
	s.Purge(Purge{Kind: PurgeAll})
	wantForward(t, s, get("/"), ForwardURIMiss)
	fill(t, s, get("/"), answer(200, fresh...), "anew")
	wantHit(t, s, get("/"), "anew")
}

// What a soft purge names is stale from then on, and not from when it is next asked for.
func TestSoftPurgeCountsFromWhenItWasMade(t *testing.T) {
	s, c := newStore(t, MinMaxBytes)
	p := pages["a"]
	p.response = append([]string{}, "Surrogate-Key", "red", "Cache-Control", "max-age=600, stale-while-revalidate=10, stale-if-error=30")
	resp := answer(200, append([]string{"Etag", `"1"`}, p.response...)...)
	fill(t, s, p.asked(s), resp, "body")
	c.advance(5 * time.Second)
	soft := Purge{Tenant: "shop", Vhost: "shop", Kind: PurgeTag, Arg: "red", Soft: true}
	s.Purge(soft)
	c.advance(4 * time.Second)
	l := s.Lookup(p.asked(s), &Policy{})
	if l.Entry == nil || !l.Refresh || l.TTL != -4*time.Second || l.Age != 9*time.Second || l.Detail != "stale-while-revalidate" {
		t.Fatalf("within stale-while-revalidate: %+v", l)
	}
	s.Purge(soft) // once more: it does not begin anew
	c.advance(6 * time.Second)
	l = s.Lookup(p.asked(s), &Policy{})
	if l.Entry != nil || l.Stale == nil || l.Forward != ForwardStale {
		t.Fatalf("after stale-while-revalidate: %+v", l)
	}
	if string(l.Stale.AppendConditions(nil)) != "If-None-Match: \"1\"\r\n" {
		t.Error("its validator is lost")
	}
	if !s.ServesOnError(&l) || l.TTL != -10*time.Second {
		t.Errorf("within stale-if-error: %+v", l)
	}
	c.advance(20 * time.Second)
	l = s.Lookup(p.asked(s), &Policy{})
	if s.ServesOnError(&l) {
		t.Error("after stale-if-error it serves")
	}
	// Validated, it is fresh again.
	req := p.asked(s)
	s.Lookup(req, &Policy{})
	resp.Received = c.now()
	put(t, s, req, resp, "body")
	wantHit(t, s, p.asked(s), "body")
}

func TestHardPurgeAlsoEndsStaleIfError(t *testing.T) {
	s, c := newStore(t, MinMaxBytes)
	p := pages["a"]
	resp := answer(200, "Cache-Control", "max-age=1, stale-if-error=60", "Etag", `"1"`)
	fill(t, s, p.asked(s), resp, "body")
	c.advance(2 * time.Second)
	l := s.Lookup(p.asked(s), &Policy{})
	if l.Stale == nil {
		t.Fatal("nothing is stale")
	}
	s.Purge(Purge{Kind: PurgeAll})
	if s.ServesOnError(&l) {
		t.Error("a request that was under way is answered with what was purged")
	}
}

// A fill that began before a purge brings what the purge was about.
func TestPurgeOvertakesAFill(t *testing.T) {
	for _, soft := range []bool{false, true} {
		for _, arg := range []string{"red", "green"} {
			s, _ := newStore(t, MinMaxBytes)
			p := pages["a"]
			req := p.asked(s)
			l := s.Lookup(req, &Policy{})
			flight, lead := s.Join(req, &l)
			if !lead {
				t.Fatal("no flight")
			}
			s.Purge(Purge{Tenant: "shop", Vhost: "shop", Kind: PurgeTag, Arg: arg, Soft: soft})
			// Its tags are not known yet, so nobody joins it.
			after := p.asked(s)
			l = s.Lookup(after, &Policy{})
			second, lead := s.Join(after, &l)
			if second == nil || !lead {
				t.Errorf("%s: a request that came after the purge waits for what began before it", arg)
			}
			resp := answer(200, append([]string{"Cache-Control", "max-age=60"}, p.response...)...)
			e := NewEntry(req, resp, Decide(req, resp, &Policy{}), nil, 100, []byte("old"), "")
			if got, want := Refused(s.Put(e)), map[string]string{"red": "superseded", "green": ""}[arg]; got != want {
				t.Errorf("%s: refused %q, want %q", arg, got, want)
			}
			flight.Answer(e)
			second.Abandon()
		}
	}
}

// While a body is on its way, those who come after a purge of its tag do not join; after another they do.
func TestPurgeEndsJoiningAFill(t *testing.T) {
	for arg, joins := range map[string]bool{"red": false, "green": true} {
		s, _ := newStore(t, MinMaxBytes)
		p := pages["a"]
		req := p.asked(s)
		l := s.Lookup(req, &Policy{})
		flight, _ := s.Join(req, &l)
		resp := answer(200, append([]string{"Cache-Control", "max-age=60"}, p.response...)...)
		src := &pieces{parts: []string{"o", "ld"}}
		f := s.NewFill(NewEntry(req, resp, Decide(req, resp, &Policy{}), nil, 100, nil, ""), -1, func() Source { return src })
		reader := f.Reader()
		flight.Share(f)
		s.Purge(Purge{Tenant: "shop", Vhost: "shop", Kind: PurgeTag, Arg: arg})
		after := p.asked(s)
		l = s.Lookup(after, &Policy{})
		second, lead := s.Join(after, &l)
		if second == nil || lead == joins {
			t.Errorf("after a purge of %s: joins %v, want %v", arg, !lead, joins)
		}
		if lead {
			second.Abandon()
		} else {
			second.Leave()
		}
		f.Finish()
		edgetest.WaitFor(t, "the fill's end", func() bool { ended, _ := f.Outcome(); return ended })
		if _, err := f.Outcome(); (err == nil) != joins {
			t.Errorf("after a purge of %s: %v", arg, err)
		}
		if err := reader.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A pieces is a Source that gives one part at a time.
type pieces struct{ parts []string }

func (s *pieces) Read(p []byte) (int, error) {
	if len(s.parts) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.parts[0])
	s.parts = s.parts[1:]
	return n, nil
}
func (s *pieces) Close() error  { return nil }
func (s *pieces) Buffered() int { return 0 }
func (s *pieces) Cut()          {}

func TestStoreThatIsBlindReusesForAMinute(t *testing.T) {
	s, c := newStore(t, MinMaxBytes)
	resp := answer(200, "Cache-Control", "max-age=600", "Etag", `"1"`)
	fill(t, s, get("/"), resp, "body")
	s.SetBlind(true)
	c.advance(BlindReuse - time.Second)
	if l := wantHit(t, s, get("/"), "body"); l.TTL != time.Second || string(FormatStatus(nil, &l, Outcome{})) != "gatehouse; hit; ttl=1; detail=blind" {
		t.Errorf("%s", FormatStatus(nil, &l, Outcome{}))
	}
	c.advance(time.Second)
	l := wantForward(t, s, get("/"), ForwardStale)
	if l.Stale == nil || string(FormatStatus(nil, &l, Outcome{Stored: true})) != "gatehouse; fwd=stale; stored; detail=blind" {
		t.Errorf("%s", FormatStatus(nil, &l, Outcome{}))
	}
	s.SetBlind(false)
	wantHit(t, s, get("/"), "body")
}

func TestInvalidationByURLReachesEveryForm(t *testing.T) {
	s, _ := newStore(t, MinMaxBytes)
	for _, p := range pages {
		p.store(t, s)
	}
	answered := func(tenant string, c Changes) {
		s.Answered(page{tenant: tenant, vhost: "shop", scheme: "https", host: "www.shop.test", target: "/post"}.asked(s), head(), &c)
	}
	answered("shop", Changes{URLs: []string{"www.shop.test/a"}})
	s.Answered(get("/post"), head(), &Changes{URLs: []string{"www.shop.test/a?b=1"}}) // nobody's
	answered("shop", Changes{Groups: []string{"x", "wide"}})
	answered("other", Changes{Groups: []string{"wide"}})
	for name, p := range pages {
		want := "hit"
		if contains("a,a plain,a cookie,a tablet,ab", name) {
			want = ForwardURIMiss
		}
		if got := p.forward(s); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	answered("shop", Changes{Groups: make([]string, maxInvalidated+1)})
	if got := pages["a german"].forward(s); got != ForwardURIMiss {
		t.Errorf("after more groups than are told apart: %s", got)
	}
	if got := pages["second"].forward(s); got != "hit" {
		t.Errorf("another vhost of the tenant: %s", got)
	}
}

func TestRequestsThatFindAMarkAreCounted(t *testing.T) {
	s, _ := newStore(t, MinMaxBytes)
	p := pages["a"]
	for range 3 {
		req := p.asked(s)
		l := s.Lookup(req, &Policy{})
		if f, _ := s.Join(req, &l); f != nil {
			f.Release(true)
		}
	}
	if got := s.Figures()[0].HitForMiss; got != 2 {
		t.Errorf("%d, want 2", got)
	}
}
