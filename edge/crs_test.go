package edge

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/edge/waf"
	"gatehouse/edge/wire"
	"gatehouse/internal/edgetest"
	"gatehouse/waf-rules/crstest"
)

// The CRS's own tests over TCP through the whole edge. At most 47 fail, each for a known reason: most
// are refused at the door, with another status than the test expects.
func TestCoreRuleSetThroughTheEdge(t *testing.T) {
	w := startWAF(t)
	crstest.Run(t, crstest.Options{
		Where: "through the edge", Overrides: "waf/testdata/overrides", Section: "edge",
		MaxOverrides: 47, MinPercent: 99, Every: 100,
	}, func(s crstest.Stage) crstest.Outcome { return w.try(s.Request) })
}

// The wire rules that overrides name are those of package wire.
func TestOverridesNameWireRules(t *testing.T) {
	text, err := os.ReadFile("waf/testdata/overrides")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`wire rule (\w+)`).FindAllStringSubmatch(string(text), -1)
	for _, m := range named {
		if !slices.Contains(wire.RefusalCodes(), m[1]) {
			t.Errorf("there is no wire rule %s", m[1])
		}
	}
	if len(named) == 0 {
		t.Error("no wire rule is named")
	}
}

// Field names reach the firewall as they were sent: neither changed, nor dropped for an underscore.
func TestFieldNamesReachTheFirewallAsSent(t *testing.T) {
	w := startWAF(t)
	for _, name := range []string{"x_FILENAME", "X.fileName", "x-fIlEnAmE"} {
		o := w.try([]byte(head("GET", "localhost", "/", "User-Agent: test", "Accept: */*", name+": a.php") + "\r\n"))
		if log := strings.Join(o.Log, "\n"); !slices.Contains(o.Rules, 933110) || !strings.Contains(log, "found within REQUEST_HEADERS:"+name+":") {
			t.Errorf("%s: %d, rules %v, log %s", name, o.Status, o.Rules, log)
		}
	}
}

// A wafNode is a server as the CRS's tests want it, with what its rules said of each request.
type wafNode struct {
	node
	mu   sync.Mutex
	said map[string]said // by request id
}

// said is what the rules said of a request.
type said struct {
	rules []int // as the access line has them
	log   []string
}

// crsEngine is compiled once for all tests here.
var crsEngine = sync.OnceValues(func() (*waf.Engine, error) { return waf.New(waf.Options{Setup: crstest.Setup}) })

func startWAF(t *testing.T) *wafNode {
	t.Helper()
	w := &wafNode{said: map[string]said{}}
	rules, err := crsEngine()
	if err != nil {
		t.Fatal(err)
	}
	if w.Server, err = New(Options{WAF: rules}); err != nil {
		t.Fatal(err)
	}
	links := w.links()
	at := slices.IndexFunc(links, func(l link) bool { return l.name == "inspectRequest" })
	w.handle = chain(slices.Insert(links, at, link{"overhear", w.overhear}), w.forward)
	b := edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: crstest.Backend()})
	w.apply(t, "tenants:\n  crs: {waf: {mode: detect, paranoia: 4, responses: true}}\n"+
		"vhosts:\n  \"*\": {tenant: crs, backends: ["+b.URL+"]}\n")
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	w.http = w.listen(t, w.Serve)
	return w
}

// overhear keeps what the rules said, those of phase 5 too: the record has no texts, and hides the
// rules that only sum up. It looks into the engine, whose package nobody else imports.
func (w *wafNode) overhear(next handler) handler {
	return func(r *request) error {
		err := next(r)
		if r.waf == nil {
			return err
		}
		tx := reflect.ValueOf(r.waf).Elem().FieldByName("tx")
		tx = reflect.NewAt(tx.Type(), tx.Addr().UnsafePointer()).Elem() // to call an unexported field's methods
		s := said{rules: slices.Clone(r.record.WAF.Rules)}
		if !tx.IsNil() { // else no rule had to be asked
			tx.MethodByName("ProcessLogging").Call(nil)
			matched := tx.MethodByName("MatchedRules").Call(nil)[0]
			for i := range matched.Len() {
				s.log = append(s.log, matched.Index(i).MethodByName("ErrorLog").Call(nil)[0].String())
			}
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.said[r.ID] = s
		return err
	}
}

// try sends a raw request on a connection of its own.
func (w *wafNode) try(raw []byte) (o crstest.Outcome) {
	var conn net.Conn
	if conn, o.Err = net.DialTimeout("tcp", w.http, edgetest.Patience); o.Err != nil {
		return o
	}
	defer conn.Close()
	if o.Err = conn.SetDeadline(time.Now().Add(edgetest.Patience)); o.Err != nil {
		return o
	}
	// A refusal may come before the end of a large request, so an error here is no news.
	_, _ = conn.Write(raw)
	var answer bytes.Buffer
	method, _, _ := strings.Cut(string(raw), " ")
	resp, err := http.ReadResponse(bufio.NewReader(io.TeeReader(conn, &answer)), &http.Request{Method: method})
	if err != nil {
		o.Err = err
		return o
	}
	if _, o.Err = io.Copy(io.Discard, resp.Body); o.Err != nil {
		return o
	}
	o.Status, o.Answer = resp.StatusCode, answer.Bytes()
	w.mu.Lock()
	defer w.mu.Unlock()
	s, inspected := w.said[resp.Header.Get("X-Request-Id")]
	o.Rules, o.Log, o.Refused = s.rules, s.log, !inspected
	return o
}
