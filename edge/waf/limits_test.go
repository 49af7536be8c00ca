package waf

import (
	"strings"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// Argument limits are the same for each source, in mode block they answer 400, and in mode detect they tell.
func TestArgumentLimit(t *testing.T) {
	e := parseRules(t)
	args := func(n int) string { return strings.Repeat("a=1&", n-1) + "a=1" }
	parts := func(n int, more string) string {
		return strings.Repeat("--b\r\nContent-Disposition: form-data; name=a"+more+"\r\n\r\nx\r\n", n) + "--b--\r\n"
	}
	for name, of := range map[string]func(int) sample{
		"query": func(n int) sample { return sample{target: "/?" + args(n)} },
		"form":  func(n int) sample { return sample{contentType: form, body: args(n)} },
		"text":  func(n int) sample { return sample{contentType: "text/plain", body: args(n)} },
		"JSON": func(n int) sample {
			return sample{contentType: "application/json", body: `{"a":[` + strings.Repeat("1,", n-1) + "1]}"}
		},
		"multipart": func(n int) sample { return sample{contentType: "multipart/form-data; boundary=b", body: parts(n, "")} },
		"multipart files": func(n int) sample {
			return sample{contentType: "multipart/form-data; boundary=b", body: parts(n, "; filename=f")}
		},
	} {
		for n, over := range map[int]bool{999: false, 1000: false, 1001: true} {
			if got := inspect(e, &Profile{Mode: Block}, of(n)); (got.verdict != nil) != over || over && (got.verdict.Status != 400 || len(got.matches) == 0) {
				t.Errorf("%s, %d in mode block: %+v", name, n, got)
			}
			if got := inspect(e, &Profile{Mode: Detect}, of(n)); got.verdict != nil || got.would != over || got.err != nil {
				t.Errorf("%s, %d in mode detect: %+v", name, n, got)
			}
		}
	}
}

// The engine's own limit must never act: it answers 413 to a transaction that only detects, and to a body of
// exactly the limit. What it is handed is half of that at most.
func TestTheEnginesBodyLimitNeverActs(t *testing.T) {
	edgetest.Sequential(t)
	if testing.Short() {
		t.Skip("needs half a gigabyte")
	}
	e, err := newEngine(Options{Gate: GateOff}, "Include base.conf\n")
	if err != nil {
		t.Fatal(err)
	}
	body := []byte("a=" + strings.Repeat("x", MaxInspectBody))
	for _, n := range []int{MaxInspectBody - 1, MaxInspectBody, MaxInspectBody + 1} {
		for _, mode := range []Mode{Block, Detect} {
			if mode == Block && n != MaxInspectBody {
				continue // half a second each
			}
			tx := e.Begin(&Profile{Mode: mode, InspectBody: MaxInspectBody}, "x")
			tx.Request("POST", "/", "HTTP/1.1", "shop.test")
			tx.RequestHeader("Content-Type", form)
			tx.RequestLength(int64(n))
			if tx.RequestHeaders() != nil {
				t.Errorf("%d bytes in mode %s: %+v", n, mode, tx.Verdict())
			}
			tx.WriteRequestBody(body[:n])
			if v := tx.RequestBody(false); v != nil || tx.Err() != nil || tx.WouldBlock() || tx.view.Variables().InboundDataError().Get() == "1" {
				t.Errorf("%d bytes in mode %s: %+v, %v", n, mode, v, tx.Err())
			}
			tx.Close()
		}
	}
}

// A body that is longer than what is inspected is refused where the profile wants it, by one rule.
func TestOnOversize(t *testing.T) {
	e := parseRules(t)
	for _, known := range []bool{true, false} {
		for _, mode := range []Mode{Block, Detect} {
			for n := 99; n <= 101; n++ {
				p := &Profile{Mode: mode, InspectBody: 100, OnOversize: Refuse}
				tx := e.Begin(p, "x")
				tx.Request("POST", "/", "HTTP/1.1", "shop.test")
				tx.RequestHeader("Content-Type", form)
				rule := 200101
				if known {
					rule = 200100
					tx.RequestLength(int64(n))
				}
				if tx.RequestHeaders() == nil {
					tx.WriteRequestBody([]byte(strings.Repeat("x", n)))
					tx.RequestBody(false)
				}
				v, found := tx.Verdict(), tx.Matches()
				if n <= 100 {
					if v != nil || len(found) != 0 || tx.WouldBlock() {
						t.Errorf("%d bytes, known %t, mode %s: %+v %+v", n, known, mode, v, found)
					}
				} else if (v != nil) != (mode == Block) || v != nil && (v.Status != 413 || v.RuleID != rule) || len(found) != 1 || found[0].ID != rule || !tx.WouldBlock() {
					t.Errorf("%d bytes, known %t, mode %s: %+v %+v", n, known, mode, v, found)
				}
				tx.Close()
			}
		}
	}
}

// Brackets are looked at once, however many there are.
func TestDeepJSONIsCutAtTheLimit(t *testing.T) {
	for _, body := range []string{strings.Repeat("[", 5000), strings.Repeat(`{"[{":`, 5000)} {
		got := shallowJSON([]byte(body))
		if n := strings.Count(strings.ReplaceAll(string(got), `"[{"`, ""), body[:1]); n != maxJSONDepth+1 || !strings.HasPrefix(body, string(got)) {
			t.Errorf("%q is cut to %d brackets", body[:20], n)
		}
	}
	for _, body := range []string{strings.Repeat("[", maxJSONDepth) + strings.Repeat("]", maxJSONDepth) + "x", `"` + strings.Repeat("[", 5000), `"\"` + strings.Repeat("[", 5000), `{"a":"\\"}`, strings.Repeat("[]", 5000), `"\`} {
		if got := shallowJSON([]byte(body)); string(got) != body {
			t.Errorf("%q… is cut to %d of %d bytes", body[:3], len(got), len(body))
		}
	}
	e := parseRules(t)
	begun := time.Now()
	got := inspect(e, &Profile{Mode: Block, InspectBody: MaxInspectBody}, sample{contentType: "application/json", body: strings.Repeat("[", 1<<20)})
	if got.verdict == nil || got.verdict.RuleID != 200002 {
		t.Errorf("%+v", got)
	}
	t.Logf("a megabyte of brackets in %v", time.Since(begun))
}
