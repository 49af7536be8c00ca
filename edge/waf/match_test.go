package waf

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestMatchTellsWhatAndWhere(t *testing.T) {
	e := sharedEngine(t)
	got := inspect(e, nil, sample{target: script})
	m, ok := got.match(941100)
	if !ok {
		t.Fatalf("%+v", got.matches)
	}
	if m.Message != "XSS Attack Detected via libinjection" || m.Severity != "critical" || m.Score != 5 || m.Data != "<script>alert(1)</script>" {
		t.Errorf("%+v", m)
	}
	for _, m := range got.matches {
		switch m.ID / 1000 {
		case 901, 905, 949, 959, 980:
			t.Errorf("bookkeeping: %+v", m)
		}
		if m.Message == "" {
			t.Errorf("no message: %+v", m)
		}
	}
}

// The scores of the matches explain the score of the request, chains and repeated targets included.
func TestScoresAddUp(t *testing.T) {
	e := sharedEngine(t)
	samples := append(traffic(),
		sample{target: "/?a=<script>x</script>&a=<script>y</script>&b=<script>z</script>"},
		sample{target: "/", header: [][2]string{{"Content-Length", "x"}, {"Range", "bytes=1-2,3-4,5-6,7-8,9-10,11-12"}}},
		sample{method: "GET", contentType: form, header: [][2]string{{"Transfer-Encoding", "chunked"}}},
		sample{target: "/?a=%00&b=%252e%252e%252f", header: [][2]string{{"Cookie", "a=<script>alert(1)</script>; $Version=1"}}},
	)
	for i, s := range samples {
		for _, level := range []int{1, 4} {
			got := inspect(e, &Profile{Paranoia: level}, s)
			sum := 0
			for _, m := range got.matches {
				sum += m.Score
			}
			if sum != got.score && len(got.matches) < MaxMatches {
				t.Errorf("request %d at paranoia %d: matches add up to %d, the score is %d: %+v", i, level, sum, got.score, got.matches)
			}
		}
	}
}

func TestSecretsAreNotReported(t *testing.T) {
	e := sharedEngine(t)
	const secret = "hunter2<script>alert(1)</script>"
	for _, s := range []sample{
		{target: "/?user_password=" + secret},
		{target: "/?apiKey=" + secret},
		{contentType: form, body: "new-PassWord=" + secret},
		{contentType: "application/json", body: `{"card":{"cvc":"` + secret + `"}}`},
		{header: [][2]string{{"Cookie", "PHPSESSID=" + secret}}},
		{header: [][2]string{{"Cookie", "sid=" + secret}}},
		{header: [][2]string{{"Authorization", "Basic " + secret}}},
		{header: [][2]string{{"Referer", "https://shop.test/?token=" + secret}}},
	} {
		got := inspect(e, &Profile{Paranoia: 4}, s)
		redacted := false
		for _, m := range got.matches {
			if strings.Contains(m.Data+m.Message, "hunter2") {
				t.Errorf("%+v: %s %s: %q", s, m.Message, m.Target, m.Data)
			}
			redacted = redacted || m.Data == Redacted
		}
		if !redacted {
			t.Errorf("%+v: nothing was redacted: %+v", s, got.matches)
		}
	}
}

func TestMatchesAreBounded(t *testing.T) {
	e := sharedEngine(t)
	var body strings.Builder
	for range 3 {
		body.WriteString("k" + strings.Repeat("é", 200) + "=<script>" + strings.Repeat("é", 200) + "</script>&")
	}
	body.WriteString("z=1")
	var many strings.Builder
	for i := range 40 {
		many.WriteString("k" + strings.Repeat("x", i) + "=<script>alert(1)</script>&")
	}
	for _, text := range []string{body.String(), many.String()} {
		got := inspect(e, nil, sample{contentType: form, body: text})
		if len(got.matches) == 0 || len(got.matches) > MaxMatches {
			t.Errorf("%d matches", len(got.matches))
		}
		for _, m := range got.matches {
			if len(m.Data) > maxData || len(m.Target) > maxData || !utf8.ValidString(m.Data) || !utf8.ValidString(m.Target) {
				t.Errorf("%d bytes of data, %d of target: %q", len(m.Data), len(m.Target), m.Data)
			}
		}
	}
	if got := inspect(e, nil, sample{contentType: form, body: many.String()}); len(got.matches) != MaxMatches {
		t.Errorf("%d matches of many", len(got.matches))
	}
}

// What Matches returns must not point into the caller's buffers, which are reused.
func TestMatchesOutliveTheRequest(t *testing.T) {
	e := sharedEngine(t)
	target := "/?name=<script>alert(1)</script>"
	tx := e.Begin(nil, "x")
	run(tx, sample{target: strings.Clone(target)})
	matches := tx.Matches()
	tx.Close()
	for range 10 {
		inspect(e, nil, sample{target: "/?other=" + strings.Repeat("y", 20)})
	}
	if len(matches) == 0 || matches[0].Target != "ARGS:name" || matches[0].Data != "<script>alert(1)</script>" {
		t.Errorf("%+v", matches)
	}
}
