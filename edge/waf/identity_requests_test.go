package waf

import (
	"math/rand/v2"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"gatehouse/waf-rules/crstest"
)

// A generator makes exchanges. It belongs to one goroutine.
type generator struct {
	*material
	seed   uint64
	source *rand.PCG
	random *rand.Rand
	mix    []*blank
}

func newGenerator(m *material, seed uint64) *generator {
	source := rand.NewPCG(0, 0)
	return &generator{material: m, seed: seed, source: source, random: rand.New(source), mix: mixBlanks(rand.New(rand.NewPCG(7, 8)), 400)}
}

// exchange makes the one of a number, always the same. It is valid until the next call.
func (g *generator) exchange(number uint64) exchange {
	g.source.Seed(g.seed, number)
	x := exchange{client: netip.MustParseAddrPort("127.0.0.1:40000"), length: -1, paranoia: 1 + int(number%4), tuning: g.random.IntN(identityTunings)}
	switch n := g.random.IntN(20); {
	case n < 6:
		x.Request = pick(g.random, g.corpus...)
	case n < 8:
		x.Request = g.changed(pick(g.random, g.corpus...))
	case n < 14:
		x.Request = g.asked()
	case n < 18:
		x.Request = g.sent()
	default:
		counter := number * 1000
		x.Request = pick(g.random, g.mix...).fill(&counter)
	}
	if g.random.IntN(5) == 0 {
		x.Request = g.odd(x.Request)
	}
	if g.random.IntN(4) == 0 {
		x.answer = g.answer()
		if g.random.IntN(2) == 0 { // which no rule stops on the way there
			x.Request = plainRequest()
		}
	}
	g.cut(&x)
	if g.random.IntN(4) == 0 {
		x.client = pick(g.random, netip.MustParseAddrPort("192.0.2.7:1"), netip.MustParseAddrPort("[2001:db8::7]:65535"), netip.MustParseAddrPort("[::1]:80"), netip.AddrPort{})
	}
	return x
}

// cut has bodies end early, and be announced.
func (g *generator) cut(x *exchange) {
	if len(x.Body) == 0 {
		return
	}
	switch g.random.IntN(8) {
	case 0:
		x.length = int64(len(x.Body))
	case 1:
		x.length = int64(len(x.Body))
		x.Body, x.cut = x.Body[:g.random.IntN(len(x.Body))], true
	case 2:
		x.Body, x.cut = x.Body[:g.random.IntN(len(x.Body))], true
	}
}

// plainRequest is one that no rule minds.
func plainRequest() crstest.Request {
	return crstest.Request{Method: "GET", Target: "/page", Proto: "HTTP/1.1", Host: "localhost", Fields: [][2]string{
		{"Host", "localhost"}, {"User-Agent", "Mozilla/5.0"}, {"Accept", "text/html,*/*;q=0.8"},
	}}
}

// asked has values where a site would have some: in the target and in fields.
func (g *generator) asked() crstest.Request {
	r := plainRequest()
	name := pick(g.random, "id", "a", "q", "comment", "json.a", "x[]", "ID", "__proto__")
	switch g.random.IntN(8) {
	case 0, 1:
		r.Target += "?" + name + "=" + url.QueryEscape(g.value())
	case 2:
		r.Target += "/" + url.PathEscape(g.value()) + "?a=1"
	case 3:
		r.Target += "?" + url.QueryEscape(g.value()) + "=1&" + name + "=" + url.QueryEscape(g.value()) + "&" + name + "=2"
	case 4:
		r.Target = "/search?" + name + "=" + lineOf(g.value()) // as it is
	case 5:
		r.Fields = append(r.Fields, [2]string{"Cookie", g.cookies()})
	case 6:
		r.Fields = append(r.Fields, [2]string{pick(g.random, "Referer", "X-Any", "X-Forwarded-For", "Origin", "Accept-Language"), lineOf(g.value())})
	case 7:
		r.Fields[1][1] = lineOf(g.value())
	}
	return r
}

// lineOf makes a text fit for a field or a target.
func lineOf(v string) string {
	return strings.Map(func(c rune) rune {
		if c == '\r' || c == '\n' {
			return ' '
		}
		return c
	}, v)
}

func (g *generator) cookies() string {
	var all []string
	for i := range 1 + g.random.IntN(4) {
		v := pick(g.random, "1", "dark", "GA1.2.123456789.1700000000", "%7B%22a%22%3A1%7D", lineOf(g.value()), url.QueryEscape(g.value()))
		all = append(all, pick(g.random, "sid", "_ga", "wp_x", "SID", "$Version", "a b", "s"+strconv.Itoa(i), "")+pick(g.random, "=", "=", "=", "", "==")+v)
	}
	return strings.Join(all, pick(g.random, "; ", "; ", ";", ", ", ";;"))
}

// changed is a request of the corpus with something else in it.
func (g *generator) changed(r crstest.Request) crstest.Request {
	r.Fields = slices.Clone(r.Fields)
	switch g.random.IntN(6) {
	case 0:
		r.Target = g.spoilt(r.Target)
	case 1:
		r.Target += pick(g.random, "&", "?", "/", ";", "%00", "#") + pick(g.random, "z=1", url.QueryEscape(g.value()))
	case 2:
		if len(r.Body) > 0 {
			r.Body = []byte(g.spoilt(string(r.Body)))
			break
		}
		fallthrough
	case 3:
		if len(r.Fields) > 0 {
			f := &r.Fields[g.random.IntN(len(r.Fields))]
			f[1] = lineOf(g.spoilt(f[1]))
		}
	case 4:
		other := pick(g.random, g.corpus...)
		r.Fields = append(r.Fields, other.Fields[g.random.IntN(len(other.Fields)+1):]...)
	case 5:
		other := pick(g.random, g.corpus...)
		r.Body, r.Method = other.Body, other.Method
	}
	return r
}
