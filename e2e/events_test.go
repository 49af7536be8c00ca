package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse/admin"
	"gatehouse/internal/edgetest"
)

// The first minute of a false positive: a visitor reads an id out, and the operator
// sees what it was; also after the node was killed and started again.
func TestBlockedRequestIsFoundByItsId(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	site := fmt.Sprintf("tenants:\n  shop: {waf: {mode: block}}\n  blog: {waf: {mode: detect}}\nvhosts:\n"+
		"  shop.test: {tenant: shop, backends: [%s]}\n  blog.test: {tenant: blog, backends: [%s]}\n", b.URL, b.URL)
	n := launch(t, "", map[string]string{"a.yaml": site})
	n.within("shop.test", 200)
	id := n.get("shop.test", "/upload?icon=format-list-bulleted-square.svg&password=hunter2").Header.Get("X-Request-Id")
	n.get("blog.test", attack)
	n.get("blog.test", "/?q=shoes")

	look := func(when string) {
		t.Helper()
		out := n.must("waf", "events", "--id", id)
		for _, want := range []string{id, "shop.test", "GET /upload\n", "block", "5 of 5", "932120", "ARGS:icon", "format-list"} {
			if !strings.Contains(out, want) {
				t.Errorf("%s: waf events --id does not say %q:\n%s", when, want, out)
			}
		}
		if strings.Contains(out, "hunter2") || strings.Contains(out, "949110") {
			t.Errorf("%s: a secret, or bookkeeping:\n%s", when, out)
		}
		var list admin.EventList
		if err := json.Unmarshal([]byte(n.must("waf", "events", "-t", "blog", "--since", "1h", "-o", "json")), &list); err != nil {
			t.Fatal(err)
		}
		if len(list.Events) != 1 || list.Events[0].Verdict != "detect" || list.Events[0].Node != "n1" {
			t.Errorf("%s: events of blog: %+v", when, list)
		}
		if out := n.must("waf", "report", "-t", "shop"); !strings.Contains(out, "932120") || strings.Contains(out, "941100") {
			t.Errorf("%s: waf report of shop:\n%s", when, out)
		}
	}
	look("at once")
	out, code := n.run("waf", "events", "--id", "n7-0123456789abcdef")
	if code != 1 || !strings.Contains(out, "node n7") {
		t.Errorf("an id of another node: exit %d, %s", code, out)
	}

	written := func() string {
		files, _ := filepath.Glob(filepath.Join(n.dir, "data", "events", "*.jsonl"))
		var all strings.Builder
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(text)
		}
		return all.String()
	}
	edgetest.WaitFor(t, "both events to be written", func() bool { return strings.Count(written(), "\n") == 2 })
	n.kill()
	n.start()
	look("after a crash")
	n.get("shop.test", attack)
	n.stop()
	if got := strings.Count(written(), "\n"); got != 3 {
		t.Errorf("%d events are written at the end, want 3", got)
	}
}

// A folder of events that cannot be written is said, and serves all the same.
func TestEventsThatCannotBeWrittenStopNobody(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	n := prepare(t, "", map[string]string{"a.yaml": vhost("a.test", b.URL, "waf: {mode: block}")})
	if err := os.MkdirAll(filepath.Join(n.dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(n.dir, "data", "events"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	n.start()
	n.within("a.test", 200)
	id := n.get("a.test", attack).Header.Get("X-Request-Id")
	if out := n.must("waf", "events", "--id", id); !strings.Contains(out, "941100") || !strings.Contains(out, "cannot be read") {
		t.Errorf("waf events:\n%s", out)
	}
	edgetest.WaitFor(t, "the log to say it", func() bool { return strings.Contains(n.stderr.String(), "waf events cannot be written") })
	if got := n.get("a.test", "/").Status; got != 200 {
		t.Errorf("status %d", got)
	}
	n.stop()
}

// Each process of an upgrade writes its own file, and the new one finds what either wrote.
func TestEventsOutliveAnUpgrade(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	n := launch(t, "", map[string]string{"a.yaml": vhost("a.test", b.URL, "waf: {mode: block}")})
	n.within("a.test", 200)
	s := succeed(n)
	was := s.pid
	before := n.get("a.test", attack).Header.Get("X-Request-Id")
	s.upgrade()
	s.gone(was)
	after := n.get("a.test", attack).Header.Get("X-Request-Id")
	for _, id := range []string{before, after} {
		if out := n.must("waf", "events", "--id", id); !strings.Contains(out, "941100") {
			t.Errorf("event %s:\n%s", id, out)
		}
	}
	s.finish()
	if files, _ := filepath.Glob(filepath.Join(n.dir, "data", "events", "*.jsonl")); len(files) != 2 {
		t.Errorf("%d files, want one of each process", len(files))
	}
}
