package redisconn

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for raw, want := range map[string]Options{
		"redis://127.0.0.1:6379":                 {Addrs: []string{"127.0.0.1:6379"}},
		"redis://redis":                          {Addrs: []string{"redis:6379"}},
		"redis://[::1]/2":                        {Addrs: []string{"[::1]:6379"}, DB: 2},
		"redis://u:p%40%2F@h:1/3#edge:":          {Addrs: []string{"h:1"}, Username: "u", Password: "p@/", DB: 3, Prefix: "edge:"},
		"redis://:p@h:1":                         {Addrs: []string{"h:1"}, Password: "p"},
		"rediss://h:1/":                          {Addrs: []string{"h:1"}, TLS: true},
		"redis+sentinel://a,b:2/main/1#x":        {Addrs: []string{"a:26379", "b:2"}, Master: "main", DB: 1, Prefix: "x"},
		"rediss+sentinel://u:p@a/main":           {Addrs: []string{"a:26379"}, Master: "main", TLS: true, Username: "u", Password: "p"},
		"redis+cluster://a:1,b:2,c#p":            {Addrs: []string{"a:1", "b:2", "c:6379"}, Cluster: true, Prefix: "p"},
		"redis://u:with@at:and:colons@h:1":       {Addrs: []string{"h:1"}, Username: "u", Password: "with@at:and:colons"},
		"redis://h#%23a%20b":                     {Addrs: []string{"h:6379"}, Prefix: "#a b"},
		"rediss+cluster://u:p@[2001:db8::1]:7,b": {Addrs: []string{"[2001:db8::1]:7", "b:6379"}, Cluster: true, TLS: true, Username: "u", Password: "p"},
	} {
		if got, err := Parse(raw); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v", raw, got, err)
		}
	}
}

func TestParseSaysTheFixAndNeverThePassword(t *testing.T) {
	for raw, want := range map[string]string{
		"":                                  "want redis://",
		"127.0.0.1:6379":                    "want redis://",
		"http://u:s3cret@h":                 `unknown scheme "http"`,
		"redis://":                          "the host is missing",
		"redis://u:s3cret@":                 "the host is missing",
		"redis://u:s3cret@h:port":           "the port is a number",
		"redis://u:s3cret@h:70000":          "the port is a number",
		"redis://u:s3cret@h/x":              "the number of the database",
		"redis://u:s3cret@h/-1":             "the number of the database",
		"redis://u:s3cret@a,b":              "redis+sentinel://h1,h2/master or redis+cluster://",
		"redis://u:s3cret%zz@h":             "broken percent-encoding",
		"redis://u:s3cret/with/slash@h":     "percent-encode / and @",
		"redis://s3cret@h":                  "a user needs a password",
		"redis+sentinel://u:s3cret@a,b":     "name of the Sentinels' master is missing",
		"redis+cluster://u:s3cret@a/1":      "only database 0",
		"redis://u:s3cret@h?timeout=1":      "no ?parameters",
		"redis://u:s3cret@h#%zz":            "#prefix has a broken",
		"redis+cluster://u:s3cret@a,,b":     "the host is missing",
		"redis://u:s3cret@2001:db8::1:6379": "host:port",
	} {
		_, err := Parse(raw)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", raw, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: the password is in the error: %v", raw, err)
		}
	}
}

func TestStringHidesThePassword(t *testing.T) {
	for raw, want := range map[string]string{
		"rediss://u:s3cret@h:1/3#edge:":        "rediss://u:***@h:1/3#edge:",
		"redis://:s3cret@h":                    "redis://:***@h:6379",
		"redis+sentinel://u:s3cret@a,b/main/1": "redis+sentinel://u:***@a:26379,b:26379/main/1",
		"redis+cluster://a,b":                  "redis+cluster://a:6379,b:6379",
	} {
		o, err := Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		for _, got := range []string{o.String(), fmt.Sprintf("%v", o), fmt.Sprintf("%+v", o), fmt.Sprintf("%#v", o)} {
			if got != want {
				t.Errorf("%s: got %s, want %s", raw, got, want)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"redis://u:p@h:1/2#x", "redis+sentinel://a,b/m/1", "redis+cluster://a,b", "redis://[::1]", "rediss://%:@"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		o, err := Parse(raw)
		if err != nil {
			return
		}
		if len(o.Addrs) == 0 || o.Master == "?" {
			t.Errorf("%q: %+v", raw, o)
		}
		if len(o.Password) > 8 && strings.Contains(o.String(), o.Password) && !strings.Contains(strings.Join(o.Addrs, ",")+o.Prefix+o.Master+o.Username, o.Password) {
			t.Errorf("%q shows its password", raw)
		}
	})
}
