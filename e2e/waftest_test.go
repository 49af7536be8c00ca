package e2e

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"gatehouse/admin"
	"gatehouse/internal/edgetest"
)

// judgedAs is what two ways of asking must agree on.
func judgedAs(verdict string, score int, matches []string) string {
	slices.Sort(matches)
	return fmt.Sprintf("%s, score %d, %s", verdict, score, strings.Join(matches, "; "))
}

// A tenant before he goes from detect to block: what waf test says of a request, by whichever
// way it is given, is what the node's own event says of the same request.
func TestWAFTestSaysWhatTheEventOfTheRealRequestSays(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	n := launch(t, "", map[string]string{"site.yaml": "tenants:\n  shop: {waf: {mode: detect, paranoia: 2, inspect_body: 1KiB}}\n" +
		vhost("shop.test", b.URL, "tenant: shop")})
	n.within("shop.test", 200)

	const form = "application/x-www-form-urlencoded"
	multipart := "--XX\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.php\"\r\nContent-Type: text/x\r\n\r\n<?php system('id');\r\n--XX--\r\n"
	for _, c := range []struct {
		name, raw string
		flags     []string // the same by curl's flags
		har       string   // the same as an entry of a recording
	}{
		{
			"query",
			"GET " + attack + " HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: M\r\nAccept: */*\r\nx_FILENAME: a.php\r\n\r\n",
			[]string{"-A", "M", "-H", "x_FILENAME: a.php", "http://shop.test" + attack},
			`"method": "GET", "url": "http://shop.test` + attack + `", "headers": [{"name": ":authority", "value": "shop.test"}, {"name": "user-agent", "value": "M"}, {"name": "accept", "value": "*/*"}, {"name": "x_FILENAME", "value": "a.php"}]`,
		},
		{
			"form",
			"POST /upload HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: M\r\nAccept: */*\r\nContent-Type: " + form + "\r\nContent-Length: 37\r\n\r\nicon=format-list-bulleted-square.svg&",
			[]string{"-A", "M", "-d", "icon=format-list-bulleted-square.svg&", "http://shop.test/upload"},
			`"method": "POST", "url": "http://shop.test/upload", "headers": [{"name": "User-Agent", "value": "M"}, {"name": "Accept", "value": "*/*"}, {"name": "Content-Type", "value": "` + form + `"}], "postData": {"mimeType": "", "text": "icon=format-list-bulleted-square.svg&"}`,
		},
		{
			"cut body",
			"POST / HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: M\r\nAccept: */*\r\nContent-Type: " + form + "\r\nContent-Length: 2031\r\n\r\nq=<script>alert(1)</script>&a=" + strings.Repeat("x", 2001),
			[]string{"-A", "M", "--data-raw", "q=<script>alert(1)</script>&a=" + strings.Repeat("x", 2001), "http://shop.test/"},
			`"method": "POST", "url": "http://shop.test/", "headers": [{"name": "User-Agent", "value": "M"}, {"name": "Accept", "value": "*/*"}], "postData": {"mimeType": "` + form + `", "text": "q=<script>alert(1)</script>&a=` + strings.Repeat("x", 2001) + `"}`,
		},
		{
			"multipart",
			fmt.Sprintf("POST / HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: M\r\nAccept: */*\r\nContent-Type: multipart/form-data; boundary=XX\r\nContent-Length: %d\r\n\r\n%s", len(multipart), multipart),
			[]string{"-A", "M", "-H", "Content-Type: multipart/form-data; boundary=XX", "--data-binary", multipart, "http://shop.test/"},
			`"method": "POST", "url": "http://shop.test/", "headers": [{"name": "User-Agent", "value": "M"}, {"name": "Accept", "value": "*/*"}, {"name": "Content-Type", "value": "multipart/form-data; boundary=XX"}],
			 "postData": {"mimeType": "multipart/form-data", "params": [{"name": "f", "value": "<?php system('id');", "fileName": "a.php", "contentType": "text/x"}]}`,
		},
		{
			"chunks",
			"POST / HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: M\r\nAccept: */*\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n11\r\n{\"a\":\"1' OR '1'='\r\n4\r\n1'\"}\r\n0\r\n\r\n",
			[]string{"-A", "M", "-H", "Accept:", "-H", "Accept: */*", "-H", "Transfer-Encoding: chunked", "--json", `{"a":"1' OR '1'='1'"}`, "http://shop.test/"},
			"",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			method, _, _ := strings.Cut(c.raw, " ")
			answer := edgetest.Dial(t, n.http).Do(method, c.raw)
			if answer.Status != 200 {
				t.Fatalf("for real: status %d", answer.Status)
			}
			var list admin.EventList
			if err := json.Unmarshal([]byte(n.must("waf", "events", "--id", answer.Header.Get("X-Request-Id"), "-o", "json")), &list); err != nil || len(list.Events) != 1 {
				t.Fatal(err, list)
			}
			event := list.Events[0]
			var matches []string
			for _, m := range event.Rules {
				matches = append(matches, fmt.Sprintf("%d %s +%d", m.ID, m.Target, m.Score))
			}
			want := judgedAs(event.Verdict, event.Score, matches)

			n.write("request.txt", c.raw)
			n.write("editor.txt", strings.ReplaceAll(c.raw, "\r\n", "\n"))
			n.write("visit.har", `{"log": {"entries": [{"request": {`+c.har+`}}]}}`)
			ways := map[string][]string{"raw": {"--raw", "request.txt"}, "flags": c.flags}
			if !strings.Contains(c.raw, "XX") {
				ways["an editor's"] = []string{"--raw", "editor.txt"}
			}
			if c.name == "chunks" {
				delete(ways, "an editor's") // chunks have their own line ends
			}
			if c.har != "" {
				ways["recording"] = []string{"--har", "visit.har"}
			}
			for way, args := range ways {
				out, code := n.output(append([]string{"waf", "test", "-o", "json"}, args...)...)
				var got admin.InspectResult
				wantCode := 0
				if way == "recording" {
					wantCode = 1 // the mode block would refuse it
					var all []admin.InspectResult
					if err := json.Unmarshal([]byte(out), &all); err != nil || len(all) != 1 {
						t.Fatalf("%s: %v\n%s", way, err, out)
					}
					got = all[0]
				} else if err := json.Unmarshal([]byte(out), &got); err != nil {
					t.Fatalf("%s: %v\n%s", way, err, out)
				}
				matches := []string{}
				for _, m := range got.Matches {
					matches = append(matches, fmt.Sprintf("%d %s +%d", m.ID, m.Target, m.Score))
				}
				if text := judgedAs(got.Verdict, got.Score, matches); text != want || code != wantCode || got.BlockStatus != 403 {
					t.Errorf("%s: exit %d, in the mode block %d\n waf test: %s\n    event: %s", way, code, got.BlockStatus, text, want)
				}
				if got.Cut != (c.name == "cut body") {
					t.Errorf("%s: cut: %t", way, got.Cut)
				}
			}
		})
	}

	// In the mode block a request that would be refused is exit 1, whichever way it came.
	n.must("tenant", "set", "shop", "waf.mode=block")
	edgetest.WaitFor(t, "the mode block", func() bool { return n.status("shop.test", attack) == 403 })
	n.write("request.txt", "GET "+attack+" HTTP/1.1\nHost: shop.test\n")
	out, code := n.run("waf", "test", "--raw", "request.txt")
	if code != 1 || !strings.Contains(out, "block: the client would get 403") {
		t.Errorf("exit %d\n%s", code, out)
	}
	if out, code := n.run("waf", "test", "--offline", "--raw", "request.txt"); code != 1 || !strings.Contains(out, "block: the client would get 403") {
		t.Errorf("offline: exit %d\n%s", code, out)
	}
}

// output is run with standard output alone.
func (n *node) output(args ...string) (string, int) {
	n.t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Dir = n.dir
	out, err := cmd.Output()
	if err != nil && cmd.ProcessState == nil {
		n.t.Fatalf("gatehouse %s: %v", strings.Join(args, " "), err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}
