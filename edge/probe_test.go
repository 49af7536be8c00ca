package edge

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"gatehouse/internal/edgetest"
)

// probed are requests that rules look at in different places, and that the door, a
// limit or nobody refuses.
var probed = []struct {
	name  string
	probe Probe // without a host
}{
	{"plain", Probe{}},
	{"query", Probe{URL: attack}},
	{"path", Probe{URL: "/.git/config"}},
	{"raw target", Probe{URL: "/a/../%2e%2e/etc/passwd?f=/etc/passwd&x=%27%20OR%201=1--"}},
	{"bad escape in the query", Probe{URL: "/?q=%zz"}},
	{"bad escape in the path", Probe{URL: "/%zz"}},
	{"NUL", Probe{URL: "/%00"}},
	{"white space", Probe{URL: "/a\tb"}},
	{"agent", Probe{Fields: [][2]string{{"user-AGENT", "sqlmap/1.0"}, {"Accept", "*/*"}}}},
	{"underscore", Probe{Fields: [][2]string{{"x_FILENAME", "a.php"}, {"User-Agent", "t"}}}},
	{"cookies", Probe{Fields: [][2]string{{"Cookie", "a=<script>alert(1)</script>; b=1' OR '1'='1"}, {"Cookie", "c=d"}, {"User-Agent", "t"}}}},
	{"bad field", Probe{Fields: [][2]string{{"X One", "1"}}}},
	{"control character", Probe{Fields: [][2]string{{"X-One", "1\x01"}}}},
	{"many fields", Probe{Fields: slices.Repeat([][2]string{{"X", "1"}}, 200)}},
	{"long target", Probe{URL: "/" + strings.Repeat("a", 9000)}},
	{"method", Probe{Method: "PUT", Body: []byte(`{"a":1}`), Fields: [][2]string{{"Content-Type", "application/json"}}}},
	{"method that no site has", Probe{Method: "TRACE"}},
	{"form", Probe{Body: []byte("icon=format-list-bulleted-square.svg&q=<script>alert(1)</script>"), Fields: [][2]string{{"Content-Type", "application/x-www-form-urlencoded"}}}},
	{"chunked form", Probe{Method: "POST", Body: []byte("q=1%27+OR+%271%27%3D%271"), Fields: [][2]string{{"Transfer-Encoding", "chunked"}, {"Content-Type", "application/x-www-form-urlencoded"}}}},
	{"JSON", Probe{Body: []byte(`{"list":[{"Id":"1' OR '1'='1"}]}`), Fields: [][2]string{{"Content-Type", "application/json"}}}},
	{"broken JSON", Probe{Body: []byte(`{"a":`), Fields: [][2]string{{"Content-Type", "application/json"}}}},
	{"multipart", Probe{
		Body:   []byte("--b\r\nContent-Disposition: form-data; name=\"up\"; filename=\"shell.php\"\r\n\r\n<?php system('id');\r\n--b--\r\n"),
		Fields: [][2]string{{"Content-Type", "multipart/form-data; boundary=b"}},
	}},
	{"XML", Probe{Body: []byte("<a>;/bin/sh</a>"), Fields: [][2]string{{"Content-Type", "text/xml"}}}},
	{"text", Probe{Body: []byte("hello"), Fields: [][2]string{{"Content-Type", "text/plain"}}}},
	{"length 0", Probe{Method: "POST", Body: []byte{}}},
	{"no length", Probe{Method: "POST"}},
	{"attack behind the cut", Probe{Body: []byte("a=" + strings.Repeat("x", 2000) + "&q=<script>alert(1)</script>"), Fields: [][2]string{{"Content-Type", "application/x-www-form-urlencoded"}}}},
	{"attack before the cut", Probe{Body: []byte("q=<script>alert(1)</script>&a=" + strings.Repeat("x", 2000)), Fields: [][2]string{{"Content-Type", "application/x-www-form-urlencoded"}}}},
	{"too large", Probe{Body: []byte("a=" + strings.Repeat("x", 9000)), Fields: [][2]string{{"Content-Type", "application/x-www-form-urlencoded"}}}},
	{"1,001 arguments", Probe{URL: "/?" + strings.Repeat("a=1&", 1001)}},
	{"HTTP/1.0", Probe{URL: attack, Proto: "HTTP/1.0"}},
	{"chunked HTTP/1.0", Probe{Method: "POST", Proto: "HTTP/1.0", Body: []byte("a=1"), Fields: [][2]string{{"Transfer-Encoding", "chunked"}}}},
	{"own rule", Probe{URL: "/?own=FORBIDDEN"}},
	{"own rule that counts", Probe{URL: "/?own=COUNTED", Fields: [][2]string{{"User-Agent", "t"}}}},
	{"excluded", Probe{URL: "/search?q=1%27%20OR%20%271%27=%271"}},
	{"not excluded", Probe{URL: "/other?q=1%27%20OR%20%271%27=%271"}},
}

var probedTenants = map[string]string{
	"block":     "mode: block",
	"detect":    "mode: detect",
	"off":       "mode: \"off\"",
	"paranoid":  "mode: detect, paranoia: 4, inbound_threshold: 30",
	"paranoid2": "mode: block, paranoia: 4, inbound_threshold: 30",
	"cut":       "mode: block, inspect_body: 1KiB, allowed_methods: [GET, PUT, POST, HEAD], allowed_types: [text/plain, application/json]",
	"excluding": `mode: block, exclusions: [{tags: [attack-sqli], target: "ARGS:q", paths: [/search]}]`,
	"own": `mode: block, rules: "SecRule ARGS:own \"@streq FORBIDDEN\" \"id:1,phase:2,deny,status:418\"` +
		`\nSecRule ARGS:own \"@streq COUNTED\" \"id:2,phase:1,pass,severity:CRITICAL,setvar:tx.inbound_anomaly_score_pl1=+5\""`,
}

// A heard is what became of a request, whoever tells it.
type heard struct {
	verdict string
	status  int
	score   int
	rules   []string // with target and score each
}

func (h heard) String() string {
	slices.Sort(h.rules) // of two targets the order is that of a map
	return fmt.Sprintf("%s %d, score %d, %s", h.verdict, h.status, h.score, strings.Join(h.rules, "; "))
}

// What waf test says is what becomes of the request: the same rules, targets and scores,
// the same status, in each mode, with each tuning, whatever refuses it. And what it
// says of the mode block is what that mode does.
func TestProbeEqualsTheRealRequest(t *testing.T) {
	b := edgetest.NewBackend(t)
	rules, err := engine()
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	real := map[string]heard{} // by request id
	n := &node{}
	if n.Server, err = New(Options{WAF: rules, Limits: Limits{Body: 8 << 10}}); err != nil {
		t.Fatal(err)
	}
	links := n.links()
	at := slices.IndexFunc(links, func(l link) bool { return l.name == "inspectRequest" })
	n.handle = chain(slices.Insert(links, at, link{"overhear", func(next handler) handler {
		return func(r *request) error {
			err := next(r)
			n.inspectLate(r) // not only when the answer is out, which this link would not hear
			h := heard{verdict: r.record.WAF.Verdict, score: r.record.WAF.Score}
			for _, m := range r.waf.Matches() {
				h.rules = append(h.rules, fmt.Sprintf("%d %s %+d %s", m.ID, m.Target, m.Score, m.Data))
			}
			mu.Lock()
			defer mu.Unlock()
			real[r.ID] = h
			return err
		}
	}}), n.forward)
	doc := "tenants:\n"
	vhosts := "vhosts:\n"
	for name, settings := range probedTenants {
		_, further, _ := strings.Cut(settings+",", ",")
		doc += fmt.Sprintf("  %s: {waf: {%s}}\n  %s-b: {waf: {mode: block,%s}}\n", name, settings, name, strings.TrimSuffix(further, ","))
		for _, tenant := range []string{name, name + "-b"} {
			vhosts += fmt.Sprintf("  %s.test: {tenant: %s, backends: [%s]}\n", tenant, tenant, b.URL)
		}
	}
	n.apply(t, doc+vhosts)
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	n.http = n.listen(t, n.Serve)
	send := func(host string, p Probe) (h heard) {
		conn := edgetest.Dial(t, n.http)
		text := string(p.head(host, strings.TrimPrefix(p.URL, "http://"+host)))
		if strings.Contains(text, "chunked") {
			text += fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(p.Body), p.Body)
		} else {
			text += string(p.Body)
		}
		defer conn.Close() // a client may only have so many
		conn.Send(text)
		answer, err := conn.TryReceive("GET")
		if err != nil {
			t.Fatalf("%s %.60s: %v", host, text, err)
		}
		mu.Lock()
		defer mu.Unlock()
		h = real[answer.Header.Get("X-Request-Id")]
		if answer.Status != 200 {
			h.status, h.verdict = answer.Status, verdictBlock
		} else if h.verdict == "" {
			h.verdict = verdictPass
		}
		return h
	}
	for name := range probedTenants {
		t.Run(name, func(t *testing.T) {
			for _, c := range probed {
				p := c.probe
				if p.URL == "" {
					p.URL = "/"
				}
				target, host := p.URL, name+".test"
				p.URL = "http://" + host + target
				found, err := n.Probe(p)
				if err != nil {
					t.Errorf("%s: %v", c.name, err)
					continue
				}
				got := heard{verdict: found.Verdict, status: found.Status, score: found.Score}
				for _, m := range found.Matches {
					got.rules = append(got.rules, fmt.Sprintf("%d %s %+d %s", m.ID, m.Target, m.Score, m.Data))
				}
				wanted := send(host, p)
				if name == "off" {
					got.score, got.rules = 0, nil // told of the mode block, see below
				}
				if got.String() != wanted.String() {
					t.Errorf("%s:\n waf test: %s\n for real: %s", c.name, got, wanted)
				}
				p.URL = "http://" + name + "-b.test" + target
				blocked := send(name+"-b.test", p)
				if found.BlockStatus != blocked.status {
					t.Errorf("%s: in the mode block %d, for real %d", c.name, found.BlockStatus, blocked.status)
				}
				if wanted.status != 0 && len(wanted.rules) == 0 && found.Reason == "" {
					t.Errorf("%s: refused with %d, and nothing says why", c.name, wanted.status)
				}
			}
		})
	}
}

func TestProbeSaysWhetherTheBodyWasCut(t *testing.T) {
	n := start(t, threeTenants("http://127.0.0.1:1")+"  cut.test: {backends: [http://127.0.0.1:1], waf: {mode: detect, inspect_body: 1KiB}}\n")
	for host, cut := range map[string]bool{"cut.test": true, "block.test": false} {
		for size, over := range map[int]bool{1 << 10: false, 1<<10 + 1: true} {
			found, err := n.Probe(Probe{URL: "http://" + host, Body: make([]byte, size)})
			if err != nil || found.Cut != (cut && over) {
				t.Errorf("%s, %d bytes: %+v, %v", host, size, found, err)
			}
		}
	}
}

func TestProbeOfAHostThatNobodyServes(t *testing.T) {
	n := start(t, threeTenants("http://127.0.0.1:1"))
	if _, err := n.Probe(Probe{URL: "http://nobody.test/"}); !errors.Is(err, ErrNoVhost) || err.Error() != "no vhost answers for nobody.test" {
		t.Error(err)
	}
	if _, err := n.Probe(Probe{URL: "nobody.test/"}); err == nil || errors.Is(err, ErrNoVhost) {
		t.Error(err)
	}
}
