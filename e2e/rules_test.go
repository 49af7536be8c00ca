package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
	"gatehouse/waf-rules/crstest"
)

const (
	ourRules   = "rules/REQUEST-900-OURS.conf"
	blocksBlue = `SecRule ARGS:colour "@streq blue" "id:190001,phase:1,deny,status:403,msg:'blue'"` + "\n"
)

// A folder with a release of the CRS is followed: a link that is switched to another release, and a
// file that is changed in it, act without a restart, and on no request that is under way. A
// bad one changes nothing, but keeps a node from starting.
func TestFolderOfRulesIsFollowed(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"files", "redis"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			settings := "waf: {crs: crs}\ndefaults: {waf: {mode: block}}\n"
			if kind == "redis" {
				settings += "routes: " + edgetest.Redis(t).URL()
			}
			n := prepare(t, settings, nil)
			one, two := release(t, n, "crs-1"), release(t, n, "crs-2")
			n.write("crs-2/"+ourRules, blocksBlue)
			link(t, n, one)
			if out, code := n.run("check"); code != 0 {
				t.Fatalf("check: exit %d\n%s", code, out)
			}
			n.start()
			b := edgetest.NewBackend(t)
			n.must("vhost", "add", "www.shop.test", b.URL, "--tenant", "shop")
			n.must("vhost", "add", "blog.test", b.URL, "--tenant", "blog")
			n.within("www.shop.test", 200)
			n.serves(t, "/?q=<script>alert(1)</script>", 403)
			n.serves(t, "/?colour=blue", 200)

			slow := slowRequest(t, n, "blog.test", "/?colour=blue")
			link(t, n, two)
			edgetest.WaitForWithin(t, time.Minute, "the rule to act", func() bool { return n.status("www.shop.test", "/?colour=blue") == 403 })
			n.serves(t, "/?q=<script>alert(1)</script>", 403)
			n.serves(t, "/?colour=red", 200)
			if status := slow(); status != 200 {
				t.Errorf("a request that began before: %d", status)
			}
			n.logged(t, "waf rules replaced", "before=4.", "from="+two)

			// A rule is taken back, as an editor saves it.
			n.write("crs-2/"+ourRules, strings.ReplaceAll(blocksBlue, "blue", "green"))
			edgetest.WaitForWithin(t, time.Minute, "the other rule to act", func() bool { return n.status("www.shop.test", "/?colour=green") == 403 })
			n.serves(t, "/?colour=blue", 200)

			for name, bad := range map[string]struct{ text, says string }{
				"a pattern":   {`SecRule ARGS "@rx (" "id:190001,phase:1,deny"`, ourRules + ":1: failed to compile"},
				"a directive": {"\nSecRuleEngine Off", ourRules + ":2:"},
			} {
				n.write("crs-2/"+ourRules, bad.text+"\n")
				edgetest.WaitForWithin(t, time.Minute, name+" to be refused", func() bool {
					return strings.Contains(n.stderr.String(), "waf rules not replaced") && strings.Contains(n.stderr.String(), bad.says)
				})
				n.serves(t, "/?colour=green", 403)
				n.serves(t, "/?q=<script>alert(1)</script>", 403)
				resp, err := http.Get("http://" + n.admin + "/readyz")
				if err != nil || resp.StatusCode != 200 {
					t.Fatalf("readyz: %v, %v", resp, err)
				}
				resp.Body.Close()
			}
			if got := strings.Count(n.stderr.String(), "waf rules not replaced"); got != 2 {
				t.Errorf("%d lines about two bad states", got)
			}
			out, code := n.run("check")
			if code != 1 || !strings.Contains(out, "waf.crs: ") || !strings.Contains(out, ourRules+":") || !strings.Contains(out, "^") {
				t.Errorf("check: exit %d\n%s", code, out)
			}
			n.stop()
			n.startOnly()
			n.wait()
			if n.err == nil || !strings.Contains(n.stderr.String(), "waf.crs: ") {
				t.Errorf("started: %v\n%s", n.err, n.stderr)
			}
			link(t, n, one)
			n.start()
			n.within("www.shop.test", 200)
			if out, code := n.run("waf", "test", "--offline", "http://www.shop.test/?colour=green"); kind == "files" && (code != 0 || !strings.Contains(out, "pass")) {
				t.Errorf("offline: exit %d\n%s", code, out)
			}
			n.stop()
		})
	}
}

// release writes a copy of the CRS into the node's folder.
func release(t *testing.T, n *node, name string) string {
	t.Helper()
	dir := filepath.Join(n.dir, name)
	if err := crstest.WriteRelease(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// link makes the folder that the settings name a link to another, at once.
func link(t *testing.T, n *node, to string) {
	t.Helper()
	path := filepath.Join(n.dir, "crs")
	if err := os.Symlink(filepath.Base(to), path+"~"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+"~", path); err != nil {
		t.Fatal(err)
	}
}

func (n *node) serves(t *testing.T, target string, status int) {
	t.Helper()
	if got := n.status("www.shop.test", target); got != status {
		t.Errorf("%s: %d, want %d", target, got, status)
	}
}

// logged waits for a line of the log with all parts.
func (n *node) logged(t *testing.T, parts ...string) {
	t.Helper()
	edgetest.WaitFor(t, "a line in the log with "+strings.Join(parts, ", "), func() bool {
		for line := range strings.Lines(n.stderr.String()) {
			has := true
			for _, part := range parts {
				has = has && strings.Contains(line, part)
			}
			if has {
				return true
			}
		}
		return false
	})
}

// slowRequest begins a request, and returns when its head has been inspected and its body is wanted. End sends
// that, and returns the status of the answer.
func slowRequest(t *testing.T, n *node, host, target string) (end func() int) {
	t.Helper()
	conn, err := net.Dial("tcp", n.http)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n", target, host)
	const goOn = "HTTP/1.1 100 Continue\r\n\r\n"
	interim := make([]byte, len(goOn))
	if _, err := io.ReadFull(conn, interim); err != nil || string(interim) != goOn {
		t.Fatalf("%v: %q", err, interim)
	}
	return func() int {
		fmt.Fprint(conn, "a=white")
		answer, err := io.ReadAll(conn)
		var status int
		if _, scanErr := fmt.Sscanf(string(answer), "HTTP/1.1 %d", &status); err != nil || scanErr != nil {
			t.Fatalf("%v, %v: %s", err, scanErr, answer)
		}
		return status
	}
}
