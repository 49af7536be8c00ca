package routes

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestBalanceIsReadAndWrittenBack(t *testing.T) {
	for _, policy := range balances {
		text := `{"backends":["http://a",{"url":"http://b","weight":1000}],"balance":"` + policy + `","sticky":{"cookie":"node"}}`
		doc := ParseJSON(Key{KindVhost, "a.test"}, "vhost:a.test", []byte(text))
		if err := doc.Problems.Err(); err != nil {
			t.Fatal(err)
		}
		v := doc.Vhost
		if v.Balance() != policy || v.Backends[1].Weight != 1000 || v.Sticky().Cookie != "node" {
			t.Errorf("%+v", v)
		}
		if back, err := json.Marshal(v); err != nil || string(back) != text {
			t.Errorf("%s %v", back, err)
		}
		route := Route{Name: "a.test", Vhost: v}
		if s := route.Settings(nil); s.Balance != policy || s.Sticky != "node" {
			t.Errorf("settings %s, %s", s.Balance, s.Sticky)
		}
	}
}

func TestBadBalanceSaysWhatIsWanted(t *testing.T) {
	for text, says := range map[string]string{
		`{"balance": "least_con"}`:                            `want p2c, random, round_robin, least_conn, hash_ip, hash_host, hash_path_segment (did you mean "least_conn"?)`,
		`{"backends": [{"url": "http://a", "weight": 1001}]}`: "backends[0].weight: bad weight 1001: want 1 to 1000",
		`{"backends": [{"url": "http://a", "weight": -1}]}`:   "bad weight -1",
		`{"sticky": {}}`:                "sticky needs the name of a cookie",
		`{"sticky": {"cookie": "a;b"}}`: `bad cookie name "a;b"`,
		`{"sticky": {"cookie": "` + strings.Repeat("a", 65) + `"}}`: "bad cookie name",
		`{"sticky": {"cookies": "a"}}`:                              `did you mean "cookie"?`,
	} {
		doc := ParseJSON(Key{KindVhost, "a.test"}, "vhost:a.test", []byte(text))
		if doc.Vhost != nil || !strings.Contains(doc.Problems.Error(), says) {
			t.Errorf("%s: %q, want %q", text, doc.Problems.Error(), says)
		}
	}
}
