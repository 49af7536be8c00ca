package waf

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

type part struct {
	name, filename, contentType, content string
}

func multipartBody(boundary string, parts ...part) string {
	var b strings.Builder
	for _, p := range parts {
		fmt.Fprintf(&b, "--%s\r\nContent-Disposition: form-data; name=%q", boundary, p.name)
		if p.filename != "" {
			fmt.Fprintf(&b, "; filename=%q", p.filename)
		}
		if p.contentType != "" {
			fmt.Fprintf(&b, "\r\nContent-Type: %s", p.contentType)
		}
		fmt.Fprintf(&b, "\r\n\r\n%s\r\n", p.content)
	}
	return b.String() + "--" + boundary + "--\r\n"
}

// parseRules are the engine's rules on bodies that do not parse, and nothing of the CRS: cheap
// enough to try every cut.
func parseRules(t testing.TB) *Engine {
	t.Helper()
	e, err := newEngine(Options{Gate: GateOff}, `Include base.conf
SecRule REQBODY_PROCESSOR "!@rx (?:URLENCODED|MULTIPART|XML|JSON)" "id:1,phase:1,pass,nolog,ctl:forceRequestBodyVariable=On"
SecRule ARGS|XML:/*|XML://@* "@contains EVIL" "id:2,phase:2,pass,log,msg:'seen'"
`)
	if err != nil {
		t.Fatalf("compile: %v", err)
	}
	return e
}

// bodies is one harmless body of each kind, and a kind's trickier forms.
var bodies = []struct {
	name, contentType, body string
}{
	{"form", form, "a=1&b=%C3%A9t%C3%A9&c=100%25&d=%u00e9"},
	{"json", "application/json", `{"a": "x\"y\\zé\n", "é": [1, -2.5e+3, true, false, null, {}, []], "d": {"e": {"f": [[""]]}}, "g":0}`},
	{"json array", "application/problem+json", ` [ "a" , {"b" : "c"} , -0.1 , "d" ] `},
	{"json scalar", "application/json", `"text \\"`},
	{"xml", "text/xml", `<?xml version="1.0" encoding="UTF-8"?><!DOCTYPE a [<!ENTITY x "y>">]><!-- c - > --><a b="1>" c='"2'><![CDATA[ x ]] > é ]]>t &amp; <d/>é</a>`},
	{"soap", "application/soap+xml", `<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body>x</s:Body></s:Envelope>`},
	{"multipart", "multipart/form-data; boundary=Bo-und", multipartBody("Bo-und",
		part{name: "a", content: "1"},
		part{name: "file", filename: "a b;\"c.txt", contentType: "text/plain; charset=utf-8", content: "line\r\n--Bo\r\n--Bo-undary\r\n\r\n\n"},
		part{name: "z", content: ""}) + "epilogue"},
	{"multipart, extended name", `multipart/form-data; boundary="q b"`, "preamble\r\n--q b\r\nContent-Disposition: form-data; name=f; filename=\"e.txt\"; filename*=UTF-8''%c3%a9.txt\r\n\r\nx\r\n--q b--"},
	{"multipart, bare line feeds", "multipart/form-data; boundary=b", "--b\nContent-Disposition: form-data; name=\"a\"\n\nx\ny\n--b--\n"},
	{"text", "text/plain", "any & text % = é"},
	{"no type", "", "\x00\x01%&="},
}

// A body cut at any byte must not be refused for the parse error that the cut causes.
func TestABodyCutAnywhereParses(t *testing.T) {
	e := parseRules(t)
	for _, b := range bodies {
		t.Run(b.name, func(t *testing.T) {
			if got := inspect(e, &Profile{Mode: Block}, sample{contentType: b.contentType, body: b.body}); got.verdict != nil {
				t.Fatalf("the whole body is refused: %+v", got)
			}
			for n := 1; n <= len(b.body); n++ {
				got := inspect(e, &Profile{Mode: Block, InspectBody: int64(n)}, sample{contentType: b.contentType, body: b.body, cut: true})
				if got.verdict != nil || got.err != nil {
					t.Errorf("cut after %q: %+v, mended to %q", b.body[:n], got, mendSample(b.contentType, b.body[:n]))
				}
			}
		})
	}
}

func mendSample(contentType, body string) []byte {
	kind := ""
	switch {
	case strings.Contains(contentType, "json"):
		kind = "JSON"
	case strings.Contains(contentType, "xml"):
		kind = "XML"
	case strings.HasPrefix(contentType, "multipart/"):
		kind = "MULTIPART"
	}
	return mend(kind, contentType, []byte(body))
}

// An error of the sender's own stays one, however the body is cut afterwards.
func TestACutDoesNotExcuseABodyThatIsMalformedBefore(t *testing.T) {
	e := parseRules(t)
	for name, s := range map[string]sample{
		"json":      {contentType: "application/json", body: `{"a":1} x {"b":"EVIL","c":"` + strings.Repeat("x", 500)},
		"json deep": {contentType: "application/json", body: strings.Repeat("[", 3000)},
		"multipart": {contentType: "multipart/form-data; boundary=b", body: "--b\r\nno colon\r\n\r\n" + strings.Repeat("x", 500)},
		"xml":       {contentType: "text/xml", body: "<a>\xff\xfe</a><b>" + strings.Repeat("x", 500)},
	} {
		s.cut = true
		got := inspect(e, &Profile{Mode: Block, InspectBody: 2048}, s)
		if got.verdict == nil || got.verdict.Status != 400 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// Padding within the same value must not hide what stands before the cut.
func TestAnAttackInAnUnfinishedValueIsSeen(t *testing.T) {
	e := parseRules(t)
	pad := strings.Repeat("x", 5000)
	for name, s := range map[string]sample{
		"form":             {contentType: form, body: "a=EVIL" + pad},
		"json string":      {contentType: "application/json", body: `{"a":["EVIL` + pad},
		"json nested":      {contentType: "application/json", body: `{"a":{"b":[{"c":"EVIL"},{"d":"` + pad},
		"xml attribute":    {contentType: "text/xml", body: `<a b="EVIL` + pad},
		"xml text":         {contentType: "text/xml", body: `<a>EVIL` + pad},
		"xml cdata":        {contentType: "text/xml", body: `<a><![CDATA[EVIL` + pad},
		"multipart field":  {contentType: "multipart/form-data; boundary=b", body: "--b\r\nContent-Disposition: form-data; name=a\r\n\r\nEVIL" + pad},
		"other":            {contentType: "text/plain", body: "a=EVIL" + pad},
		"multipart second": {contentType: "multipart/form-data; boundary=b", body: "--b\r\nContent-Disposition: form-data; name=a\r\n\r\nEVIL\r\n--b\r\nContent-Disposition: form-data; name=\"" + pad},
	} {
		s.cut = true
		got := inspect(e, &Profile{InspectBody: 4096}, s)
		if _, seen := got.match(2); !seen || got.would {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// The full rule set, too, has nothing to say about a cut body of each kind.
func TestCutBodiesPassTheWholeRuleSet(t *testing.T) {
	e := sharedEngine(t)
	for _, s := range []sample{
		{contentType: form, body: strings.Repeat("name=Ann&", 40) + "p=%C3%A9"},
		{contentType: "application/json", body: `{"list":[` + strings.Repeat(`{"name":"Ann","n":12},`, 20) + `{}]}`},
		{contentType: "text/xml", body: `<list>` + strings.Repeat(`<i n="12">Ann</i>`, 20) + `</list>`},
		{contentType: "multipart/form-data; boundary=b", body: multipartBody("b", part{
			name: "f", filename: "a.jpg", contentType: "image/jpeg", content: strings.Repeat("\xff\xd8\x00\x10", 100),
		})},
	} {
		for n := 280; n < 285; n++ {
			got := inspect(e, &Profile{Mode: Block, InspectBody: int64(n)}, withCut(s))
			if got.verdict != nil || len(got.matches) != 0 {
				t.Errorf("%s cut at %d: %+v", s.contentType, n, got)
			}
		}
	}
}

func withCut(s sample) sample {
	s.cut = true
	return s
}

func FuzzMendJSON(f *testing.F) {
	for _, b := range bodies {
		f.Add(b.body, 10)
	}
	f.Fuzz(func(t *testing.T, text string, n int) {
		if !json.Valid([]byte(text)) || n < 1 || n > len(text) || strings.Count(text, "[")+strings.Count(text, "{") > 500 {
			return
		}
		got := mendJSON([]byte(text[:n]))
		if blank := strings.Trim(text[:n], " \t\r\n") == ""; !blank && !json.Valid(got) {
			t.Errorf("%q cut to %q gives %q", text, text[:n], got)
		}
		if !bytes.HasPrefix(got, []byte(text[:n])) {
			t.Errorf("%q lost something: %q", text[:n], got)
		}
	})
}

func FuzzMend(f *testing.F) {
	for _, b := range bodies {
		f.Add(b.contentType, b.body)
	}
	f.Fuzz(func(t *testing.T, contentType, body string) {
		for _, kind := range []string{"JSON", "XML", "MULTIPART", "URLENCODED", ""} {
			got := mend(kind, contentType, []byte(body))
			if kind == "XML" && utf8.ValidString(body) && !utf8.Valid(got) {
				t.Errorf("%s: %q gives %q", kind, body, got)
			}
			if kind == "URLENCODED" && len(body)-len(got) > 2 {
				t.Errorf("%q lost %d bytes", body, len(body)-len(got))
			}
		}
	})
}
