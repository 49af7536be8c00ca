package edge

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"gatehouse/edge/waf/events"
	"gatehouse/internal/edgetest"
)

// kept are the events that a server made, as JSON has them at the time.
type kept struct {
	mu     sync.Mutex
	events []*events.Event
	texts  []string
}

func (k *kept) Record(e *events.Event) {
	text, err := json.Marshal(e)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.events = append(k.events, e)
	k.texts = append(k.texts, string(text)+fmt.Sprint(err))
}

// of returns the events of a vhost.
func (k *kept) of(vhost string) []*events.Event {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []*events.Event
	for _, e := range k.events {
		if e.Vhost == vhost {
			out = append(out, e)
		}
	}
	return out
}

func keeping(k *kept) func(*Options) { return func(o *Options) { o.Events = k } }

func TestWhatTheWAFFindsBecomesAnEvent(t *testing.T) {
	b := edgetest.NewBackend(t)
	k := &kept{}
	n := start(t, threeTenants(b.URL)+"  high.test: {tenant: high, backends: ["+b.URL+"], waf: {mode: block, inbound_threshold: 100}}\n", keeping(k))
	for host, verdict := range map[string]string{
		"block.test": events.Block, "detect.test": events.Detect, "off.test": "", "none.test": events.Detect, "high.test": events.Pass,
	} {
		n.get(t, host, "/bytes?q=shoes")
		answer := n.get(t, host, "/bytes"+attack[1:])
		got := k.of(host)
		if verdict == "" {
			if len(got) != 0 {
				t.Errorf("%s: the WAF is off, and there are events: %+v", host, got)
			}
			continue
		}
		if len(got) != 1 {
			t.Errorf("%s: %d events, want one: of the attack, and none of what matches no rule", host, len(got))
			continue
		}
		e := got[0]
		tenant := strings.TrimSuffix(host, ".test")
		if tenant == "none" {
			tenant = ""
		}
		if e.ID != answer.Header.Get("X-Request-Id") || e.Verdict != verdict || e.Tenant != tenant || e.Client.String() != "127.0.0.1" ||
			e.Method != "GET" || e.Path != "/bytes" || e.Phase != events.Request || e.Score < 5 || e.Threshold < 5 || e.Time.IsZero() {
			t.Errorf("%s: %+v", host, e)
		}
		sum, xss := 0, false
		for _, r := range e.Rules {
			sum += r.Score
			xss = xss || r.ID == 941100 && r.Target == "ARGS:q" && r.Data == "<script>alert(1)</script>" && r.Severity == "critical" &&
				len(r.Tags) > 0 && r.Message != ""
			if r.ID/1000 == 949 || r.ID/1000 == 901 {
				t.Errorf("%s: bookkeeping %d is among the rules", host, r.ID)
			}
		}
		if sum != e.Score || !xss {
			t.Errorf("%s: the matches add up to %d, the score is %d: %+v", host, sum, e.Score, e.Rules)
		}
	}
}

// An event outlives the request, whose memory the next one of the connection takes.
func TestEventKeepsNothingOfTheConnection(t *testing.T) {
	b := edgetest.NewBackend(t)
	k := &kept{}
	n := start(t, threeTenants(b.URL), keeping(k))
	c := edgetest.Dial(t, n.http)
	for i := range 20 {
		target := strings.Repeat(fmt.Sprint("/", i%10), 10) + attack[1:]
		if got := c.Do("GET", head("GET", "detect.test", target)+"\r\n"); got.Status == 403 {
			t.Fatalf("status %d", got.Status)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.events) != 20 {
		t.Fatalf("%d events", len(k.events))
	}
	for i, e := range k.events {
		text, err := json.Marshal(e)
		if got := string(text) + fmt.Sprint(err); got != k.texts[i] {
			t.Errorf("event %d was\n%s\nand is now\n%s", i, k.texts[i], got)
		}
	}
}

// Neither the query nor the values of what is named like a secret are kept.
func TestEventHoldsNoSecrets(t *testing.T) {
	b := edgetest.NewBackend(t)
	k := &kept{}
	n := start(t, threeTenants(b.URL), keeping(k))
	const secret = "hunter2%3Cscript%3Ealert(1)%3C/script%3E"
	n.get(t, "block.test", "/a?password="+secret)
	n.get(t, "block.test", "/b?q=1", "Cookie: sid=hunter2<script>alert(1)</script>", "Authorization: Bearer hunter2<script>alert(1)</script>")
	n.get(t, "block.test", "/c"+attack[1:]+"&innocent=hunter2")
	body := "user=me&new_password=" + secret
	edgetest.Dial(t, n.http).Do("POST", head("POST", "block.test", "/d",
		fmt.Sprintf("Content-Length: %d", len(body)), "Content-Type: application/x-www-form-urlencoded")+"\r\n"+body)
	if got := len(k.of("block.test")); got != 4 {
		t.Fatalf("%d events, want 4", got)
	}
	for _, text := range k.texts {
		if strings.Contains(text, "hunter2") {
			t.Errorf("a secret is kept: %s", text)
		}
	}
	if all := strings.Join(k.texts, "\n"); strings.Count(all, "[redacted]") < 3 || !strings.Contains(all, `"ARGS:password"`) {
		t.Errorf("nothing shows that something was redacted:\n%s", all)
	}
}

func TestAnswerThatIsWithheldBecomesAnEvent(t *testing.T) {
	b := edgetest.NewBackend(t)
	k := &kept{}
	n := start(t, shopSite(b.URL, "waf: {mode: block, responses: true}"), keeping(k))
	n.get(t, "www.shop.test", "/respond?Content-Type=text/html&body=welcome")
	answer := n.get(t, "www.shop.test", "/respond?Content-Type=text/html&body=You+have+an+error+in+your+SQL+syntax+near")
	got := k.of("www.shop.test")
	if len(got) != 1 {
		t.Fatalf("%d events, want one", len(got))
	}
	e := got[0]
	if answer.Status != 403 || e.Phase != events.Response || e.Verdict != events.Block || e.Score < e.Threshold || e.Threshold != 4 || e.ID != answer.Header.Get("X-Request-Id") {
		t.Errorf("%d: %+v", answer.Status, e)
	}
}

// What waf test tries becomes no event.
func TestProbeMakesNoEvent(t *testing.T) {
	b := edgetest.NewBackend(t)
	k := &kept{}
	n := start(t, threeTenants(b.URL), keeping(k))
	if _, err := n.Probe(Probe{URL: "http://block.test" + attack}); err != nil {
		t.Fatal(err)
	}
	if len(k.texts) != 0 {
		t.Errorf("%v", k.texts)
	}
}

// A rule that refuses on its own is named: its score says nothing.
func TestEventNamesTheRuleThatRefusedOnItsOwn(t *testing.T) {
	b := edgetest.NewBackend(t)
	k := &kept{}
	n := start(t, threeTenants(b.URL), keeping(k))
	for host, verdict := range map[string]string{"block.test": events.Block, "detect.test": events.Detect} {
		edgetest.Dial(t, n.http).Do("POST", head("POST", host, "/sink", "Content-Length: 4", "Content-Type: application/json")+"\r\n{\"a\"")
		n.get(t, host, attack)
		got := k.of(host)
		if len(got) != 2 {
			t.Fatalf("%s: %d events: %s", host, len(got), k.texts)
		}
		if e := got[0]; e.RefusedBy != 200002 || e.Verdict != verdict {
			t.Errorf("%s: a body that does not parse: %+v", host, e)
		}
		if e := got[1]; e.RefusedBy != 0 || e.Verdict != verdict {
			t.Errorf("%s: an attack that the score refuses: %+v", host, e)
		}
	}
}
