package waf

import (
	"io/fs"
	"math/rand/v2"
	"net/url"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	wafrules "gatehouse/waf-rules"
	"gatehouse/waf-rules/crstest"
)

// material is what exchanges are made of. It is shared and never changed.
type material struct {
	corpus  []crstest.Request // the CRS's own tests
	answers []crstest.Answer  // that they ask their backend for
	values  []string          // of the corpus's queries, forms and fields
	words   []string          // of the rules' lists
	leaks   []string          // of those lists that are for answers
	request []*syntax.Regexp  // the rules' patterns
	respond []*syntax.Regexp  // those of the rules for answers
	chains  map[int]bool      // the rules that are the first of a chain
}

// made is what newMaterial has made, which takes a second.
var made struct {
	sync.Mutex
	material *material
}

func sharedMaterial(t testing.TB) *material {
	t.Helper()
	made.Lock()
	defer made.Unlock()
	if made.material == nil {
		made.material = newMaterial(t)
	}
	return made.material
}

func newMaterial(t testing.TB) *material {
	t.Helper()
	suite, err := crstest.Load()
	if err != nil {
		t.Fatal(err)
	}
	m := &material{}
	for _, test := range suite {
		for _, stage := range test.Stages {
			if r, err := crstest.Parse(stage.Request); err == nil {
				m.learn(r)
			}
		}
	}
	m.request = parsedPatterns(t, "@owasp_crs/REQUEST-*.conf")
	m.respond = parsedPatterns(t, "@owasp_crs/RESPONSE-*.conf")
	m.chains = chainedRules(t)
	m.words = ruleWords(t, "@owasp_crs/*.data")
	for _, list := range []string{"*errors", "web-shells*", "php-variables"} {
		m.leaks = append(m.leaks, ruleWords(t, "@owasp_crs/"+list+".data")...)
	}
	if len(m.corpus) < 4000 || len(m.answers) < 50 || len(m.values) < 4000 || len(m.words) < 2000 || len(m.leaks) < 500 {
		t.Fatalf("%d requests, %d answers, %d values, %d words, %d leaks", len(m.corpus), len(m.answers), len(m.values), len(m.words), len(m.leaks))
	}
	return m
}

// learn takes over a request of the CRS's tests, the answer that it asks for, and its values.
func (m *material) learn(r crstest.Request) {
	m.corpus = append(m.corpus, r)
	path, query, _ := strings.Cut(r.Target, "?")
	if answer := crstest.Reflect(r.Method, path, r.Body); len(answer.Body) > 0 || answer.Status != 200 {
		m.answers = append(m.answers, answer)
	}
	for part := range strings.SplitSeq(query+"&"+string(r.Body), "&") {
		if _, value, ok := strings.Cut(part, "="); ok && len(value) < 500 {
			if plain, err := url.QueryUnescape(value); err == nil {
				value = plain
			}
			m.values = append(m.values, value)
		}
	}
	for _, f := range r.Fields {
		if usual := []string{"Host", "User-Agent", "Accept", "Content-Length", "Connection"}; len(f[1]) < 500 && !slices.Contains(usual, f[0]) {
			m.values = append(m.values, f[1])
		}
	}
}

func parsedPatterns(t testing.TB, which string) (out []*syntax.Regexp) {
	t.Helper()
	for _, pattern := range rulePatterns(t, which) {
		if parsed, err := syntax.Parse("(?sm)"+pattern, syntax.Perl); err == nil {
			out = append(out, parsed)
		}
	}
	return out
}

var (
	lineGoesOn = regexp.MustCompile(`\\\n\s*`)
	ruleID     = regexp.MustCompile(`[",]id:(\d+)`)
	isChain    = regexp.MustCompile(`[",]chain[",]`)
)

func chainedRules(t testing.TB) map[int]bool {
	t.Helper()
	chains := map[int]bool{}
	for line := range strings.Lines(lineGoesOn.ReplaceAllString(ruleFiles(t, "@owasp_crs/*.conf"), "")) {
		if id := ruleID.FindStringSubmatch(line); id != nil && isChain.MatchString(line) {
			n, _ := strconv.Atoi(id[1])
			chains[n] = true
		}
	}
	if !chains[920450] || chains[942100] || len(chains) < 20 {
		t.Fatalf("chains: %v", chains)
	}
	return chains
}

// ruleWords are the lines of lists.
func ruleWords(t testing.TB, which string) (out []string) {
	t.Helper()
	for line := range strings.Lines(ruleFiles(t, which)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			out = append(out, line)
		}
	}
	return out
}

// ruleFiles is that of some files of the rule set, one after the other.
func ruleFiles(t testing.TB, which string) string {
	t.Helper()
	files, err := fs.Glob(wafrules.Embedded().FS(), which)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, name := range files {
		text, err := fs.ReadFile(wafrules.Embedded().FS(), name)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(text)
		out.WriteByte('\n')
	}
	return out.String()
}

func pick[T any](random *rand.Rand, of ...T) T { return of[random.IntN(len(of))] }

// value is a text that some rule may match: of the corpus, of a list, or made from a pattern; changed a little.
func (g *generator) value() string {
	v := pick(g.random, g.values...)
	switch g.random.IntN(12) {
	case 0:
		return v + " " + pick(g.random, g.values...)
	case 1:
		return strings.ToUpper(v)
	case 2:
		return url.QueryEscape(v)
	case 3:
		return strings.ReplaceAll(v, " ", "/**/")
	case 4:
		return g.spoilt(v)
	case 5:
		return pick(g.random, "", "; ", "x ", "a=", "|", "$(", "`") + pick(g.random, g.words...) + pick(g.random, "", " x", "(1)", " -la /etc")
	case 6, 7, 8:
		return string(matching(g.random, pick(g.random, g.request...), nil, 0))
	case 9:
		return g.escaped(v)
	case 10:
		return pick(g.random, oddValues...)
	}
	return v
}

// oddValues are no text, or none that a list or a pattern would make.
var oddValues = []string{
	"", "\x00", "a\x00b", "\xac\xed\x00\x05sr\x00\x13java.util", "rO0ABXNyABFqYXZh", "\xc0\xaf\xc0\xae", "\xed\xa0\x80", "\xff\xfe", "%u0000%u2215", "％３ｃ",
	"ａ＜script＞", "\u2028\u00a0\ufeff", "İstanbul ſ K ß", "1' OR '1'='1", "<script>alert(1)</script>", strings.Repeat("a", 300), strings.Repeat("%41", 50), "a\r\nSet-Cookie: x=1",
	"=?utf-8?q?x?=", `\x41\101\u0041`, "&lt;&#x3c;&#60", "/*!50000x*/--", "2.2250738585072011e-308",
}

// spoilt changes a byte, leaves one out or puts one in.
func (g *generator) spoilt(v string) string {
	if v == "" {
		return "\x00"
	}
	at := g.random.IntN(len(v))
	b := string([]byte{pick(g.random, byte(g.random.IntN(256)), 0, 0xff, 0xc0, '\n', '%', '\\', '\'')})
	return v[:at] + pick(g.random, b, "", b+v[at:at+1]) + v[at+1:]
}

// escaped writes some bytes as one decoder or another reads them.
func (g *generator) escaped(v string) string {
	var out strings.Builder
	kind := g.random.IntN(6)
	for _, c := range []byte(v[:min(len(v), 200)]) {
		if g.random.IntN(3) > 0 {
			out.WriteByte(c)
			continue
		}
		out.WriteString(escape(kind, c))
	}
	return out.String()
}

func escape(kind int, c byte) string {
	const digits = "0123456789abcdef"
	hex := string([]byte{digits[c>>4], digits[c&15]})
	return []string{"%" + hex, "%25" + hex, "%u00" + hex, `\x` + hex, "&#x" + hex + ";", `\u00` + hex}[kind]
}
