package edge

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// hostileSize is how much text is sent that the dearest patterns take longest for: a quarter of what is inspected by
// default, since the race detector and a busy machine make seconds of it.
var hostileSize = map[bool]int{false: 32 << 10, true: 4 << 10}[raceEnabled]

// manyValues is how many values are sent where all of them are inspected: as many as there may be.
var manyValues = map[bool]int{false: 1000, true: 100}[raceEnabled]

// What one bomb may take at most, generously: the point is that a bound is there. Most take a hundredth.
const (
	bombHeap  = 512 << 20 // bytes in use at a time
	bombAlloc = 2 << 30   // bytes in all
)

// A bomb is a request that was made to be dear.
type bomb struct {
	name     string
	request  string
	statuses []int
}

// explode sends the bomb to a tenant that blocks, asks for another tenant's page again and again until it is answered, and
// holds what it took against the bounds. TestAnotherTenantIsServedWhileABombIsInspected says what is answered when.
func (n *node) explode(t *testing.T, b bomb) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	peak, served := uint64(0), 0
	done := make(chan *edgetest.RawAnswer, 1)
	begun := time.Now()
	go func() {
		defer close(done) // also when Do gives up
		done <- edgetest.Dial(t, n.http).Do("POST", b.request)
	}()
	var got *edgetest.RawAnswer
	other := edgetest.Dial(t, n.http)
	for answered := false; !answered; {
		if got := other.Do("GET", head("GET", "none.test", "/bytes?n=1", "User-Agent: test", "Accept: */*")+"\r\n"); got.Status != 200 {
			t.Errorf("another tenant: status %d", got.Status)
		}
		served++
		var now runtime.MemStats
		runtime.ReadMemStats(&now)
		peak = max(peak, now.HeapInuse)
		select {
		case got = <-done:
			answered = true
		default:
		}
	}
	took := time.Since(begun)
	if got == nil {
		t.Fatal("no answer")
	}
	runtime.ReadMemStats(&after)
	grown := int64(peak) - int64(before.HeapInuse)
	allocated := after.TotalAlloc - before.TotalAlloc
	t.Logf("%d bytes: status %d in %v, heap grew by %d MB, %d MB allocated in all, %d requests of another tenant answered",
		len(b.request), got.Status, took.Round(time.Millisecond), grown>>20, allocated>>20, served)
	if !slices.Contains(b.statuses, got.Status) {
		t.Errorf("status %d, want %v: %s", got.Status, b.statuses, n.log)
	}
	if grown > bombHeap || allocated > bombAlloc {
		t.Errorf("the heap grew by %d, %d allocated", grown, allocated)
	}
}

func explodeAll(t *testing.T, bombs []bomb) {
	b := edgetest.NewBackend(t)
	n := start(t, threeTenants(b.URL)+"  types.test: {tenant: types, backends: ["+b.URL+"], waf: {mode: block, "+allTypes+", exclusions: [{rules: [920450, 920270, 921150]}]}}\n",
		func(o *Options) { o.Limits.KeepAliveRequests = -1 })
	for _, bomb := range bombs {
		t.Run(bomb.name, func(t *testing.T) { n.explode(t, bomb) })
	}
}

// posting is a request with a body to a tenant that blocks.
func posting(contentType, body string, fields ...string) string {
	fields = append(fields, fmt.Sprintf("Content-Length: %d", len(body)), "Content-Type: "+contentType, "User-Agent: test", "Accept: */*")
	return head("POST", "block.test", "/sink", fields...) + "\r\n" + body
}

func arguments(n int) string { return strings.Repeat("a=1&", n-1) + "a=1" }

func TestBombsOfJSON(t *testing.T) {
	const kind = "application/json"
	explodeAll(t, []bomb{
		{"nested 60 deep", posting(kind, strings.Repeat("[", 60)+strings.Repeat("]", 60)), []int{200}},
		{"nested 1,000 objects deep", posting(kind, strings.Repeat(`{"a":`, 1000)+"1"+strings.Repeat("}", 1000)), []int{200}},
		{"nested 1,000 deep, whose paths are a megabyte", posting(kind, strings.Repeat("[", 1000)+strings.Repeat("]", 1000)), []int{400}},
		{"nested 2,000 deep", posting(kind, strings.Repeat("[", 2000)+strings.Repeat("]", 2000)), []int{400}},
		{"nested 2,000 objects deep", posting(kind, strings.Repeat(`{"a":`, 2000)+"1"+strings.Repeat("}", 2000)), []int{400}},
		{"nested for a megabyte", posting(kind, strings.Repeat("[", 1<<20)), []int{400}},
		{"nested around a long text", posting(kind, strings.Repeat("[", 1000)+`"`+strings.Repeat("x", hostileSize)+`"`+strings.Repeat("]", 1000)), []int{200, 400}},
		{"1,000 values", posting(kind, `{"a":[`+strings.Repeat("1,", manyValues-1)+"1]}"), []int{200}},
		{"1,001 values", posting(kind, "["+strings.Repeat("1,", 1000)+"1]"), []int{400}},
		{"100,000 keys", posting(kind, "{"+strings.Repeat(`"a":1,`, 100_000)+`"a":1}`), []int{400}},
		{"long keys, many times", posting(kind, `{"`+strings.Repeat("k", 1000)+`":[`+strings.Repeat("[1],", 900)+"1]}"), []int{400}},
	})
}

func TestBombsOfArguments(t *testing.T) {
	get := func(target string, fields ...string) string {
		return head("GET", "block.test", target, append(fields, "User-Agent: test", "Accept: */*")...) + "\r\n"
	}
	explodeAll(t, []bomb{
		{"1,000 in the query", get("/bytes?n=1&" + arguments(manyValues-1)), []int{200}},
		{"1,001 in the query", get("/bytes?n=1&" + arguments(1000)), []int{400}},
		{"10,000 in the query", get("/bytes?n=1&" + arguments(10_000)), []int{414}},
		{"1,000 in a form", posting(formType, arguments(manyValues)), []int{200}},
		{"1,001 in a form", posting(formType, arguments(1001)), []int{400}},
		{"10,000 in a form", posting(formType, arguments(10_000)), []int{400}},
		{"10,000 in text", strings.Replace(posting("text/plain", arguments(10_000)), "block.test", "types.test", 1), []int{400}},
		{"64 KB of cookies", get("/bytes?n=1", "Cookie: "+strings.Repeat("a=1; ", 13_000)), []int{431}},
		{"30 KB of cookies", get("/bytes?n=1", "Cookie: "+strings.Repeat("a=1; ", min(6000, hostileSize/5))), []int{200}},
		{"30 KB in one cookie", get("/bytes?n=1", "Cookie: a="+strings.Repeat("word", min(7500, hostileSize/4))), []int{200}},
		{"90 fields", get("/bytes?n=1", slices.Repeat([]string{"X-Field: " + strings.Repeat("word ", 60)}, 90)...), []int{200}},
	})
}

func TestBombsOfMultipart(t *testing.T) {
	part := func(more string) string {
		return "--bound\r\nContent-Disposition: form-data; name=a" + more + "\r\n\r\nx\r\n"
	}
	var nested strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&nested, "--bound\r\nContent-Disposition: form-data; name=a\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
	}
	explodeAll(t, []bomb{
		{"1,000 fields", posting(multipartType, strings.Repeat(part(""), manyValues)+"--bound--\r\n"), []int{200}},
		{"1,001 fields", posting(multipartType, strings.Repeat(part(""), 1001)+"--bound--\r\n"), []int{400}},
		{"10,000 fields", posting(multipartType, strings.Repeat(part(""), 10_000)+"--bound--\r\n"), []int{400}},
		{"10,000 files", posting(multipartType, strings.Repeat(part("; filename=a.txt"), 10_000)+"--bound--\r\n"), []int{400}},
		{"boundaries in boundaries", posting(multipartType, nested.String()), []int{400}},
		{"a part's header without end", posting(multipartType, "--bound\r\nContent-Disposition: form-data; name=a\r\n"+strings.Repeat("X-A: b\r\n", 1<<17)), []int{400}},
		{"a header line without end", posting(multipartType, "--bound\r\nContent-Disposition: form-data; name=a\r\nX-A: "+strings.Repeat("b", 1<<20)), []int{200}},
		{"a name without end", posting(multipartType, "--bound\r\nContent-Disposition: form-data; name=\""+strings.Repeat("b", hostileSize)), []int{200, 400}},
		{"boundaries that are none", posting(multipartType, "--bound\r\n"+strings.Repeat("\n--boun", hostileSize/7)), []int{200, 400, 403}},
	})
}

func TestBombsOfXML(t *testing.T) {
	const kind = "text/xml"
	var laughs strings.Builder
	laughs.WriteString(`<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol0 "lol">`)
	for i := 1; i < 10; i++ {
		fmt.Fprintf(&laughs, `<!ENTITY lol%d "%s">`, i, strings.Repeat(fmt.Sprintf("&lol%d;", i-1), 10))
	}
	laughs.WriteString(`]><lolz>&lol9;</lolz>`)
	explodeAll(t, []bomb{
		{"a billion laughs", posting(kind, laughs.String()), []int{200}}, // entities are not resolved
		{"an entity of megabytes", posting(kind, `<!DOCTYPE a [<!ENTITY e "`+strings.Repeat("x", 1<<20)+`">]><a>`+strings.Repeat("&e;", 1000)+"</a>"), []int{200}},
		{"nested", posting(kind, strings.Repeat("<b>", hostileSize/3)), []int{200}},
		{"wide", posting(kind, "<a>"+strings.Repeat("<b>x</b>", hostileSize/8)+"</a>"), []int{200}},
		{"attributes", posting(kind, "<a "+strings.Repeat(`b="x" `, hostileSize/6)+"/>"), []int{200}},
	})
}

// A coded body is not decoded here: the rules see its bytes. Hence the core rules refuse the field (920450), and who
// excludes that rule must know that an attack in one is found by accident only (920270: a null byte).
func TestBombsOfGzip(t *testing.T) {
	zip := func(text string) string {
		var out bytes.Buffer
		w := gzip.NewWriter(&out)
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	zeros := zip(strings.Repeat("\x00", 320*hostileSize))
	unseen := posting(formType, zip("a="+script), "Content-Encoding: gzip")
	explodeAll(t, []bomb{
		{"10 MB of nothing", posting(formType, zeros, "Content-Encoding: gzip"), []int{403}},
		{"10 MB of nothing as JSON", posting("application/json", zeros, "Content-Encoding: gzip"), []int{400}},
		{"another spelling", posting(formType, "a=1", "content-encoding: X-GZIP, identity"), []int{403}},
		{"an attack", unseen, []int{403}},
		{"an attack where that and what its bytes look like is off", strings.NewReplacer("block.test", "types.test", formType, "application/octet-stream").Replace(unseen), []int{200}},
	})
}

// Go's regular expressions take time in proportion to the text, so there is no exponential blow-up; what is left is
// the number of rules times the text.
func TestBombsOfText(t *testing.T) {
	fill := func(unit string) string { return strings.Repeat(unit, hostileSize/len(unit)) }
	any4xx := []int{200, 400, 403}
	explodeAll(t, []bomb{
		{"words", posting(formType, "a="+fill("the+quick+brown+fox+jumps+")), any4xx},
		{"one letter", posting(formType, "a="+fill("a")), any4xx},
		{"934100, node.js", posting(formType, "a="+fill("_$$ND_FUNC$$_(require(process.")), any4xx},
		{"932230, unix commands", posting(formType, "a="+fill("%3B+c\\a't+")), any4xx},
		{"942190, SQL", posting(formType, "a="+fill("union+sel'ect+/*x*/+having+1+or+")), any4xx},
		{"933150, PHP", posting(formType, "a="+fill("$_GET[$a{base64_(")), any4xx},
		{"941, HTML", posting(formType, "a="+fill("%3Ca+on=x+style=b:url(j+a+v+")), any4xx},
		{"percent signs", posting(formType, "a="+fill("%25")), any4xx},
		{"not text", strings.Replace(posting("application/octet-stream", fill("\x00\xff\x80a\xc3(")), "block.test", "types.test", 1), any4xx},
	})
}

// busyOf is how many turns an owner has.
func (t *turns) busyOf(owner string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if mine := t.tenants[owner]; mine != nil {
		return mine.busy
	}
	return 0
}

// While a bomb is under inspection, other tenants' requests are answered: those that need a turn, too.
func TestAnotherTenantIsServedWhileABombIsInspected(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, threeTenants(b.URL), func(o *Options) { o.Limits.KeepAliveRequests = -1 })
	hostile := func(i int) string { // another value each time: what was seen is not looked at again
		return posting(formType, fmt.Sprint("a=", i, strings.Repeat("%3Ca+on=x+style=b:url(j+a+v+", hostileSize/28)))
	}
	other := edgetest.Dial(t, n.http)
	light := head("GET", "detect.test", "/bytes?n=1", "User-Agent: test", "Accept: */*") + "\r\n"
	heavy := head("GET", "detect.test", "/bytes?n=1", "User-Agent: test", "Accept: */*", "Cookie: "+strings.Repeat("a=1; ", 200)) + "\r\n"
	for _, request := range []string{light, heavy} {
		meanwhile := 0
		for i := range 50 { // the bomb may be over first, on a busy machine
			done := make(chan struct{})
			go func() {
				defer close(done)
				edgetest.Dial(t, n.http).Do("POST", hostile(i))
			}()
			edgetest.WaitFor(t, "the bomb to be inspected", func() bool { return n.turns.busyOf("tenant block") == 1 || isClosed(done) })
			if got := other.Do("GET", request); got.Status != 200 {
				t.Errorf("another tenant: status %d", got.Status)
			}
			meanwhile += n.turns.busyOf("tenant block") // there is one bomb, and it has not given its turn back
			<-done
			if meanwhile > 0 {
				break
			}
		}
		if meanwhile == 0 {
			t.Error("another tenant's request was never answered before the bomb's inspection was over")
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
