package routes

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestHealthIsReadWithItsDefaults(t *testing.T) {
	const all = `{"backends":["http://a"],"health":{"path":"/up?x","host":"app.test","interval":"5s","timeout":"2s","rise":3,"fall":4,"status":"200,401-403","body":"ok"}}`
	for text, want := range map[string]Health{
		`{"backends": ["http://a"], "health": {}}`: {Path: "/", Interval: Duration(3 * time.Second), Timeout: Duration(time.Second), Rise: 2, Fall: 5, Status: "200-399"},
		`{"backends": ["http://a"], "health": {"path": "/healthz", "interval": "3s", "rise": 2, "fall": 5, "timeout": "1s"}}`: {
			Path: "/healthz", Interval: Duration(3 * time.Second), Timeout: Duration(time.Second), Rise: 2, Fall: 5, Status: "200-399",
		},
		all: {Path: "/up?x", Host: "app.test", Interval: Duration(5 * time.Second), Timeout: Duration(2 * time.Second), Rise: 3, Fall: 4, Status: "200,401-403", Body: "ok"},
	} {
		doc := ParseJSON(Key{KindVhost, "a.test"}, "vhost:a.test", []byte(text))
		if err := doc.Problems.Err(); err != nil {
			t.Fatal(err)
		}
		route := Route{Name: "a.test", Vhost: doc.Vhost}
		if got := route.Settings(nil).Health; got == nil || *got != want {
			t.Errorf("%s: %+v", text, got)
		}
		if back, err := json.Marshal(doc.Vhost); text == all && (err != nil || string(back) != all) {
			t.Errorf("%s %v", back, err)
		}
	}
}

func TestBadHealthSaysWhatIsWanted(t *testing.T) {
	for text, says := range map[string]string{
		`{"path": "healthz"}`:                            `health.path: bad path "healthz": want one such as /healthz`,
		`{"path": "/a b"}`:                               "bad path",
		`{"host": "a b"}`:                                "health.host: bad host",
		`{"interval": "500ms"}`:                          "health.interval: bad interval 500ms: want 1s to 1h",
		`{"interval": "2h"}`:                             "bad interval",
		`{"timeout": "4s"}`:                              "health.timeout: bad timeout 4s: it is longer than the interval, 3s",
		`{"timeout": "0s"}`:                              "must be more than 0s",
		`{"rise": 101}`:                                  "health.rise: bad number 101: want 1 to 100",
		`{"fall": -1}`:                                   "health.fall: bad number -1",
		`{"status": "2xx"}`:                              `health.status: bad statuses "2xx": want numbers of 100 to 599`,
		`{"status": "399-200"}`:                          "bad statuses",
		`{"body": "` + strings.Repeat("x", 257) + `"}`:   "health.body: 257 bytes",
		`{"intervall": "3s"}`:                            `did you mean "interval"?`,
		`{"path": "/` + strings.Repeat("x", 1024) + `"}`: "health.path",
	} {
		doc := ParseJSON(Key{KindVhost, "a.test"}, "vhost:a.test", []byte(`{"health": `+text+`}`))
		if doc.Vhost != nil || !strings.Contains(doc.Problems.Error(), says) {
			t.Errorf("%s: %q, want %q", text, doc.Problems.Error(), says)
		}
	}
}
