package routes

import (
	"strings"
	"testing"
)

func TestParseAddress(t *testing.T) {
	for raw, want := range map[string]Address{
		"http://10.0.0.1":                 {Scheme: "http", Host: "10.0.0.1", Port: 80},
		"http://10.0.0.1:9000/":           {Scheme: "http", Host: "10.0.0.1", Port: 9000},
		"HTTP://Web_1.Example.TEST:8080":  {Scheme: "http", Host: "web_1.example.test", Port: 8080},
		"https://h/a/b/":                  {Scheme: "https", Host: "h", Port: 443, Prefix: "/a/b"},
		"https://h:8443/a%2Fb//c":         {Scheme: "https", Host: "h", Port: 8443, Prefix: "/a%2Fb//c"},
		"http://[::1]":                    {Scheme: "http", Host: "::1", Port: 80},
		"https://[2001:DB8::1]:8443":      {Scheme: "https", Host: "2001:db8::1", Port: 8443},
		"http://localhost.:80":            {Scheme: "http", Host: "localhost.", Port: 80},
		"http://1password.test":           {Scheme: "http", Host: "1password.test", Port: 80},
		"unix:/run/app.sock":              {Scheme: "unix", Path: "/run/app.sock"},
		"unix:///run/app.sock":            {Scheme: "unix", Path: "/run/app.sock"},
		"http://xn--bcher-kva.test:65535": {Scheme: "http", Host: "xn--bcher-kva.test", Port: 65535},
	} {
		got, err := ParseAddress(raw)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", raw, got, err)
			continue
		}
		if again, err := ParseAddress(got.String()); err != nil || again != got {
			t.Errorf("%s: its canonical form %s reads as %+v, %v", raw, got, again, err)
		}
	}
}

func TestParseAddressRefusesWithAReasonAndNoPassword(t *testing.T) {
	for raw, reason := range map[string]string{
		"":                                  "want http://host:port",
		"10.0.0.1:9000":                     "want http://host:port",
		"//h":                               "want http://host:port",
		"/run/x?://h":                       "want http://host:port",
		"ftp://h":                           "want http://host:port",
		"http://":                           "host is missing",
		"http://:80":                        "host is missing",
		"http:///x":                         "host is missing",
		"http://h:":                         "port",
		"http://h:0":                        "port",
		"http://h:65536":                    "port",
		"http://h:+80":                      "port",
		"http://h:80:80":                    "port",
		"http://u:secret@h":                 "user or password",
		"u:secret@h":                        "want http://host:port",
		"http://h?x":                        "query",
		"http://h/a?x":                      "query",
		"http://h/#f":                       "fragment",
		"http://h#f":                        "fragment",
		"http://a b":                        "space",
		"http://h/a\r\nX: y":                "control",
		"http://bücher.test":                "non-ASCII",
		"http://a..b":                       "label",
		"http://a,b":                        "character",
		"http://2130706433":                 "number",
		"http://0x7f.1":                     "number",
		"http://127.1":                      "number",
		"http://0x7f000001":                 "number",
		"http://1.2.3.4.5":                  "number",
		"http://256.1.1.1":                  "number",
		"http://[::1":                       "bracket",
		"http://[10.0.0.1]":                 "IPv6",
		"http://[fe80::1%25eth0]":           "IPv6",
		"http://[::1]x":                     "follows",
		"http://[::1]:":                     "port",
		"http://h/../x":                     "segment",
		"http://h/./x":                      "segment",
		"http://h/%zz":                      "hex",
		"http://h/%2":                       "hex",
		"unix:run/app.sock":                 "absolute",
		"unix://run/app.sock":               "has no host",
		"unix:/run/":                        "directory",
		"unix:/run/app/":                    "directory",
		"http://10.0.0.256:9000":            "four numbers from 0 to 255",
		"http://10.0.1":                     "four numbers from 0 to 255",
		"http://127.0.0.1:9000/../x":        `".." segment`,
		"http://::1":                        "in brackets",
		"ftp://u:secret@h":                  "want http://host:port",
		"unix:secret@h":                     "absolute",
		"unix:/" + strings.Repeat("x", 107): "longer",
		"unix:/run/a?b":                     "query",
		"http://" + strings.Repeat("a.", 130) + "test": "longer",
	} {
		a, err := ParseAddress(raw)
		if err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%q: %+v, error %v, want one about %q", raw, a, err, reason)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the error shows the password: %v", raw, err)
		}
	}
}
