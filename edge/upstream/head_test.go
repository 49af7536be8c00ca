package upstream

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestMalformedHeadsAreRefused(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for name, answer := range map[string]string{
		"status 99":            "HTTP/1.1 99 X\r\n\r\n",
		"status 000":           "HTTP/1.1 000 X\r\n\r\n",
		"status 600":           "HTTP/1.1 600 X\r\nContent-Length: 0\r\n\r\n",
		"status 999":           "HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n",
		"status 2x0":           "HTTP/1.1 2x0 X\r\n\r\n",
		"status 2000":          "HTTP/1.1 2000 X\r\n\r\n",
		"status with sign":     "HTTP/1.1 +20 X\r\n\r\n",
		"two spaces":           "HTTP/1.1  200 X\r\n\r\n",
		"tab":                  "HTTP/1.1\t200 X\r\n\r\n",
		"HTTP/2.0":             "HTTP/2.0 200 OK\r\n\r\n",
		"HTTP/1.2":             "HTTP/1.2 200 OK\r\n\r\n",
		"lower case":           "http/1.1 200 OK\r\n\r\n",
		"HTTP/0.9":             "<html>ok</html>",
		"garbage":              "\x00\x01\x02garbage",
		"leading CRLF":         "\r\n" + ok + "\r\n",
		"CTL in the reason":    "HTTP/1.1 200 O\x01K\r\n\r\n",
		"bare LF":              "HTTP/1.1 200 OK\nX: y\r\n\r\n",
		"LF ends the head":     ok + "X: y\n\n",
		"LF in a value":        ok + "X-A: b\nSet-Cookie: inj=1\r\n\r\n",
		"CR in a value":        ok + "X-A: b\rX-Inj: 1\r\n\r\n",
		"NUL in a value":       ok + "X-A: b\x00c\r\n\r\n",
		"DEL in a value":       ok + "X-A: long enough \x7f for the fast path\r\n\r\n",
		"space in a name":      ok + "X A: b\r\n\r\n",
		"space before colon":   ok + "Content-Length : 2\r\n\r\n",
		"no colon":             ok + "nonsense\r\n\r\n",
		"no name":              ok + ": x\r\n\r\n",
		"8-bit name":           ok + "X\xe4: b\r\n\r\n",
		"fold":                 ok + "X-A: b\r\n c\r\n\r\n",
		"fold first":           ok + " X-A: b\r\n\r\n",
		"CL 2x":                ok + "Content-Length: 2x\r\n\r\n",
		"CL -1":                ok + "Content-Length: -1\r\n\r\n",
		"CL +2":                ok + "Content-Length: +2\r\n\r\n",
		"CL empty":             ok + "Content-Length:\r\n\r\n",
		"CL list":              ok + "Content-Length: 2, 2\r\n\r\n",
		"CL twice":             ok + "Content-Length: 2\r\ncontent-length: 2\r\n\r\n",
		"CL overflow":          ok + "Content-Length: 9999999999999999999\r\n\r\n",
		"CL and TE":            ok + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
		"TE and CL":            ok + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
		"TE gzip":              ok + "Transfer-Encoding: gzip\r\n\r\n",
		"TE identity":          ok + "Transfer-Encoding: identity\r\n\r\n",
		"TE list":              ok + "Transfer-Encoding: gzip, chunked\r\n\r\n",
		"TE parameter":         ok + "Transfer-Encoding: chunked;x\r\n\r\n",
		"TE empty":             ok + "Transfer-Encoding:\r\n\r\n",
		"TE twice":             ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
		"TE in HTTP/1.0":       "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		"CL 2x on 204":         "HTTP/1.1 204 No\r\nContent-Length: 2x\r\n\r\n",
		"101 not asked for":    "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
		"201 fields":           ok + strings.Repeat("X: y\r\n", 201) + "\r\n",
		"66 KB":                ok + strings.Repeat("X: "+strings.Repeat("v", 1000)+"\r\n", 66) + "\r\n",
		"one line without end": ok + "X: " + strings.Repeat("v", 70_000),
		"endless 1xx":          strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 40),
	} {
		t.Run(name, func(t *testing.T) {
			p := poolTo(t, answering(t, answer))
			resp, _, err := fetch(t, p, get("/"))
			if err == nil {
				t.Fatalf("accepted as %+v", resp)
			}
			if e := wantError(t, err, OpProtocol); !e.Sent || e.Timeout {
				t.Errorf("%+v", e)
			}
			if n := p.Stats(); n.Idle != 0 || n.Dials != 1 {
				t.Errorf("%+v after a malformed answer", n)
			}
		})
	}
}

func TestUpgradeAnswersThatAreNoUpgradeAreRefused(t *testing.T) {
	for _, fields := range []string{"", "Connection: upgrade\r\n", "Upgrade: websocket\r\n", "Connection: upgrade\r\nUpgrade: h2c\r\n"} {
		req := get("/")
		req.Upgrade = "websocket"
		_, _, err := fetch(t, poolTo(t, answering(t, "HTTP/1.1 101 S\r\n"+fields+"\r\n")), req)
		wantError(t, err, OpProtocol)
	}
}

func TestUnusualHeadsAreAccepted(t *testing.T) {
	for name, c := range map[string]struct {
		head, field, value string
	}{
		"no reason":         {head: "HTTP/1.1 200\r\n"},
		"empty reason":      {head: "HTTP/1.1 200 \r\n"},
		"8-bit reason":      {head: "HTTP/1.1 200 \xc4h\r\n"},
		"HTTP/1.0":          {head: "HTTP/1.0 200 OK\r\n"},
		"no space":          {"HTTP/1.1 200 OK\r\nX-A:b\r\n", "X-A", "b"},
		"spaces around":     {"HTTP/1.1 200 OK\r\nX-A: \t b c \t\r\n", "x-a", "b c"},
		"empty value":       {"HTTP/1.1 200 OK\r\nX-A:  \r\n", "X-A", ""},
		"tab inside":        {"HTTP/1.1 200 OK\r\nX-A: a\tb and some more\r\n", "X-A", "a\tb and some more"},
		"8-bit value":       {"HTTP/1.1 200 OK\r\nX-A: a\xff\x80b, long enough\r\n", "X-A", "a\xff\x80b, long enough"},
		"encoded CRLF":      {"HTTP/1.1 200 OK\r\nLocation: /a%0d%0aSet-Cookie:%20x=1\r\n", "Location", "/a%0d%0aSet-Cookie:%20x=1"},
		"40 KB":             {"HTTP/1.1 200 OK\r\n" + strings.Repeat("X: "+strings.Repeat("v", 1000)+"\r\n", 40) + "X-A: b\r\n", "X-A", "b"},
		"200 fields":        {"HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 198) + "X-A: b\r\n", "X-A", "b"},
		"quoted everything": {"HTTP/1.1 200 OK\r\nX-A: \"a\\\"b\";c=d\r\n", "X-A", "\"a\\\"b\";c=d"},
	} {
		p := poolTo(t, answering(t, c.head+"Content-Length: 2\r\n\r\nok"))
		resp := wantOK(t, p, get("/"))
		if got := resp.field(c.field); c.field != "" && (len(got) != 1 || got[0] != c.value) {
			t.Errorf("%s: field %q", name, got)
		}
	}
}

func TestHopByHopFieldsStayBehind(t *testing.T) {
	p := poolTo(t, answering(t, "HTTP/1.1 200 OK\r\n"+
		"Set-Cookie: a=1\r\nConnection: keep-alive, X-Listed,, upgrade\r\nKEEP-ALIVE: timeout=5\r\nx-listed: 1\r\nTE: x\r\nTrailer: x\r\n"+
		"Upgrade: h2,h2c\r\nProxy-Connection: x\r\nProxy-Authenticate: Basic\r\nConnection: cache-control\r\nCache-Control: private\r\n"+
		"Content-Length: 2\r\nSet-Cookie: a=2; Path=/x\r\n\r\nok"))
	resp := wantOK(t, p, get("/"))
	got := ""
	for _, f := range resp.Fields {
		got += fmt.Sprintf("%s: %s\n", f.Name, f.Value)
	}
	if want := "Set-Cookie: a=1\nCache-Control: private\nSet-Cookie: a=2; Path=/x\n"; got != want {
		t.Errorf("fields\n%swant\n%s", got, want)
	}
	if resp.ContentLength != 2 {
		t.Errorf("length %d", resp.ContentLength)
	}
}

func TestFieldsOutliveTheConnection(t *testing.T) {
	p := poolTo(t, answering(t, "HTTP/1.1 200 OK\r\nX-A: first\r\nContent-Length: 2\r\n\r\nok", strings.ReplaceAll(okAnswer, "\r\n\r\n", "\r\nX-A: other\r\n\r\n")))
	first := wantOK(t, p, get("/"))
	for range 10 {
		wantOK(t, p, get("/"))
	}
	if got := first.field("X-A"); len(got) != 1 || got[0] != "first" {
		t.Errorf("the first answer's field became %q", got)
	}
	_ = append(first.Fields[0].Value, "overwritten"...)
	if got := first.field("X-A"); got[0] != "first" {
		t.Error("appending to a value reached its neighbour")
	}
}

func TestCutBodiesFailVisibly(t *testing.T) {
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for name, answer := range map[string]string{
		"length":               "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
		"length, at once":      "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
		"inside a chunk":       chunked + "a\r\nhello",
		"after a chunk":        chunked + "5\r\nhello",
		"between chunks":       chunked + "5\r\nhello\r\n",
		"in a size":            chunked + "5\r\nhello\r\n5",
		"no last empty line":   chunked + "5\r\nhello\r\n0\r\n",
		"in the trailers":      chunked + "5\r\nhello\r\n0\r\nX: y\r\n",
		"before the first one": chunked,
	} {
		b := serve(t, func(s *session) { s.request(); s.say(answer) })
		_, _, err := fetch(t, poolTo(t, b), get("/"))
		if err != io.ErrUnexpectedEOF {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestMalformedChunksFail(t *testing.T) {
	for name, body := range map[string]string{
		"bad size":            "zz\r\nhello\r\n0\r\n\r\n",
		"bad size later":      "5\r\nhello\r\nzz\r\nhello\r\n0\r\n\r\n",
		"no size":             "\r\nhello\r\n0\r\n\r\n",
		"0x":                  "0x5\r\nhello\r\n0\r\n\r\n",
		"sign":                "+5\r\nhello\r\n0\r\n\r\n",
		"minus":               "-5\r\nhello\r\n0\r\n\r\n",
		"space before":        " 5\r\nhello\r\n0\r\n\r\n",
		"space after":         "5 \r\nhello\r\n0\r\n\r\n",
		"two sizes":           "5 5\r\nhello\r\n0\r\n\r\n",
		"overflow":            "10000000000000005\r\nhello\r\n0\r\n\r\n",
		"LF after size":       "5\nhello\r\n0\r\n\r\n",
		"LF after data":       "5\r\nhello\n0\r\n\r\n",
		"junk after data":     "5\r\nhelloX\r\n0\r\n\r\n",
		"CR junk after data":  "5\r\nhello\rX0\r\n\r\n",
		"LF at the end":       "5\r\nhello\r\n0\r\n\n",
		"LF in an extension":  "5;a\nb\r\nhello\r\n0\r\n\r\n",
		"CR in an extension":  "5;a\rb\r\nhello\r\n0\r\n\r\n",
		"NUL in an extension": "5;a\x00b\r\nhello\r\n0\r\n\r\n",
		"huge extension":      "5;" + strings.Repeat("a", 300) + "\r\nhello\r\n0\r\n\r\n",
		"endless size":        strings.Repeat("0", 1000),
		"trailer name":        "0\r\nX A: b\r\n\r\n",
		"trailer fold":        "0\r\nX: b\r\n c\r\n\r\n",
		"trailer value":       "0\r\nX: b\x00\r\n\r\n",
		"many trailers":       "0\r\n" + strings.Repeat("X: y\r\n", 100) + "\r\n",
		"large trailers":      "0\r\n" + strings.Repeat("X: "+strings.Repeat("y", 3000)+"\r\n", 3) + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			p := poolTo(t, answering(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+body))
			_, _, err := fetch(t, p, get("/"))
			wantError(t, err, OpProtocol)
			if n := p.Stats().Idle; n != 0 {
				t.Error("the connection was kept")
			}
		})
	}
}

func TestAResetInTheBodyIsNoEnd(t *testing.T) {
	b := serve(t, func(s *session) {
		s.readHead()
		s.say("HTTP/1.1 200 OK\r\n\r\nhalf")
		_, _ = s.br.Peek(1) // there is an unread byte, so that the close resets
	})
	req := post(strings.Repeat("x", smallBody))
	_, _, err := fetch(t, poolTo(t, b), req)
	var e *Error
	if !errors.As(err, &e) || e.Op != OpBody && e.Op != OpHead {
		t.Errorf("error %v", err)
	}
}
