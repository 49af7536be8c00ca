package routes

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"
)

// longText is a JSON document whose list is long: begin, the text n times with numbers, and end.
func longText(n int, begin, each, end string) string {
	var b strings.Builder
	b.WriteString(begin)
	for i := range n {
		b.WriteString(strings.ReplaceAll(each, "%d", strconv.Itoa(i)))
	}
	b.WriteString(end)
	return b.String()
}

// whileOthersWait is far more than the reading of any document takes, also on a busy machine and with the race detector.
const whileOthersWait = 5 * time.Second

// Each of these took minutes, in which no route of anybody changed.
func TestNoBadDocumentHoldsUpAllOthers(t *testing.T) {
	for name, text := range map[string]string{
		"aliases that are one":        longText(500_000, `{"aliases":[`, "1,", `1]}`),
		"fewer of them":               longText(maxValues/2-2, `{"backends":[`, "{},", `{}]}`),
		"backends without a URL":      longText(300_000, `{"backends":[`, "{},", `{}]}`),
		"unknown keys":                longText(90_000, `{`, `"k%d":1,`, `"x":1}`),
		"one line of them":            longText(4000, `{`, `"k%d":1,`, `"x":"`+strings.Repeat("é", MaxDocument/2-40_000)+`"}`),
		"aliases with 1000 too many":  longText(70_000, `{"backends":["http://b"],"aliases":[`, `"a%d.test",`, `"x.test"]}`),
		"lists of addresses":          longText(20_000, `{"backends":["http://b"],"addresses":{"allow":[`, `"https://l.test/%d",`, `"all"]}}`),
		"apps":                        longText(80_000, `{"waf":{"apps":[`, `"app%d",`, `"drupal"]}}`),
		"a name of a megabyte":        `{"aliases":["` + strings.Repeat("é", MaxDocument/2-100) + `"]}`,
		"a key of a megabyte":         `{"` + strings.Repeat("x", MaxDocument-100) + `":1}`,
		"a value of a megabyte":       `{"balance":"` + strings.Repeat("x", MaxDocument-100) + `"}`,
		"fields to set":               longText(40_000, `{"headers":{"request":{"set":{`, `"X-K%d":"",`, `"x":"1"}}}}`),
		"values with no place to say": longText(maxPlaced, `{"balance":"nonsense","addresses":{"allow":[`, `"192.0.2.1",`, `"all"]}}`),
	} {
		t.Run(name, func(t *testing.T) {
			if len(text) > MaxDocument {
				t.Fatalf("%d bytes", len(text))
			}
			begin := time.Now()
			doc := ParseJSON(Key{KindVhost, "evil.test"}, "vhost:evil.test", []byte(text))
			took := time.Since(begin)
			if took > whileOthersWait {
				t.Errorf("it took %v", took)
			}
			if n := len(doc.Problems); n == 0 || n > maxProblems+1 {
				t.Errorf("%d problems", n)
			}
			for _, p := range doc.Problems {
				if size := len(p.Error() + p.Excerpt); size > 4000 {
					t.Errorf("a problem of %d bytes: %.200s…", size, p.Error())
				}
			}
			t.Logf("%v, %d problems", took.Round(time.Millisecond), len(doc.Problems))
		})
	}
}

func TestProblemsBeyondTheBoundAreCounted(t *testing.T) {
	doc := ParseJSON(Key{KindVhost, "a.test"}, "vhost:a.test", []byte(longText(100, `{`, `"k%d":1,`, `"x":1}`)))
	want := fmt.Sprintf("vhost:a.test: and %d more problems", 101-maxProblems)
	if n := len(doc.Problems); n != maxProblems+1 || doc.Problems[n-1].Error() != want {
		t.Errorf("%d problems, the last is %v, want %s", n, doc.Problems[n-1], want)
	}
	v := &Vhost{Name: "a.test"}
	for range 100 {
		v.Backends = append(v.Backends, Backend{})
	}
	if problems := v.Check("x"); len(problems) != maxProblems+1 || problems[maxProblems].Error() != "x: and 60 more problems" {
		t.Errorf("%d problems", len(problems))
	}
}

func TestDocumentsAreBounded(t *testing.T) {
	for want, text := range map[string]string{
		"it is too large: a document has at most 1 MiB":                `{"backends":["http://b"],"compress":"` + strings.Repeat("x", MaxDocument) + `"}`,
		"it has more than 100000 values":                               longText(maxValues, `{"backends":[`, "{},", `"http://x"]}`),
		"aliases: 1001 aliases: at most 1000":                          longText(1000, `{"backends":["http://b"],"aliases":[`, `"a%d.test",`, `"x.test"]}`),
		"backends: more than 1000 backends":                            longText(1000, `{"backends":[`, `"http://b%d",`, `"http://x"]}`),
		"waf.apps: 21 entries: at most 20":                             longText(20, `{"backends":["http://b"],"waf":{"apps":[`, `"drupal",`, `"drupal"]}}`),
		"waf.allowed_methods: 51 methods: at most 50":                  longText(50, `{"backends":["http://b"],"waf":{"allowed_methods":[`, `"M%d",`, `"GET"]}}`),
		"a value is a zero: among more than 10000 values":              longText(maxPlaced, `{"backends":["http://b"],"timeouts":{"connect":"0.5s"},"addresses":{"deny":[`, `"192.0.2.1",`, `"all"]}}`),
		`unknown field "weighting"`:                                    longText(9999, `{"backends":["http://b"],"weighting":"p2c","addresses":{"deny":[`, `"192.0.2.1",`, `"all"]}}`),
		"addresses.deny[3]: bad network \"nonsense\": want an address": longText(9990, `{"backends":["http://b"],"addresses":{"deny":["all","all","all","nonsense",`, `"192.0.2.1",`, `"all"]}}`),
	} {
		doc := ParseJSON(Key{KindVhost, "a.test"}, "vhost:a.test", []byte(text))
		if doc.Vhost != nil || !strings.Contains(doc.Problems.Error(), want) {
			t.Errorf("want %s, got %.300s", want, doc.Problems.Error())
		}
	}
}

// What fits may be large: as many networks as a document may have, beside header fields and certificates.
func TestLargeDocumentsAreGoodOnes(t *testing.T) {
	text := longText(9999, `{"backends":["http://b"],"headers":{"response":{"set":{"X-Env":"prod","Permissions-Policy":"camera=()"}}},"waf":{"rules":"`+
		strings.Repeat("# a comment\\n", 20_000)+`"},"addresses":{"deny":[`, `"2001:db8::%d",`, `"all"]}}`)
	doc := ParseJSON(Key{KindVhost, "a.test"}, "vhost:a.test", []byte(text))
	if doc.Vhost == nil || len(doc.Vhost.Addresses().Deny) != maxNetworks || doc.Vhost.Headers().Response.Set["X-Env"] != "prod" {
		t.Errorf("%.300s", doc.Problems.Error())
	}
}

func TestExcerptOfALongLineIsWhatIsAboutTheColumn(t *testing.T) {
	line := strings.Repeat("ä", 500) + "X" + strings.Repeat("ö", 500)
	text, caret, _ := strings.Cut(Excerpt([]byte("first\n"+line+"\r\nlast"), 2, 501), "\n")
	if text != "2 | …"+strings.Repeat("ä", 80)+"X"+strings.Repeat("ö", 79)+"…" {
		t.Error(text)
	}
	if at := len([]rune(caret)) - 1; []rune(text)[at] != 'X' {
		t.Errorf("the caret stands at %d:\n%s\n%s", at, text, caret)
	}
}

func TestLogHasFewLinesOfADocument(t *testing.T) {
	var log strings.Builder
	f, err := NewFollower(FollowerOptions{Source: &script{}, Apply: func(*Table, []Replaced) {}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	doc := ParseJSON(Key{KindVhost, "a.test"}, "vhost:a.test", []byte(longText(3000, `{`, `"k%d":1,`, `"x":1}`)))
	f.take(Batch{Changes: []Change{doc.Change()}})
	if n := strings.Count(log.String(), "bad document"); n != maxTold+1 {
		t.Errorf("%d lines:\n%s", n, log.String())
	}
}
