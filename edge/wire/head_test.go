package wire

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

const get = "GET / HTTP/1.1\r\nHost: a.test\r\n"

// Each attack on the head is refused, with its status, however its bytes come.
func TestHeadsWithTwoReadingsAreRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		in     string
		status int
	}{
		"CL.TE":                                 {get + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		"TE.CL":                                 {get + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 400},
		"TE.TE":                                 {get + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		"TE identity":                           {get + "Transfer-Encoding: identity\r\n\r\n", 501},
		"TE xchunked":                           {get + "Transfer-Encoding: xchunked\r\n\r\n", 501},
		"TE gzip, chunked":                      {get + "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
		"TE empty":                              {get + "Transfer-Encoding:\r\n\r\n", 501},
		"TE with vertical tab":                  {get + "Transfer-Encoding: \vchunked\r\n\r\n", 400},
		"TE in HTTP/1.0":                        {"POST / HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		"TE behind a bare LF":                   {get + "X: y\nTransfer-Encoding: chunked\r\n\r\n", 400},
		"TE behind a bare CR":                   {get + "X: y\rTransfer-Encoding: chunked\r\n\r\n", 400},
		"TE on a folded line":                   {get + "X: y\r\n Transfer-Encoding: chunked\r\n\r\n", 400},
		"TE with space before the colon":        {get + "Transfer-Encoding : chunked\r\n\r\n", 400},
		"CL twice":                              {get + "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", 400},
		"CL list":                               {get + "Content-Length: 5, 5\r\n\r\n", 400},
		"CL plus":                               {get + "Content-Length: +5\r\n\r\n", 400},
		"CL minus":                              {get + "Content-Length: -5\r\n\r\n", 400},
		"CL hexadecimal":                        {get + "Content-Length: 0x5\r\n\r\n", 400},
		"CL empty":                              {get + "Content-Length:\r\n\r\n", 400},
		"CL overflow":                           {get + "Content-Length: 18446744073709551621\r\n\r\n", 400},
		"Host missing":                          {"GET / HTTP/1.1\r\n\r\n", 400},
		"Host empty":                            {"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400},
		"Host twice":                            {get + "hOST: a.test\r\n\r\n", 400},
		"Host before the fields, indented":      {"GET / HTTP/1.1\r\n Host: b.test\r\nHost: a.test\r\n\r\n", 400},
		"absolute-form for another host":        {"GET http://b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 400},
		"absolute-form with userinfo":           {"GET http://a.test@b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 400},
		"absolute-form without host":            {"GET http:///x HTTP/1.1\r\nHost: a.test\r\n\r\n", 400},
		"absolute-form of FTP":                  {"GET ftp://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 400},
		"absolute-form with backslashes":        {"GET http:\\\\a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 400},
		"target without slash":                  {"GET x HTTP/1.1\r\nHost: a.test\r\n\r\n", 400},
		"target at-sign":                        {"GET @b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 400},
		"target star for GET":                   {"GET * HTTP/1.1\r\nHost: a.test\r\n\r\n", 400},
		"target with fragment":                  {"GET /public#/../admin HTTP/1.1\r\nHost: a.test\r\n\r\n", 400},
		"target with escaped NUL":               {"GET /a%00b HTTP/1.1\r\nHost: a.test\r\n\r\n", 400},
		"target with a broken escape":           {"GET /a%zzb HTTP/1.1\r\nHost: a.test\r\n\r\n", 400},
		"target with an escape cut off":         {"GET /a%2 HTTP/1.1\r\nHost: a.test\r\n\r\n", 400},
		"target with DEL":                       {"GET /\x7f HTTP/1.1\r\nHost: a.test\r\n\r\n", 400},
		"target with tab":                       {"GET /a\tb HTTP/1.1\r\nHost: a.test\r\n\r\n", 400},
		"target with a second version":          {"GET / HTTP/1.1 HTTP/1.1\r\nHost: a.test\r\n\r\n", 400},
		"target of 9 KiB":                       {"GET /" + strings.Repeat("a", 9<<10) + " HTTP/1.1\r\nHost: a.test\r\n\r\n", 414},
		"target that never ends":                {"GET /" + strings.Repeat("a", 20<<10), 414},
		"method that never ends":                {strings.Repeat("A", 20<<10), 501},
		"method of 9,000 bytes":                 {strings.Repeat("A", 9000) + " / HTTP/1.1\r\nHost: a.test\r\n\r\n", 501},
		"method with a parenthesis":             {"GE(T / HTTP/1.1\r\nHost: a.test\r\n\r\n", 400},
		"CONNECT":                               {"CONNECT 169.254.169.254:80 HTTP/1.1\r\nHost: a.test\r\n\r\n", 405},
		"TRACE":                                 {"TRACE / HTTP/1.1\r\nHost: a.test\r\n\r\n", 405},
		"HTTP/0.9":                              {"GET /\r\n\r\n", 400},
		"HTTP/2.0":                              {"GET / HTTP/2.0\r\nHost: a.test\r\n\r\n", 505},
		"HTTP/1.2":                              {"GET / HTTP/1.2\r\nHost: a.test\r\n\r\n", 505},
		"HTTP/1.10":                             {"GET / HTTP/1.10\r\nHost: a.test\r\n\r\n", 400},
		"http/1.1":                              {"GET / http/1.1\r\nHost: a.test\r\n\r\n", 400},
		"two spaces before the version":         {"GET /  HTTP/1.1\r\nHost: a.test\r\n\r\n", 400},
		"space after the version":               {"GET / HTTP/1.1 \r\nHost: a.test\r\n\r\n", 400},
		"space before the method":               {" GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", 400},
		"two empty lines before the request":    {"\r\n\r\n" + get + "\r\n", 400},
		"LF line ends":                          {"GET / HTTP/1.1\nHost: a.test\n\n", 400},
		"LF before the request":                 {"\n" + get + "\r\n", 400},
		"CR line ends":                          {"GET / HTTP/1.1\rHost: a.test\r\r", 400},
		"CR CR LF":                              {"GET / HTTP/1.1\r\r\nHost: a.test\r\n\r\n", 400},
		"NUL in a value":                        {get + "X: a\x00b\r\n\r\n", 400},
		"NUL in a long value":                   {get + "X: aaaaaaaaaaaaaaaaa\x00bbbbbbbbbbbbbbbbbbb\r\n\r\n", 400},
		"DEL in a value":                        {get + "X: aaaaaaaa\x7f\r\n\r\n", 400},
		"ESC in a value":                        {get + "X: \x1b[31m\r\n\r\n", 400},
		"space inside a name":                   {get + "X A: y\r\n\r\n", 400},
		"tab after a name":                      {get + "X\t: y\r\n\r\n", 400},
		"no name":                               {get + ": y\r\n\r\n", 400},
		"no colon":                              {get + "nonsense\r\n\r\n", 400},
		"8-bit name":                            {get + "X\xe9: y\r\n\r\n", 400},
		"obs-fold":                              {get + "X: y\r\n\tz\r\n\r\n", 400},
		"101 fields":                            {get + strings.Repeat("X: y\r\n", 100) + "\r\n", 431},
		"head of 33 KiB":                        {get + "X: " + strings.Repeat("y", 33<<10) + "\r\n\r\n", 431},
		"head that never ends":                  {get + "X: " + strings.Repeat("y", 40<<10), 431},
		"cookies that would cost a parser 47ms": {get + strings.Repeat("Cookie: a\r\n", 3000), 431},
		"Expect of something else":              {get + "Expect: 200-ok\r\n\r\n", 417},
		"TLS on the plain port":                 {"\x16\x03\x01\x02\x00\x01", 400},
		"PROXY v2 from nobody we trust":         {"\r\n\r\n\x00\r\nQUIT\n", 400},
		"SSH":                                   {"SSH-2.0-OpenSSH_9.2\r\n", 400},
		"h2 preface":                            {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
		"head that is cut":                      {get + "X: y", 400},
	} {
		for _, piece := range []int{1, 3, 64 << 10} {
			t.Run(fmt.Sprintf("%s/%d", name, piece), func(t *testing.T) {
				_, c := play([]byte(tc.in), piece, Limits{})
				h, err := nextHead(t, c)
				if err != nil {
					t.Fatal(err)
				}
				if h.Refused == nil || h.Refused.Status != tc.status || !h.Last {
					t.Errorf("refused %v, last %v; want %d", h.Refused, h.Last, tc.status)
				}
				if _, err := nextHead(t, c); err != ErrUnread {
					t.Errorf("after a refusal the connection goes on: %v", err)
				}
			})
		}
	}
}

// What is legal is let in as it came.
func TestHeadsAreKeptAsTheyCame(t *testing.T) {
	long := strings.Repeat("c=d; ", 1400)
	for name, tc := range map[string]struct {
		in   string
		want Head
	}{
		"one empty line before": {"\r\n" + get + "\r\n", Head{Method: "GET", Target: "/", Host: "a.test", Minor: 1}},
		"dot segments and escapes": {
			"GET /a/..%2fb/../%2e//;x?%zz=%00&<>{}|^\\ HTTP/1.1\r\nHost: a.test\r\n\r\n",
			Head{Method: "GET", Target: "/a/..%2fb/../%2e//;x?%zz=%00&<>{}|^\\", Host: "a.test", Minor: 1},
		},
		"two slashes are a path":   {"GET //b.test/x://y HTTP/1.1\r\nHost: a.test\r\n\r\n", Head{Method: "GET", Target: "//b.test/x://y", Host: "a.test", Minor: 1}},
		"an empty query":           {"GET /q? HTTP/1.1\r\nHost: a.test\r\n\r\n", Head{Method: "GET", Target: "/q?", Host: "a.test", Minor: 1}},
		"absolute-form":            {"GET HTTP://A.test/x?y HTTP/1.1\r\nHost: a.test\r\n\r\n", Head{Method: "GET", Target: "/x?y", Host: "a.test", Minor: 1}},
		"absolute-form, no path":   {"GET http://a.test?y HTTP/1.1\r\nHost: a.test\r\n\r\n", Head{Method: "GET", Target: "/?y", Host: "a.test", Minor: 1}},
		"OPTIONS for the server":   {"OPTIONS http://a.test HTTP/1.1\r\nHost: a.test\r\n\r\n", Head{Method: "OPTIONS", Target: "*", Host: "a.test", Minor: 1}},
		"a method of one's own":    {"PURGE-It! / HTTP/1.1\r\nHost: a.test\r\n\r\n", Head{Method: "PURGE-It!", Target: "/", Host: "a.test", Minor: 1}},
		"HTTP/1.0":                 {"GET / HTTP/1.0\r\n\r\n", Head{Method: "GET", Target: "/", Last: true}},
		"HTTP/1.0 with keep-alive": {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", Head{Method: "GET", Target: "/"}},
		"close in a list":          {get + "Connection: x, CLOSE\r\n\r\n", Head{Method: "GET", Target: "/", Host: "a.test", Minor: 1, Last: true}},
		"Content-Length":           {get + "Content-Length: 007\r\n\r\n", Head{Method: "GET", Target: "/", Host: "a.test", Minor: 1, Length: 7}},
		"chunked":                  {get + "Transfer-Encoding: Chunked\r\n\r\n", Head{Method: "GET", Target: "/", Host: "a.test", Minor: 1, Length: -1}},
		"WebSocket":                {get + "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\n", Head{Method: "GET", Target: "/", Host: "a.test", Minor: 1, Upgrade: "websocket"}},
		"WebSocket without asking": {get + "Upgrade: websocket\r\n\r\n", Head{Method: "GET", Target: "/", Host: "a.test", Minor: 1}},
		"h2c":                      {get + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n", Head{Method: "GET", Target: "/", Host: "a.test", Minor: 1}},
		"7 KB of cookies":          {get + "Cookie: " + long + "\r\n\r\n", Head{Method: "GET", Target: "/", Host: "a.test", Minor: 1}},
		"tabs and 8-bit in values": {get + "X:\t\xe9 \t\xff\t\r\n\r\n", Head{Method: "GET", Target: "/", Host: "a.test", Minor: 1}},
	} {
		for _, piece := range []int{1, 64 << 10} {
			t.Run(fmt.Sprintf("%s/%d", name, piece), func(t *testing.T) {
				_, c := play([]byte(tc.in), piece, Limits{})
				h, err := nextHead(t, c)
				if err != nil || h.Refused != nil {
					t.Fatal(err, h)
				}
				var raw bytes.Buffer
				for _, f := range h.Fields {
					fmt.Fprintf(&raw, "%s: %s\n", f.Name, f.Value)
				}
				if want := fieldLines(tc.in); raw.String() != want {
					t.Errorf("fields %q, want %q", raw.String(), want)
				}
				got := *h
				if got.Begun.IsZero() {
					t.Error("nobody knows when it began")
				}
				got.Fields, got.Begun = nil, time.Time{}
				tc.want.Proto = fmt.Sprint("HTTP/1.", tc.want.Minor)
				if fmt.Sprint(got) != fmt.Sprint(tc.want) {
					t.Errorf("got %+v, want %+v", got, tc.want)
				}
			})
		}
	}
}

func fieldLines(in string) string {
	var out strings.Builder
	head, _, _ := strings.Cut(strings.TrimPrefix(in, "\r\n"), "\r\n\r\n")
	for i, line := range strings.Split(head, "\r\n") {
		if name, value, ok := strings.Cut(line, ":"); ok && i > 0 {
			fmt.Fprintf(&out, "%s: %s\n", name, strings.Trim(value, " \t"))
		}
	}
	return out.String()
}

// Of a refused request the log needs what was read of it, and no more.
func TestRefusedHeadsKeepWhatWasRead(t *testing.T) {
	long := "/" + strings.Repeat("a", 8<<10) // one more than is let in, so that the line is read to its end
	for name, tc := range map[string]struct {
		in   string
		want Head
	}{
		"target too long":         {"GET " + long + " HTTP/1.1\r\nHost: a.test\r\n\r\n", Head{Method: "GET", Target: long[:256], Proto: "HTTP/1.1"}},
		"target that never ends":  {"POST " + long + long, Head{Method: "POST", Target: long[:256]}},
		"target with a fragment":  {"GET /a#b HTTP/1.1\r\nHost: a.test\r\n\r\n", Head{Method: "GET", Target: "/a#b", Proto: "HTTP/1.1"}},
		"h2 preface":              {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Head{Method: "PRI", Target: "*", Proto: "HTTP/2.0"}},
		"HTTP/0.9":                {"GET /old\r\n\r\n", Head{Method: "GET", Target: "/old"}},
		"a version that is none":  {"GET / HTTP/1.10\r\n\r\n", Head{Method: "GET", Target: "/"}},
		"LF line ends":            {"GET /lf HTTP/1.1\nHost: a.test\n\n", Head{Method: "GET", Target: "/lf", Proto: "HTTP/1.1"}},
		"after an empty line":     {"\r\nGET /a#b HTTP/1.0\r\n\r\n", Head{Method: "GET", Target: "/a#b", Proto: "HTTP/1.0"}},
		"cut in the request line": {"GET /half", Head{Method: "GET", Target: "/half"}},
		"TLS":                     {"\x16\x03\x01\x02\x00\x01", Head{}},
		"method of 9,000 bytes":   {strings.Repeat("A", 9000) + " / HTTP/1.1\r\n\r\n", Head{}},
		"bad field after Host":    {get + "X A: b\r\n\r\n", Head{Method: "GET", Target: "/", Proto: "HTTP/1.1", Host: "a.test"}},
		"cut after Host":          {get + "X: y", Head{Method: "GET", Target: "/", Proto: "HTTP/1.1", Host: "a.test"}},
		"bad field before Host":   {"GET / HTTP/1.0\r\nX A: b\r\nHost: a.test\r\n\r\n", Head{Method: "GET", Target: "/", Proto: "HTTP/1.0"}},
		"a Host without end":      {"GET / HTTP/1.1\r\nHost: " + long + "\r\nX A: b\r\n\r\n", Head{Method: "GET", Target: "/", Proto: "HTTP/1.1", Host: long[:256]}},
	} {
		for _, piece := range []int{1, 64 << 10} {
			t.Run(fmt.Sprintf("%s/%d", name, piece), func(t *testing.T) {
				_, c := play([]byte(tc.in), piece, Limits{})
				h, err := nextHead(t, c)
				if err != nil || h.Refused == nil || h.Begun.IsZero() {
					t.Fatal(err, h)
				}
				got := Head{Method: h.Method, Target: h.Target, Host: h.Host, Proto: h.Proto}
				if fmt.Sprint(got) != fmt.Sprint(tc.want) {
					t.Errorf("got %+v, want %+v", got, tc.want)
				}
			})
		}
	}
}

// Counters are made of the codes: each refusal has its own.
func TestRefusalCodesAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for _, code := range RefusalCodes() {
		if code == "" || seen[code] {
			t.Errorf("code %q twice, or empty", code)
		}
		seen[code] = true
	}
	for _, r := range []*Refusal{errBareLF, errFraming, errHost, errHeadTime, errChunk, errBodySlow} {
		if !seen[r.Code] {
			t.Errorf("code %q is not among all", r.Code)
		}
	}
}
