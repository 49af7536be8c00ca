package waf

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"

	wafrules "gatehouse/waf-rules"
	"gatehouse/waf-rules/crstest"
)

// The engine with its own @rx, compiled before ours is put into its registry: what ours must be identical
// with. (That values of one name are kept apart is mended in both: without, it differs from itself.)
var (
	stock    *Engine
	errStock error
)

func TestMain(m *testing.M) {
	install := installRx
	installRx = func() {}
	stock, errStock = newEngine(Options{Gate: GateOff}, wafrules.Embedded().Directives())
	installRx = install
	os.Exit(m.Run())
}

// identityRequests is how many requests are compared: 1 % of what make waf-identity does, unless
// GATEHOUSE_IDENTITY says otherwise.
func identityRequests(t *testing.T) int {
	t.Helper()
	text := os.Getenv("GATEHOUSE_IDENTITY")
	switch {
	case text != "":
	case raceDetector: // tenfold the time; make test runs the rest without it
		return 100
	default:
		return 1000
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("GATEHOUSE_IDENTITY=%q: %v", text, err)
	}
	return n
}

// Whatever is sent, our engine says what the engine as it comes says: the same rules in the same order
// with the same scores, and the same verdict, at every paranoia level.
func TestIdentityWithTheEngineAsItComes(t *testing.T) {
	if errStock != nil {
		t.Fatal(errStock)
	}
	ours, want := sharedEngine(t), identityRequests(t)
	g := newRequests(t)
	seen := map[[sha256.Size]byte]bool{}
	matched, different := [5]int{}, 0
	for len(seen) < want {
		r := g.next()
		key := sha256.Sum256(fmt.Appendf(nil, "%q", r))
		if seen[key] {
			continue
		}
		seen[key] = true
		level := 1 + len(seen)%4
		got, wanted := said(ours, r, level), said(stock, r, level)
		// Chains depend on the order of a map (v3.8.1): the engine does not always agree with itself.
		for range 8 {
			if got == wanted {
				break
			}
			got, wanted = said(ours, r, level), said(stock, r, level)
		}
		if got != wanted {
			different++
			t.Errorf("paranoia %d, %q\n got %s\nwant %s", level, r, got, wanted)
		}
		if !strings.HasSuffix(wanted, " 0 matches") {
			matched[level]++
		}
	}
	t.Logf("%d requests, %d different; with a match at paranoia 1 to 4: %v", len(seen), different, matched[1:])
	for level, n := range matched[1:] {
		if n*100 < 30*want/4 {
			t.Errorf("only %d of %d requests match at paranoia %d", n, want/4, level+1)
		}
	}
}

// said is all that the engine says of a request.
func said(e *Engine, r crstest.Request, level int) string {
	tx := e.Begin(&Profile{Mode: Block, Paranoia: level}, "identity")
	defer tx.Close()
	loopback := netip.MustParseAddr("127.0.0.1")
	tx.Connection(netip.AddrPortFrom(loopback, 40000), netip.AddrPortFrom(loopback, 80))
	tx.Request(r.Method, r.Target, r.Proto, r.Host)
	for _, f := range r.Fields {
		tx.RequestHeader(f[0], f[1])
	}
	verdict := tx.RequestHeaders()
	if verdict == nil {
		tx.WriteRequestBody(r.Body)
		verdict = tx.RequestBody(false)
	}
	var rules []int
	for _, m := range tx.Matches() {
		rules = append(rules, m.ID)
	}
	out := fmt.Sprintf("score %d rules %v err %v", tx.Score(), rules, tx.Err())
	if verdict != nil {
		out += fmt.Sprintf(" verdict %+v", *verdict)
	}
	return out + fmt.Sprintf(", %d matches", len(tx.Matches()))
}

// requests makes requests: those of the CRS's own tests, those with pieces exchanged and changed, and
// harmless ones.
type requests struct {
	random *rand.Rand
	corpus []crstest.Request
	values []string // of the corpus's queries and forms
}

func newRequests(t testing.TB) *requests {
	t.Helper()
	suite, err := crstest.Load()
	if err != nil {
		t.Fatal(err)
	}
	g := &requests{random: rand.New(rand.NewPCG(7, 8))}
	for _, test := range suite {
		for _, stage := range test.Stages {
			r, err := crstest.Parse(stage.Request)
			if err != nil {
				continue
			}
			g.corpus = append(g.corpus, r)
			_, query, _ := strings.Cut(r.Target, "?")
			for _, part := range strings.Split(query+"&"+string(r.Body), "&") {
				if _, value, ok := strings.Cut(part, "="); ok && len(value) < 500 {
					if plain, err := url.QueryUnescape(value); err == nil {
						value = plain
					}
					g.values = append(g.values, value)
				}
			}
		}
	}
	return g
}

func (g *requests) next() crstest.Request {
	switch n := g.random.IntN(10); {
	case n < 4:
		return g.corpus[g.random.IntN(len(g.corpus))]
	case n < 9:
		return g.mutated()
	}
	return g.harmless()
}

// mutated puts changed values of the corpus where a site would have some.
func (g *requests) mutated() crstest.Request {
	r := crstest.Request{Method: "GET", Target: "/page", Proto: "HTTP/1.1", Host: "localhost", Fields: [][2]string{
		{"Host", "localhost"}, {"User-Agent", "Mozilla/5.0"}, {"Accept", "text/html,*/*;q=0.8"},
	}}
	switch g.random.IntN(5) {
	case 0:
		r.Target += "?id=" + url.QueryEscape(g.value())
	case 1:
		r.Target += "/" + url.PathEscape(g.value()) + "?a=1"
	case 2:
		g.body(&r, form, "a="+url.QueryEscape(g.value())+"&"+url.QueryEscape(g.value())+"=b")
	case 3:
		g.body(&r, "application/json", `{"a":{"b":[`+strconv.QuoteToASCII(g.value())+`,1]}}`)
	case 4:
		name := []string{"Cookie", "Referer", "User-Agent", "X-Any"}[g.random.IntN(4)]
		value := strings.Map(func(c rune) rune {
			if c < ' ' {
				return -1
			}
			return c
		}, g.value())
		if name == "Cookie" {
			value = "sid=" + value
		}
		r.Fields = append(r.Fields, [2]string{name, value})
	}
	return r
}

func (g *requests) body(r *crstest.Request, kind, text string) {
	r.Method, r.Body = "POST", []byte(text)
	r.Fields = append(r.Fields, [2]string{"Content-Type", kind}, [2]string{"Content-Length", strconv.Itoa(len(text))})
}

// value is one of the corpus, changed a little.
func (g *requests) value() string {
	v := g.values[g.random.IntN(len(g.values))]
	switch g.random.IntN(8) {
	case 0:
		return v + " " + g.values[g.random.IntN(len(g.values))]
	case 1:
		return strings.ToUpper(v)
	case 2:
		return url.QueryEscape(v)
	case 3:
		return strings.ReplaceAll(v, " ", "/**/")
	case 4:
		if len(v) > 0 {
			at := g.random.IntN(len(v))
			return v[:at] + string([]byte{byte(g.random.IntN(256))}) + v[at:]
		}
	case 5:
		if len(v) > 1 {
			at := g.random.IntN(len(v) - 1)
			return v[:at] + v[at+1:]
		}
	}
	return v
}

var harmlessWords = strings.Fields(`the quick brown fox and a lazy dog of our house price order number select shoes red size update delivery Monday street
	garden from to where is it and/or 12.50 2026-11-28 10:30 John O'Neil "quoted" name@example.com https://shop.test/a?b=c über naïve 東京 (optional) #1 50% 1+1=2`)

func (g *requests) harmless() crstest.Request {
	r := crstest.Request{Method: "GET", Target: "/", Proto: "HTTP/1.1", Host: "www.shop.test", Fields: [][2]string{
		{"Host", "www.shop.test"},
		{"User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"},
		{"Accept", "text/html,application/xhtml+xml,*/*;q=0.8"},
		{"Accept-Language", "en-US,en;q=0.5"},
		{"Accept-Encoding", "gzip, deflate, br"},
		{"Cookie", fmt.Sprintf("sid=%x; _ga=GA1.2.%d.%d", g.random.Uint64(), g.random.Uint32(), g.random.Uint32())},
	}}
	sentence := func() string {
		var words []string
		for range 1 + g.random.IntN(12) {
			words = append(words, harmlessWords[g.random.IntN(len(harmlessWords))])
		}
		return strings.Join(words, " ")
	}
	switch g.random.IntN(4) {
	case 0, 1:
		r.Target = "/search?q=" + url.QueryEscape(sentence()) + "&page=" + strconv.Itoa(g.random.IntN(99))
	case 2:
		g.body(&r, form, "title="+url.QueryEscape(sentence())+"&text="+url.QueryEscape(sentence()+". "+sentence()))
	case 3:
		g.body(&r, "application/json", fmt.Sprintf(`{"title":%q,"tags":[%q,%q],"n":%d}`, strings.ToValidUTF8(sentence(), ""), sentence(), sentence(), g.random.IntN(1000)))
	}
	return r
}

// For every pattern of the rules, texts made from the pattern itself: most match, or nearly.
func TestPatternsDecideAsRegexp(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	values := newRequests(t).values
	perPattern := identityRequests(t) / 10
	total, yes := 0, 0
	for _, pattern := range rulePatterns(t) {
		if meansBytes(pattern) {
			continue
		}
		made, err := newRx(plugintypes.OperatorOptions{Arguments: pattern})
		if err != nil {
			t.Fatalf("%s: %v", pattern, err)
		}
		op := made.(*rx)
		if op.dfa() == nil {
			t.Errorf("no automaton for %s", pattern)
			continue
		}
		parsed, err := syntax.Parse(op.pattern, syntax.Perl)
		if err != nil {
			t.Fatal(err)
		}
		for i := range perPattern {
			text := ""
			if i%3 == 0 {
				text = values[random.IntN(len(values))]
			} else {
				text = string(matching(random, parsed, nil, 0))
			}
			if i%5 == 0 && len(text) > 0 {
				at := random.IntN(len(text))
				text = text[:at] + string([]byte{byte(random.IntN(256))}) + text[at+1:]
			}
			got, decided := op.dfa().Match(text)
			if want := op.re.MatchString(text); decided && got != want {
				t.Errorf("%s on %q: %v, regexp says %v", pattern, text, got, want)
			} else if want {
				yes++
			}
			total++
		}
	}
	t.Logf("%d texts, %d of them match", total, yes)
	if yes*4 < total {
		t.Errorf("only %d of %d texts match", yes, total)
	}
}

var rxArgument = regexp.MustCompile(`"!?@rx ((?:[^"\\]|\\.)*)"`)

// rulePatterns are the arguments of @rx in all rules.
func rulePatterns(t *testing.T) (out []string) {
	t.Helper()
	files, err := fs.Glob(wafrules.Embedded().FS(), "@owasp_crs/*.conf")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		text, err := fs.ReadFile(wafrules.Embedded().FS(), name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range rxArgument.FindAllStringSubmatch(string(text), -1) {
			if pattern := strings.ReplaceAll(m[1], `\"`, `"`); !slices.Contains(out, pattern) {
				out = append(out, pattern)
			}
		}
	}
	if len(out) < 200 {
		t.Fatalf("only %d patterns", len(out))
	}
	return out
}

// matching makes a text that a pattern matches, but for its assertions.
func matching(random *rand.Rand, re *syntax.Regexp, out []byte, depth int) []byte {
	repeat := func(least, most int) {
		if most < 0 {
			most = least + 3
		}
		for range least + random.IntN(most-least+1) {
			out = matching(random, re.Sub[0], out, depth+1)
		}
	}
	switch re.Op {
	case syntax.OpLiteral:
		for _, r := range re.Rune {
			if re.Flags&syntax.FoldCase != 0 && random.IntN(2) == 0 {
				r = []rune(strings.ToUpper(string(r)))[0]
			}
			out = utf8.AppendRune(out, r)
		}
	case syntax.OpCharClass:
		if len(re.Rune) > 0 {
			k := 2 * random.IntN(len(re.Rune)/2)
			out = utf8.AppendRune(out, re.Rune[k]+rune(random.IntN(min(int(re.Rune[k+1]-re.Rune[k])+1, 100))))
		}
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		out = append(out, " aZ0'\"<;\xff"[random.IntN(9)])
	case syntax.OpCapture:
		out = matching(random, re.Sub[0], out, depth+1)
	case syntax.OpStar:
		repeat(0, -1)
	case syntax.OpPlus:
		repeat(1, -1)
	case syntax.OpQuest:
		repeat(0, 1)
	case syntax.OpRepeat:
		repeat(re.Min, min(re.Max, re.Min+3))
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			out = matching(random, sub, out, depth+1)
		}
	case syntax.OpAlternate:
		out = matching(random, re.Sub[random.IntN(len(re.Sub))], out, depth+1)
	}
	return out
}
