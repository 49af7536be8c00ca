package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse/admin"
	"gatehouse/admin/admintest"
)

// harEntry is an entry of a recording as browsers write it.
func harEntry(request string) string {
	return `{"startedDateTime": "2026-11-28T10:00:00Z", "time": 1, "request": {"httpVersion": "h2", "queryString": [], "headersSize": -1, ` + request +
		`}, "response": {"status": 200, "content": {"size": 4, "text": "attack"}}, "cache": {}, "timings": {}}`
}

func recording(entries ...string) string {
	return "\xef\xbb\xbf" + `{"log": {"version": "1.2", "creator": {"name": "t", "version": "1"}, "pages": [{"id": "p"}], "entries": [` + strings.Join(entries, ",\n") + `], "comment": ""}}`
}

func TestRecordedRequestIsWhatTheEdgeWouldGet(t *testing.T) {
	for _, tc := range []struct{ name, request, url, body, fields string }{
		{
			"HTTP/2", `"method": "GET", "url": "https://a.test/x?q=%27", "bodySize": 0, "cookies": [{"name": "a", "value": "1"}], "headers": [
			{"name": ":authority", "value": "a.test"}, {"name": ":method", "value": "GET"}, {"name": "host", "value": "a.test"}, {"name": "accept", "value": "*/*"},
			{"name": "Accept", "value": "*/*"}, {"name": "accept", "value": "text/x"}, {"name": "cookie", "value": "a=1"}, {"name": "cookie", "value": "b=2"}]`,
			"https://a.test/x?q=%27", "none", "[[accept */*] [accept text/x] [Cookie a=1; b=2]]",
		},
		{
			"cookies alone", `"method": "GET", "url": "https://a.test/", "cookies": [{"name": "a", "value": "1"}, {"name": "b", "value": "2"}], "headers": []`,
			"https://a.test/", "none", "[[Cookie a=1; b=2]]",
		},
		{
			"text before params", `"method": "POST", "url": "https://a.test/", "headers": [{"name": "content-type", "value": "application/x-www-form-urlencoded"}, {"name": "content-length", "value": "7"}],
			"postData": {"mimeType": "application/x-www-form-urlencoded", "text": "a=%3Cb", "params": [{"name": "a", "value": "<b"}]}`,
			"https://a.test/", "a=%3Cb", "[[Content-Type application/x-www-form-urlencoded]]",
		},
		{
			"params", `"method": "POST", "url": "https://a.test/", "headers": [], "postData": {"mimeType": "application/x-www-form-urlencoded",
			"params": [{"name": "a", "value": "<b c"}, {"name": "d", "value": "%3Ce+f"}, {"name": "g", "value": "100% h"}]}`,
			"https://a.test/", "a=%3Cb+c&d=%3Ce+f&g=100%25+h", "[[Content-Type application/x-www-form-urlencoded]]",
		},
		{
			"multipart params", `"method": "POST", "url": "https://a.test/", "headers": [{"name": "Content-Type", "value": "multipart/form-data; boundary=XX"}],
			"postData": {"mimeType": "multipart/form-data", "params": [{"name": "a", "value": "1"}, {"name": "f", "value": "<svg/>", "fileName": "i.svg", "contentType": "image/svg+xml"}]}`,
			"https://a.test/", "--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--XX\r\nContent-Disposition: form-data; name=\"f\"; filename=\"i.svg\"\r\nContent-Type: image/svg+xml\r\n\r\n<svg/>\r\n--XX--\r\n",
			"[[Content-Type multipart/form-data; boundary=XX]]",
		},
		{
			"base64", `"method": "PUT", "url": "https://a.test/", "headers": [], "postData": {"mimeType": "application/octet-stream", "encoding": "base64", "text": "AP8="}`,
			"https://a.test/", "\x00\xff", "[[Content-Type application/octet-stream]]",
		},
		{"empty POST", `"method": "POST", "url": "https://a.test/", "headers": [], "bodySize": 0`, "https://a.test/", "", "[]"},
		{"WebSocket", `"method": "GET", "url": "wss://a.test/ws", "headers": []`, "https://a.test/ws", "none", "[]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := 0
			err := readRecording("-", strings.NewReader(recording(harEntry(tc.request))), func(h harRequest) error {
				got++
				in, missing, err := h.build("192.0.2.1")
				if err != nil || missing {
					t.Fatal(missing, err)
				}
				body := string(in.Body)
				if in.Body == nil {
					body = "none"
				}
				want(t, "url", in.URL, tc.url)
				want(t, "client", in.Client, "192.0.2.1")
				want(t, "body", body, tc.body)
				want(t, "fields", fmt.Sprint(in.Headers), tc.fields)
				return nil
			})
			if err != nil || got != 1 {
				t.Fatal(got, err)
			}
		})
	}
}

func TestWhatIsNoRecordingIsSaidSo(t *testing.T) {
	for text, says := range map[string]string{
		"":                                    "the recording -: no HAR: want",
		"GET / HTTP/1.1":                      "no HAR: invalid character",
		`[]`:                                  "no HAR: want",
		`{"log": {"version": "1.2"}}`:         "no HAR: want",
		`{"log": {"entries": {}}}`:            "no HAR: want",
		`{"log": {"entries": [{"request"`:     "entry 1: ",
		recording(`{"request": []}`):          "entry 1: ",
		recording(harEntry(`"url": ""`), `1`): "entry 2: ",
		strings.TrimSuffix(recording(harEntry(`"url": ""`)), `], "comment": ""}}`): "it ends early",
	} {
		err := readRecording("-", strings.NewReader(text), func(harRequest) error { return nil })
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v; want %q", text, err, says)
		}
	}
	err := readRecording("-", strings.NewReader(recording(strings.Repeat("{},", maxEntries)+"{}")), func(harRequest) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "more than 20000 entries") {
		t.Error(err)
	}
}

// A visit that was recorded in the mode detect tells what the mode block would refuse.
func TestRecordingIsReplayed(t *testing.T) {
	n := admintest.Start(t, sites, admin.Options{Inspect: func(ctx context.Context, r admin.InspectRequest) (admin.InspectResult, error) {
		if !strings.Contains(r.URL, "shop.test") {
			return admin.InspectResult{}, fmt.Errorf("%w for this", admin.ErrNoVhost)
		}
		if strings.Contains(r.URL, "/odd") {
			return admin.InspectResult{}, fmt.Errorf("no processor came free")
		}
		out, err := judge(ctx, r)
		if out.Mode = "detect"; out.Verdict == admin.VerdictBlock {
			out.Verdict, out.Status, out.BlockStatus, out.Cut = admin.VerdictDetect, 0, 403, true
		}
		return out, err
	}})
	t.Chdir(n.Dir)
	get := func(url string) string {
		return harEntry(`"method": "GET", "url": "` + url + `", "headers": [{"name": "cookie", "value": "a=1"}]`)
	}
	write(t, "visit.har", recording(
		get("https://www.shop.test/fine"), get("https://cdn.test/a.js"), get("https://cdn.test/b.js"), get("https://ads.test/"), get("data:text/plain,x"),
		harEntry(`"method": "POST", "url": "https://www.shop.test/search", "headers": [], "postData": {"mimeType": "application/x-www-form-urlencoded", "text": "q=attack"}`),
		harEntry(`"method": "POST", "url": "https://www.shop.test/upload", "headers": [], "bodySize": 500`),
	))
	code, out, errOut := invoke(t, "waf", "test", "--har", "visit.har")
	want(t, "code", code, exitFailed)
	want(t, "nothing beside it", errOut, "")
	want(t, "list", out, strings.TrimLeft(`
VERDICT  IN BLOCK  SCORE  METHOD  URL                           RULES
pass     pass      0/5    GET     https://www.shop.test/fine    -
detect   403       5/5    POST    https://www.shop.test/search  942100 ARGS:q, (longer than inspect_body)
pass     pass      0/5    POST    https://www.shop.test/upload  -

3 requests: 1 detect, 2 pass; the mode block refuses 1
left out: 3 requests to hosts that no vhost answers for (cdn.test 2, ads.test 1)
left out: 1 entry of other schemes than http and https
note: the recording lacks the body of 1 request
`, "\n"))
	_, out, _ = invoke(t, "waf", "test", "--har", "visit.har", "--only-refused")
	if strings.Contains(out, "/fine") || !strings.Contains(out, "/search") {
		t.Errorf("--only-refused: %s", out)
	}
	code, out, errOut = invoke(t, "waf", "test", "--har", "visit.har", "-o", "json")
	want(t, "json", code, exitFailed)
	contains(t, "json", out, `"entry": 6`, `"block_status": 403`, `"id": 942100`)
	contains(t, "what was left out", errOut, "left out: 3 requests")
	if !strings.HasPrefix(out, "[\n") {
		t.Errorf("no list: %s", out)
	}

	write(t, "fine.har", recording(harEntry(`"method": "GET", "url": "https://www.shop.test/", "headers": []`)))
	code, out, _ = invoke(t, "waf", "test", "--har", filepath.Join(n.Dir, "fine.har"))
	want(t, "a harmless visit", code, exitOK)
	contains(t, "a harmless visit", out, "1 request: 1 pass; the mode block refuses 0", "there is no cookie in it")
	write(t, "foreign.har", recording(get("https://cdn.test/")))
	code, out, _ = invoke(t, "waf", "test", "--har", "foreign.har")
	want(t, "nothing of ours", code, exitFailed)
	contains(t, "nothing of ours", out, "none of 1 request could be tried")
	write(t, "odd.har", recording(get("https://www.shop.test/odd")))
	code, out, _ = invoke(t, "waf", "test", "--har", "odd.har")
	want(t, "cannot be tried", code, exitFailed)
	contains(t, "cannot be tried", out, "error", "no processor came free", "1 request: 1 error")
	t.Chdir(t.TempDir())
	write(t, "visit.har", recording(get("https://a.test/")))
	code, out, errOut = invoke(t, "waf", "test", "--har", "visit.har")
	want(t, "no node", code, exitFailed)
	want(t, "no node", out, "")
	contains(t, "no node", errOut, "no node answers")
}

func TestVerdictSaysWhatTheModeBlockWouldDo(t *testing.T) {
	for says, r := range map[string]admin.InspectResult{
		"pass": {Mode: "block", Verdict: "pass"},
		"pass: the WAF is off for this vhost; in the mode block the client would get 403":                       {Mode: "off", Verdict: "pass", BlockStatus: 403},
		"pass: the profile none lets no rule run, and there are no own rules: nothing is inspected in any mode": {Mode: "off", Profile: "none", Verdict: "pass"},
		"pass: the WAF is off for this vhost; it would pass in the mode block, too":                             {Mode: "off", Verdict: "pass"},
		"detect: it would be blocked (400) if the mode were block; now it passes and is logged":                 {Mode: "detect", Verdict: "detect", BlockStatus: 400},
		"block: the client would get 403": {Mode: "block", Verdict: "block", Status: 403, BlockStatus: 403},
		"block: the client would get 400, in any mode: malformed request target (RFC 9112 §3.2)": {Mode: "off", Verdict: "block", Status: 400, BlockStatus: 400, Reason: "malformed request target (RFC 9112 §3.2)"},
		"pass: but in the mode block the client would get 413":                                   {Mode: "detect", Verdict: "pass", BlockStatus: 413},
	} {
		want(t, says, verdictLine(r), says)
	}
}
