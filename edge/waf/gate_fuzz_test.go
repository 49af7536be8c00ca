package waf

import (
	"sync"
	"testing"
)

// verifiedEngine has all rules run on each request that was at the gate.
var verifiedEngine = sync.OnceValues(func() (*Engine, error) { return withGate(New(Options{Shadow: 1})) })

// FuzzGateMissesNothing sends requests to the core rules at the highest paranoia level: what they match is among what the gate has said.
// A request is sent twice, the second time with its values remembered.
func FuzzGateMissesNothing(f *testing.F) {
	e, err := verifiedEngine()
	if err != nil {
		f.Fatal(err)
	}
	for i, s := range suspicious() {
		value := ""
		if len(s.header) > 0 {
			value = s.header[0][1]
		}
		f.Add(s.target, value, []byte(s.body), uint8(i))
	}
	for i, value := range oddValues {
		f.Add("/search?q="+lineOf(value), lineOf(value), []byte(value), uint8(i))
	}
	f.Add("/%zz", "a=b; c=<script>", []byte(`{"a":[1,"x"]}`), uint8(2))
	f.Add("/?a=1&a=2&A=3", "%u003c", []byte("<a b='c'>&lt;d</a>"), uint8(3))
	names := []string{"X-Any", "Cookie", "Referer", "User-Agent", "Content-Encoding", "Range"}
	kinds := []string{form, "", "application/json", "text/xml", "multipart/form-data; boundary=b", "text/plain"}
	profiles := []*Profile{{Mode: Block, Paranoia: 4}, {Mode: Detect, Paranoia: 4, Responses: true}, {Mode: Detect, Paranoia: 1}}
	f.Fuzz(func(t *testing.T, target, value string, body []byte, how uint8) {
		if len(target)+len(value)+len(body) > 4096 {
			t.Skip("long ones cost time, and show nothing else")
		}
		s := sample{
			target: target, contentType: kinds[int(how)%len(kinds)], body: string(body),
			header: [][2]string{{names[int(how/7)%len(names)], value}},
		}
		p := profiles[int(how/42)%len(profiles)]
		if p.Responses {
			s.status, s.responseType, s.responseBody = 200, "text/html", string(body)
		}
		for range 2 {
			got := inspect(e, p, s)
			if got.err != nil {
				t.Errorf("%+v", got.err)
			}
			if id := missedBy(e); id != 0 {
				e.current.Load().screening.made.Load().broken.Store(nil) // for the next one
				t.Errorf("the gate has missed rule %d: %+v", id, s)
			}
		}
	})
}
