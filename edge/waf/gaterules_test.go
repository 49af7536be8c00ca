package waf

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// twoEngines compiles rules of a test's own twice: behind a gate that is verified on each request, and without one. Not ok: they
// do not compile.
func twoEngines(rules []string) (gated, plain *Engine, ok bool) {
	text := "Include base.conf\n" + strings.Join(rules, "\n") + "\n"
	gated, err := newEngine(Options{Shadow: 1}, text)
	if err != nil {
		return nil, nil, false
	}
	if plain, err = newEngine(Options{Gate: GateOff}, text); err != nil {
		panic(err) // it has just compiled
	}
	return gated, plain, true
}

// bothEngines are those of rules that must compile, one a line, until the test ends.
func bothEngines(t *testing.T, rules string) (gated, plain *Engine) {
	t.Helper()
	gated, plain, ok := twoEngines(strings.Split(rules, "\n"))
	if !ok {
		t.Fatal("the rules do not compile")
	}
	t.Cleanup(func() {
		gated.Close()
		plain.Close()
	})
	return gated, plain
}

// missedBy is the rule that an engine's gate has missed so far; 0: none.
func missedBy(e *Engine) int {
	if p := e.current.Load().screening.made.Load(); p != nil {
		if at := p.broken.Load(); at != nil {
			return *at
		}
	}
	return 0
}

// A ruleCase is a request and what a tenant wants of it.
type ruleCase struct {
	sample
	tuning *ruleTuning
}

// ruleTuning makes a profile for each engine.
type ruleTuning struct {
	mode       Mode
	paranoia   int
	answers    bool
	inbound    int
	outbound   int
	exclusions []Exclusion
}

func (t *ruleTuning) profile() *Profile {
	return &Profile{
		Mode: t.mode, Paranoia: t.paranoia, InboundThreshold: t.inbound, OutboundThreshold: t.outbound, Responses: t.answers,
		Exclusions: NewExclusions(t.exclusions),
	}
}

// outcomeOf is what an engine says of a request, without what depends on the order of a map.
func outcomeOf(e *Engine, p *Profile, s sample) string {
	got := inspect(e, p, s)
	status, rule := 0, 0
	if got.verdict != nil {
		status, rule = got.verdict.Status, got.verdict.RuleID
	}
	return fmt.Sprintf("%d by %d, would %t, rules %v, error %t", status, rule, got.would, got.ids(), got.err != nil)
}

// compareRules returns how the two engines differ about a request; empty: they do not. The last of several values that a rule
// has matched is any of them, so that a rule which looks at what others left may match or not: what one engine has
// said once the other must have said, too.
func compareRules(gated, plain *Engine, p [2]*Profile, s sample) string {
	a, b := outcomeOf(gated, p[0], s), outcomeOf(plain, p[1], s)
	if id := missedBy(gated); id != 0 {
		return fmt.Sprintf("the gate has missed rule %d", id)
	}
	said := [2]map[string]bool{{a: true}, {b: true}}
	for range 25 {
		if said[1][a] || said[0][b] {
			return ""
		}
		a, b = outcomeOf(gated, p[0], s), outcomeOf(plain, p[1], s)
		said[0][a], said[1][b] = true, true
	}
	return fmt.Sprintf("at the gate %s, without %s", a, b)
}

// differ compiles rules and compares one request.
func differ(rules []string, c ruleCase) string {
	gated, plain, ok := twoEngines(rules)
	if !ok {
		return ""
	}
	defer gated.Close()
	defer plain.Close()
	return compareRules(gated, plain, [2]*Profile{c.tuning.profile(), c.tuning.profile()}, c.sample)
}

// smallest takes rules away as long as the two still differ.
func smallest(rules []string, c ruleCase) ([]string, string) {
	why := differ(rules, c)
	for again := why != ""; again; {
		again = false
		for i := range rules {
			fewer := append(append([]string{}, rules[:i]...), rules[i+1:]...)
			if other := differ(fewer, c); other != "" {
				rules, why, again = fewer, other, true
				break
			}
		}
	}
	return rules, why
}

// Whatever rules say, a request is judged at the gate as without it, and no rule matches that the gate has said could not.
//
// A failure names the number of its rules, which are made of nothing but that number: with GATEHOUSE_GATERULES_FIRST=number and
// GATEHOUSE_GATERULES=1 they are compared alone.
func TestTheGateUnderstandsAnyRules(t *testing.T) {
	sets, requests := identitySetting(t, "GATEHOUSE_GATERULES", 300), 20
	if raceDetector {
		sets = identitySetting(t, "GATEHOUSE_GATERULES", 30)
	}
	first := identitySetting(t, "GATEHOUSE_GATERULES_FIRST", 1)
	unread, unused, clean, some, failed := 0, 0, 0, 0, 0
	for n := first; n < first+sets; n++ {
		w := newRuleWriter(uint64(n))
		rules := w.rules()
		gated, plain, ok := twoEngines(rules)
		if !ok {
			unread++
			continue
		}
		if gated.current.Load().screening.made.Load() == nil {
			unused++
		}
		tuning := w.tuning()
		p := [2]*Profile{tuning.profile(), tuning.profile()}
		for range requests {
			c := ruleCase{w.request(), tuning}
			if why := compareRules(gated, plain, p, c.sample); why != "" {
				failed++
				fewer, still := smallest(rules, c)
				if still == "" {
					fewer, still = rules, why+" (not again)"
				}
				t.Errorf("rules %d: %s\n%s\nrequest %+v\ntuning %+v", n, still, strings.Join(fewer, "\n"), c.sample, *tuning)
				break
			}
		}
		clean += counterOf(t, gated.metrics.asked[0])
		some += counterOf(t, gated.metrics.asked[1])
		gated.Close()
		plain.Close()
		if failed >= identitySetting(t, "GATEHOUSE_GATERULES_FAILURES", 5) {
			break
		}
	}
	t.Logf("%d rule sets, of which %d do not compile and %d have no gate; of the answers of gates %d were none, %d some", sets, unread, unused, clean, some)
	if sets >= 30 && failed == 0 && (unread*5 > sets || unused*2 > sets || clean < sets || some < sets) {
		t.Error("that proves little")
	}
}

func counterOf(t *testing.T, c prometheus.Counter) int {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return int(m.GetCounter().GetValue())
}

// A ruleWriter writes rules and requests that may have to do with one another.
type ruleWriter struct {
	*rand.Rand
	id     int
	marker int
	sets   bool // much about variables that rules set
	flows  bool // much about what ends, skips and takes away
}

func newRuleWriter(n uint64) *ruleWriter {
	return &ruleWriter{Rand: rand.New(rand.NewPCG(n, 1)), id: 9}
}

func (w *ruleWriter) of(list ...string) string { return list[w.IntN(len(list))] }

func (w *ruleWriter) odds(n int) bool { return w.IntN(n) == 0 }

// rules returns some rules, each with its chain.
func (w *ruleWriter) rules() (out []string) {
	if w.odds(6) {
		out = append(out, fmt.Sprintf(`SecDefaultAction "phase:%d,log,%s"`, 1+w.IntN(4), w.of("deny", "pass", "deny,status:409", "drop")))
	}
	for range 2 + w.IntN(9) {
		switch w.IntN(24) {
		case 0:
			w.id++
			out = append(out, fmt.Sprintf(`SecAction "id:%d,phase:%d,%s"`, w.id, 1+w.IntN(4), strings.Join(w.actions(true), ",")))
		case 1:
			out = append(out, w.section()...)
		case 2:
			out = append(out, fmt.Sprintf("SecMarker M%d", w.IntN(3)))
		case 3:
			if w.odds(10) {
				out = append(out, fmt.Sprintf(`SecRuleUpdateTargetById 200002 "%s"`, w.of("ARGS:a", "!REQBODY_ERROR")))
			} else if w.id > 9 {
				out = append(out, fmt.Sprintf(`SecRuleUpdateTargetById %d "%s"`, 10+w.IntN(w.id-9), w.of("!ARGS:a", "!REQUEST_HEADERS:x-a", "!ARGS", "!TX:v1", "ARGS_GET:b", "!REQUEST_COOKIES:/^a/")))
			}
		default:
			out = append(out, w.rule())
		}
	}
	return out
}

// section is rules of a higher paranoia level, as the core rules have them.
func (w *ruleWriter) section() (out []string) {
	level, marker := 1+w.IntN(4), fmt.Sprintf("END-%d", w.marker)
	w.marker++
	for phase := 1; phase <= 4; phase++ {
		if w.odds(5) {
			continue
		}
		w.id++
		out = append(out, fmt.Sprintf(`SecRule TX:DETECTION_PARANOIA_LEVEL "@lt %d" "id:%d,phase:%d,pass,nolog,skipAfter:%s"`, level, w.id, phase, marker))
	}
	for range 1 + w.IntN(3) {
		out = append(out, w.rule())
	}
	if w.odds(8) {
		return out
	}
	return append(out, "SecMarker "+marker)
}

func (w *ruleWriter) rule() string {
	w.id++
	phase := []int{1, 2, 2, 2, 2, 3, 4}[w.IntN(7)]
	links := []int{1, 1, 1, 2, 2, 3}[w.IntN(6)]
	actions := append([]string{fmt.Sprintf("id:%d", w.id), fmt.Sprintf("phase:%d", phase)}, w.actions(true)...)
	var lines []string
	for k := range links {
		if k > 0 {
			actions = w.actions(false)
		}
		if k < links-1 {
			actions = append(actions, "chain")
		}
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("SecRule %s \"%s\" %s", w.targets(phase, k), w.operator(), quoted(actions))))
	}
	return strings.Join(lines, "\n")
}

func quoted(actions []string) string {
	if len(actions) == 0 {
		return ""
	}
	return `"` + strings.Join(actions, ",") + `"`
}

// many are variables of requests that are lists.
var manyVariables = []string{"ARGS", "ARGS", "ARGS_GET", "ARGS_POST", "REQUEST_HEADERS", "REQUEST_COOKIES", "FILES", "MULTIPART_PART_HEADERS"}

var nameVariables = []string{"ARGS_NAMES", "ARGS_GET_NAMES", "ARGS_POST_NAMES", "REQUEST_HEADERS_NAMES", "REQUEST_COOKIES_NAMES", "FILES_NAMES"}

var singleVariables = []string{
	"REQUEST_URI", "REQUEST_URI_RAW", "REQUEST_LINE", "REQUEST_METHOD", "REQUEST_PROTOCOL", "REQUEST_FILENAME", "REQUEST_BASENAME", "QUERY_STRING",
	"REQUEST_BODY", "REQUEST_BODY_LENGTH", "REMOTE_ADDR", "REMOTE_PORT", "REMOTE_HOST", "SERVER_NAME", "SERVER_ADDR", "SERVER_PORT", "ARGS_COMBINED_SIZE",
	"FILES_COMBINED_SIZE", "FULL_REQUEST_LENGTH", "REQBODY_PROCESSOR", "REQBODY_ERROR", "XML:/*", "XML://@*", "MULTIPART_NAME", "MULTIPART_FILENAME",
	"FILES_SIZES", "MULTIPART_STRICT_ERROR", "URLENCODED_ERROR", "INBOUND_DATA_ERROR", "ARGS_PATH", "AUTH_TYPE", "FULL_REQUEST",
}

var answerVariables = []string{
	"RESPONSE_BODY", "RESPONSE_HEADERS", "RESPONSE_HEADERS:X-R", "RESPONSE_HEADERS:/^x/", "RESPONSE_HEADERS_NAMES", "RESPONSE_STATUS", "RESPONSE_CONTENT_TYPE",
	"RESPONSE_CONTENT_LENGTH", "RESPONSE_PROTOCOL", "RESPONSE_ARGS", "&RESPONSE_HEADERS",
}

var matchedVariables = []string{
	"MATCHED_VAR", "MATCHED_VAR", "MATCHED_VARS", "MATCHED_VARS:a", "MATCHED_VAR_NAME", "MATCHED_VARS_NAMES", "TX:0", "TX:1", "TX:1", "&MATCHED_VARS", "&TX:1",
}

var setVariables = []string{
	"TX:v1", "TX:v1", "TX:v2", "TX:V3", "&TX:v1", "TX:/^v/", "TX:/v\\d|q/", "&TX:/^v/", "TX:v_ARGS:a", "TX:/^v_/", "TX:/^v_args_names:/", "TX", "TX|!TX:v1", "TX:v4|TX:v1", "TX:nobody",
	"TX:DETECTION_PARANOIA_LEVEL", "TX:allowed", "TX:inbound_anomaly_score_threshold", "TX:outbound_anomaly_score_threshold",
}

// targets returns what a link of a chain looks at.
func (w *ruleWriter) targets(phase, link int) string {
	var out []string
	for range []int{1, 1, 1, 2, 3}[w.IntN(5)] {
		switch kind := w.IntN(20); {
		case w.sets && w.odds(3):
			out = append(out, w.of(setVariables...))
		case link > 0 && kind < 9:
			out = append(out, w.of(matchedVariables...))
		case phase > 2 && kind < 14:
			out = append(out, w.of(answerVariables...))
		case kind < 3:
			out = append(out, w.of(setVariables...))
		case kind < 14:
			out = append(out, w.list())
		case kind < 16:
			out = append(out, w.of(nameVariables...)+w.of("", "", ":a", "|!ARGS_NAMES:b"))
		default:
			out = append(out, w.of(singleVariables...))
		}
	}
	return strings.Join(out, "|")
}

func (w *ruleWriter) list() string {
	v := w.of(manyVariables...)
	key := w.key(v)
	switch w.IntN(12) {
	case 0, 1, 2:
		return v + ":" + key
	case 3:
		return v + ":/" + w.of("^a", "b$", ".", "^(?:a|x-a)$", "A") + "/"
	case 4:
		return v + "|!" + v + ":" + key
	case 5:
		return v + "|!" + v + ":/" + w.of("^a", "b$", "x") + "/"
	case 6:
		return "&" + v
	case 7:
		return "&" + v + ":" + key
	case 8:
		return "&" + v + "|!" + v + ":" + key
	}
	return v
}

func (w *ruleWriter) key(v string) string {
	if v == "REQUEST_HEADERS" {
		return w.of("X-A", "x-b", "User-Agent", "Cookie", "Content-Type")
	}
	return w.of("a", "b", "A", "ab", "json.a", "c")
}

// operator returns one with its argument.
func (w *ruleWriter) operator() string {
	word := w.of(ruleTexts...)
	if w.odds(8) {
		word = w.of("%{tx.v1}", "%{tx.1}", "%{matched_var}", "%{request_method}", "x%{tx.v2}", "%{tx.nobody}", "%{args.a}", "%{request_headers.x-a}", "%{tx.allowed}")
	}
	number := fmt.Sprint(w.IntN(4))
	if w.odds(8) {
		number = w.of("%{tx.v1}", "%{tx.v2}", "%{tx.nobody}")
	}
	out := ""
	switch w.IntN(20) {
	case 0, 1, 2, 3, 4:
		out = "@rx " + w.of("a", "^a", "b$", "(a)(b)?", "^(.)(.*)$", "(?i)evil", "[0-9]+", "a|x", `(\w+)=(\w+)`, "^$", ".", `\bab\b`, `\xff`, "^[^:]*:(.*)$", word, "(a|b)+(x)?", "[^a-z]")
	case 5, 6:
		out = "@contains " + word
	case 7:
		out = "@streq " + word
	case 8:
		out = "@beginsWith " + word
	case 9:
		out = "@endsWith " + word
	case 10:
		out = "@within " + w.of("a b ab GET POST x", "1 2 200", word)
	case 11:
		out = "@pm " + w.of("a x", "evil ab", "1 2 500", "zz")
	case 12, 13, 14:
		out = "@" + w.of("eq", "ge", "gt", "lt", "le") + " " + number
	case 15:
		out = w.of("@detectSQLi", "@detectXSS", "@strmatch "+word)
	case 16:
		out = w.of("@validateByteRange 32-126", "@validateByteRange 97-122,49", "@validateUrlEncoding", "@validateUtf8Encoding")
	case 17:
		out = w.of("@ipMatch 192.0.2.0/24", "@ipMatch 10.0.0.1,::1", "@noMatch", "@unconditionalMatch")
	default:
		out = "@rx " + w.of("ev.l", "a", "x", "script", "union", "1")
	}
	if w.odds(6) {
		return "!" + out
	}
	return out
}

var ruleTexts = strings.Fields("a b ab ba x 1 2 0 evil EVIL abc select text/html GET POST 200 500 args:a ev i / A")

var ruleTransformations = strings.Fields(`base64Decode base64DecodeExt base64Encode cmdLine compressWhitespace cssDecode escapeSeqDecode hexDecode hexEncode
	htmlEntityDecode jsDecode length lowercase md5 none normalisePath normalisePathWin normalizePath normalizePathWin removeComments removeCommentsChar removeNulls
	removeWhitespace replaceComments replaceNulls sha1 uppercase urlDecode urlDecodeUni urlEncode utf8toUnicode trim trimLeft trimRight lowercase urlDecodeUni`)

// actions returns those of a link; head is the first of its chain.
func (w *ruleWriter) actions(head bool) (out []string) {
	if !w.odds(3) {
		for range 1 + w.IntN(3) {
			out = append(out, "t:"+w.of(ruleTransformations...))
		}
		if w.odds(5) {
			out = append(out, "multiMatch")
		}
	}
	if w.odds(3) {
		out = append(out, "capture")
	}
	for w.odds(3) || w.sets && w.odds(2) {
		out = append(out, w.set())
	}
	if w.odds(20) || w.flows && w.odds(4) {
		out = append(out, w.lessen())
	}
	if !head {
		if w.odds(30) {
			out = append(out, fmt.Sprintf("msg:'m%d'", w.IntN(3)))
		}
		return out
	}
	out = append(out, w.of("pass", "pass", "pass", "pass", "block", "deny", "deny,status:418", "drop", "redirect:/x"))
	if w.odds(40) {
		out[len(out)-1] = w.of("allow", "allow:phase", "allow:request")
	}
	if !w.odds(3) {
		out = append(out, fmt.Sprintf("msg:'m%d'", w.IntN(3)), "severity:"+w.of("2", "3", "CRITICAL"))
	} else if w.odds(2) {
		out = append(out, "nolog")
	}
	if w.odds(2) {
		out = append(out, fmt.Sprintf("tag:'t%d'", w.IntN(3)))
	}
	odds := 25
	if w.flows {
		odds = 6
	}
	switch w.IntN(odds) {
	case 0:
		out = append(out, fmt.Sprintf("skip:%d", 1+w.IntN(3)))
	case 1:
		out = append(out, fmt.Sprintf("skipAfter:M%d", w.IntN(3)))
	}
	return out
}

func (w *ruleWriter) set() string {
	name := w.of("v1", "v1", "v2", "v3", "v_%{matched_var_name}", "v_%{matched_var}", "V4", "v%{tx.v1}", "q")
	value := w.of("=1", "=1", "=+1", "=+1", "=-1", "=%{matched_var}", "=%{tx.0}", "=%{tx.1}", "=%{tx.v2}", "=x%{matched_var}", "=%{request_method}", "=0", "=+%{tx.v2}", "=%{matched_var_name}", "=evil")
	switch {
	case w.odds(60):
		name = w.of("detection_paranoia_level", "inbound_anomaly_score_threshold")
	case w.odds(100):
		value = "=%{highest_severity}"
	}
	if w.odds(15) {
		return "setvar:'!tx." + name + "=0'" // without a value the engine panics (v3.8.1)
	}
	return "setvar:'tx." + name + value + "'"
}

func (w *ruleWriter) lessen() string {
	id := 10 + w.IntN(8)
	return w.of(
		fmt.Sprintf("ctl:ruleRemoveById=%d", id), fmt.Sprintf("ctl:ruleRemoveById=%d-%d", id, id+3), fmt.Sprintf("ctl:ruleRemoveByTag=t%d", w.IntN(3)),
		fmt.Sprintf("ctl:ruleRemoveByMsg=m%d", w.IntN(3)), fmt.Sprintf("ctl:ruleRemoveTargetById=%d;ARGS:a", id), fmt.Sprintf("ctl:ruleRemoveTargetById=%d;ARGS", id),
		fmt.Sprintf("ctl:ruleRemoveTargetById=%d;%s", id, w.of("ARGS:b", "ARGS_GET", "TX:v1", "REQUEST_URI", "REQUEST_HEADERS")), "ctl:"+w.of("", " ")+"requestBodyProcessor="+w.of("JSON", "URLENCODED"),
		fmt.Sprintf("ctl:ruleRemoveTargetByTag=t%d;ARGS:/^a/", w.IntN(3)), fmt.Sprintf("ctl:ruleRemoveTargetByMsg=m%d;REQUEST_HEADERS:x-a", w.IntN(3)),
	)
}

func (w *ruleWriter) tuning() *ruleTuning {
	t := &ruleTuning{mode: Block, paranoia: 1 + w.IntN(4), answers: !w.odds(3), inbound: []int{0, 0, 3, 7}[w.IntN(4)], outbound: []int{0, 0, 3, 7}[w.IntN(4)]}
	if w.odds(3) {
		t.mode = Detect
	}
	for w.odds(3) {
		x := Exclusion{Rules: [][2]int32{{int32(10 + w.IntN(10)), 0}}}
		x.Rules[0][1] = x.Rules[0][0] + int32(w.IntN(3))
		if !w.odds(3) {
			x.Target = w.of("ARGS:a", "ARGS", "ARGS:/^a/", "REQUEST_HEADERS:x-a", "ARGS_GET:b", "REQUEST_COOKIES", "TX:v1", "ARGS_NAMES:a", "REQUEST_URI", "MATCHED_VAR", "TX:/^v/")
		}
		if w.odds(3) {
			x.Paths = []string{"/a*"}
		}
		t.exclusions = append(t.exclusions, x)
	}
	return t
}

var requestValues = []string{
	"a", "b", "ab", "ba", "x", "1", "2", "0", "evil", "EVIL", "abc", "select", "", "a b", " a ", "a%62", "%2562", "&#97;b", "/*c*/a", "../a/./b", `\x61`, "YWI=", "6162", "a\x00b", "\xff",
	"' or 1=1 --", "<script>alert(1)</script>", "args:a", "a=b", "1' union select 2", "Ab", "3", "10", "x1", "xa", "é", `\u0061`, "%zz", "GET",
}

// request makes one, with an answer in most cases.
func (w *ruleWriter) request() sample {
	value := func() string { return w.of(requestValues...) }
	name := func() string { return w.of("a", "a", "b", "A", "ab", "c", "a[]", "evil", "") }
	pairs := func() string {
		var all []string
		for range w.IntN(4) {
			all = append(all, escapedPart(name())+"="+escapedPart(value()))
		}
		return strings.Join(all, "&")
	}
	s := sample{target: w.of("/", "/a", "/a/b", "/evil", "/x/ab?", "/a.php?x", "/%61?") + "?" + pairs()}
	for range w.IntN(3) {
		v := lineOf(value())
		s.header = append(s.header, [2]string{w.of("X-A", "x-b", "X-A", "Referer", "evil", "a"), v})
	}
	if w.odds(2) {
		s.header = append(s.header, [2]string{"Cookie", w.of("a=b", "a=evil; b=x", "ab=1; A=a", "evil")})
	}
	if w.odds(2) {
		s.method = w.of("POST", "PUT", "GET", "X")
		switch w.IntN(5) {
		case 0, 1:
			s.contentType, s.body = form, pairs()
		case 2:
			s.contentType, s.body = "application/json", fmt.Sprintf(`{"a":%q,"b":[%q,1]}`, w.of("a", "evil", "ab", "1"), w.of("x", "b", "2"))
		case 3:
			s.contentType = "multipart/form-data; boundary=b"
			s.body = multipartBody("b", part{name: w.of("a", "b", "evil"), content: lineOf(value())}, part{name: "f", filename: w.of("a", "evil", "x.php"), content: "ab"})
		case 4:
			s.contentType, s.body = "text/xml", "<a x=\""+w.of("a", "evil", "1")+"\">"+w.of("ab", "evil", "x")+"</a>"
		}
	}
	if !w.odds(3) {
		s.status, s.responseType = []int{200, 404, 500}[w.IntN(3)], w.of("text/html", "application/json", "image/png")
		s.responseHeader = [][2]string{{w.of("X-R", "x-b", "evil"), lineOf(value())}}
		s.responseBody = w.of(`{"a":"evil","b":1}`, "evil", "ab", "<script>x</script>", "")
	}
	return s
}

func escapedPart(s string) string {
	var out strings.Builder
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte("&=+#?%", c) >= 0 {
			fmt.Fprintf(&out, "%%%02X", c)
		} else {
			out.WriteByte(c)
		}
	}
	return out.String()
}
