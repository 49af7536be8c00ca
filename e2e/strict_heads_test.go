package e2e

import (
	"fmt"
	"strings"
)

// line is a request whose first line is given whole.
func line(first string) string { return first + "\r\nHost: edge.test\r\n\r\n" }

func lineCases() []strictCase {
	out := refused("400",
		[2]string{"bare LF after the last field", "GET /x HTTP/1.1\r\nHost: edge.test\nX-A: b\r\n\r\n"},
		[2]string{"bare LF for the empty line", "GET /x HTTP/1.1\r\nHost: edge.test\r\n\n" + hidden},
		[2]string{"LF CR LF at the end", "GET /x HTTP/1.1\r\nHost: edge.test\n\r\n" + hidden},
		[2]string{"CR CR LF at the end", "GET /x HTTP/1.1\r\nHost: edge.test\r\r\n\r\n"},
		[2]string{"a bare LF before the request line", "\nGET /x HTTP/1.1\r\nHost: edge.test\r\n\r\n"},
		[2]string{"a bare CR before the request line", "\rGET /x HTTP/1.1\r\nHost: edge.test\r\n\r\n"},
		[2]string{"a space before the request line", " GET /x HTTP/1.1\r\nHost: edge.test\r\n\r\n"},
		[2]string{"a tab before the request line", "\tGET /x HTTP/1.1\r\nHost: edge.test\r\n\r\n"},
		[2]string{"NUL before the request line", "\x00GET /x HTTP/1.1\r\nHost: edge.test\r\n\r\n"},
		[2]string{"a byte order mark", "\xef\xbb\xbfGET /x HTTP/1.1\r\nHost: edge.test\r\n\r\n"},
		[2]string{"bare CR in a value", ask("/x", "X-A: b\rc")},
		[2]string{"bare CR before a field", ask("/x", "\rX-A: b")},
		[2]string{"SOH in a value", ask("/x", "X-A: \x01")},
		[2]string{"BS in a value", ask("/x", "X-A: b\bc")},
		[2]string{"VT in a value", ask("/x", "X-A: b\vc")},
		[2]string{"US in a value", ask("/x", "X-A: \x1f")},
		[2]string{"DEL in a name", ask("/x", "X\x7fA: b")},
		[2]string{"a control character in a name", ask("/x", "X\x02A: b")},
		[2]string{"VT before the colon", ask("/x", "X-A\v: b")},
		[2]string{"folded first field", "GET /x HTTP/1.1\r\n folded: yes\r\nHost: edge.test\r\n\r\n"},
		[2]string{"a tab before the first field", "GET /x HTTP/1.1\r\n\tX-A: b\r\nHost: edge.test\r\n\r\n"},
		[2]string{"a name on one line and its value folded", ask("/x", "X-A:", " b")},
		[2]string{"a fold of only a tab", ask("/x", "X-A: b", "\t")},
		[2]string{"a fold after the last field", ask("/x", "X-A: b", " ")},
		[2]string{"a fold with a hidden head end", ask("/x", "X-A: b", " ", " ", " c")},
		[2]string{"bare LF everywhere, with a body", "POST /x HTTP/1.1\nHost: edge.test\nContent-Length: 5\n\nhello"},
		[2]string{"LF in the target", line("GET /x\ny HTTP/1.1")},
		[2]string{"VT in the request line", line("GET\v/x\vHTTP/1.1")},
		[2]string{"FF in the request line", line("GET\f/x HTTP/1.1")},
	)
	return append(out,
		strictCase{name: "NEL in a value is obs-text", raw: ask("/x", "X-A: b\x85c"), answers: "200", seen: "A GET /x", has: []string{"X-A: b\x85c"}, open: true},
		strictCase{name: "an empty value", raw: ask("/x", "X-A:"), answers: "200", seen: "A GET /x", has: []string{"X-A: "}},
		strictCase{name: "blanks at both ends of a value go", raw: ask("/x", "X-A: \t b  c \t"), answers: "200", seen: "A GET /x", has: []string{"X-A: b  c"}},
		strictCase{name: "one empty line between two requests", raw: ask("/x") + "\r\n" + ask("/y"), answers: "200 200", seen: "A GET /x; A GET /y"},
		strictCase{name: "one empty line after a body", raw: request("POST", "/x", "hello", "Content-Length: 5") + "\r\n" + ask("/y"), answers: "200 200", seen: "A POST /x hello; A GET /y"},
		strictCase{name: "cut in the request line", raw: "GET /x HT", answers: "400|408", end: true},
		strictCase{name: "cut before the empty line", raw: "GET /x HTTP/1.1\r\nHost: edge.test\r\n", answers: "400|408", end: true},
		strictCase{name: "cut inside the empty line", raw: "GET /x HTTP/1.1\r\nHost: edge.test\r\n\r", answers: "400|408", end: true},
	)
}

func fieldCases() []strictCase {
	var out []strictCase
	for _, c := range `()/[]{}` {
		out = append(out, refused("400", [2]string{fmt.Sprintf("field name with %q", c), ask("/x", fmt.Sprintf("X%cA: b", c))})...)
	}
	for _, c := range "!#$%&'*+-.^`|~" {
		// Legal by RFC 9110 §5.6.2; those that CGI reads as another name may be dropped.
		out = append(out, strictCase{name: fmt.Sprintf("field name with %q is a token", c), raw: ask("/x", fmt.Sprintf("X%cA: b", c)), answers: "200", seen: "A GET /x"})
	}
	out = append(out, refused("400",
		[2]string{"a space before the colon", ask("/x", "X-A : b")},
		[2]string{"a space inside a name", ask("/x", "X A: b")},
		[2]string{"a line without a colon", ask("/x", "nonsense")},
		[2]string{"a line of only a colon", ask("/x", ":")},
		[2]string{"a line that is a request line", ask("/x", "GET /hidden HTTP/1.1")},
		[2]string{"a UTF-8 name", ask("/x", "X-\u00e9: b")},
		[2]string{"a full-width colon", ask("/x", "X-A\uff1a b")},
		[2]string{"a non-breaking space before the colon", ask("/x", "X-A\u00a0: b")},
		[2]string{"a name in quotes", ask("/x", `"X-A": b`)},
		[2]string{"a pseudo-field of HTTP/2", ask("/x", ":path: /hidden")},
		[2]string{"Host with a NUL behind its name", "GET /x HTTP/1.1\r\nHost: edge.test\r\nHost\x00: other.test\r\n\r\n"},
	)...)
	out = append(out, refused("431",
		[2]string{"101 fields", ask("/x", strings.Split(strings.Repeat("X-A: b,", 100), ",")[:100]...)},
		[2]string{"a field of 33 KiB", ask("/x", "X-A: "+strings.Repeat("b", 33<<10))},
		[2]string{"1,600 cookie fields", ask("/x", strings.Split(strings.Repeat("Cookie: a,", 1600), ",")[:1600]...)},
		[2]string{"a name of 40 KiB", ask("/x", strings.Repeat("X", 40<<10)+": b")},
		[2]string{"a head of 40 KiB that does not end", "GET /x HTTP/1.1\r\nHost: edge.test\r\nX-A: " + strings.Repeat("b", 40<<10)},
	)...)
	return append(out,
		strictCase{name: "100 fields", raw: ask("/x", strings.Split(strings.Repeat("X-A: b,", 99), ",")[:99]...), answers: "200", seen: "A GET /x"},
		strictCase{name: "a field of 24 KiB", raw: ask("/x", "X-A: "+strings.Repeat("b", 24<<10)), answers: "200", seen: "A GET /x"},
		strictCase{name: "underscore identities are dropped", raw: ask("/x", "X_Real_IP: 6.6.6.6", "Content_Type: a", "X_Request_Id: b"), answers: "200", seen: "A GET /x", lacks: []string{"x_real_ip", "content_type", "x_request_id"}, open: true},
		strictCase{name: "Transfer_Encoding and Content_Length frame nothing", raw: ask("/x", "Transfer_Encoding: chunked", "Content_Length: 44") + ask("/y"), answers: "200 200", seen: "A GET /x; A GET /y", lacks: []string{"transfer_encoding", "content_length"}, open: true},
		strictCase{name: "Host_ is no Host", raw: ask("/x", "Host_: other.test"), answers: "200", seen: "A GET /x", lacks: []string{"other.test"}, open: true},
		strictCase{name: "encoded CRLF in a value stays encoded", raw: ask("/x", "X-A: b%0d%0aX-C: d"), answers: "200", seen: "A GET /x", has: []string{"X-A: b%0d%0aX-C: d"}},
		strictCase{name: "two cookie fields stay in order", raw: ask("/x", "Cookie: a=1", "Cookie: b=2"), answers: "200", seen: "A GET /x"},
	)
}

func hostCases() []strictCase {
	host := func(h string) string { return "GET /x HTTP/1.1\r\nHost: " + h + "\r\n\r\n" }
	var out []strictCase
	for _, h := range []string{
		"edge.test#x", `edge.test\x`, "edge.test;x", "edge.test:80 ", "edge.test :80", "edge.test:+80", "edge.test:-1", "edge.test:0x50", "edge.test:80,other.test", "edge.test@", "@edge.test", ":80",
		"[::1", "::1", "[edge.test]:80", "[::1%25eth0]", "[v1.x]", "edge..test", ".edge.test", "edge.test..", "edge.test|", "edge.test`", "{edge.test}", "edge.test'", "(edge.test)", "edge.test&",
		"edge.test\x01", "edge.test\x7f", "edge.test\v", "edge.test other.test", "edge.test\tother.test", "https://edge.test/", "//edge.test", "edge.test/", "edge.test?", "edge.test%2eevil", "edge%00.test", "edge.test\u3002x",
		"*", "*.test", "edge.test:65536", "edge.test:00000000000000000080", "-", "_", "edge_.test", strings.Repeat("a", 64) + ".test", strings.Repeat("a.", 130) + "test",
	} {
		statuses := "400|404|421"
		name := fmt.Sprintf("Host: %.30q", h)
		c := strictCase{name: name, raw: host(h), answers: statuses, closes: false}
		if h == "edge.test:80 " || h == "edge.test:00000000000000000080" { // a blank behind is no part of the value; digits are legal
			c.answers, c.seen, c.open = "200", "A GET /x", true
		}
		out = append(out, c)
	}
	out = append(out, refused("400",
		[2]string{"Host twice, the second empty", "GET /x HTTP/1.1\r\nHost: edge.test\r\nHost:\r\n\r\n"},
		[2]string{"Host twice in HTTP/1.0", "GET /x HTTP/1.0\r\nHost: edge.test\r\nHost: other.test\r\n\r\n"},
		[2]string{"Host three times", "GET /x HTTP/1.1\r\nHost: edge.test\r\nhost: edge.test\r\nHOST: edge.test\r\n\r\n"},
		[2]string{"Host with a space before the colon, alone", "GET /x HTTP/1.1\r\nHost : edge.test\r\n\r\n"},
		[2]string{"Host folded", "GET /x HTTP/1.1\r\nHost:\r\n edge.test\r\n\r\n"},
		[2]string{"Host only in the absolute target", "GET http://edge.test/x HTTP/1.1\r\nX-A: b\r\n\r\n"},
		[2]string{"absolute target with another port", "GET http://edge.test:81/x HTTP/1.1\r\nHost: edge.test:82\r\n\r\n"},
		[2]string{"absolute target with a host that is empty", "GET http://:80/x HTTP/1.1\r\nHost: edge.test\r\n\r\n"},
		[2]string{"absolute target with a password", "GET http://a:b@edge.test/x HTTP/1.1\r\nHost: edge.test\r\n\r\n"},
		[2]string{"absolute target of ftp", "GET ftp://edge.test/x HTTP/1.1\r\nHost: edge.test\r\n\r\n"},
		[2]string{"absolute target of file", "GET file:///etc/passwd HTTP/1.1\r\nHost: edge.test\r\n\r\n"},
		[2]string{"absolute target of ws", "GET ws://edge.test/x HTTP/1.1\r\nHost: edge.test\r\n\r\n"},
		[2]string{"absolute target of javascript", "GET javascript:alert(1) HTTP/1.1\r\nHost: edge.test\r\n\r\n"},
		[2]string{"absolute target with one slash", "GET http:/edge.test/x HTTP/1.1\r\nHost: edge.test\r\n\r\n"},
		[2]string{"absolute target with three slashes", "GET http:///edge.test/x HTTP/1.1\r\nHost: edge.test\r\n\r\n"},
		[2]string{"absolute target without slashes", "GET http:edge.test/x HTTP/1.1\r\nHost: edge.test\r\n\r\n"},
		[2]string{"absolute target with a fragment", "GET http://edge.test/x#y HTTP/1.1\r\nHost: edge.test\r\n\r\n"},
		[2]string{"absolute target with a backslash in the host", `GET http://edge.test\@other.test/x HTTP/1.1` + "\r\nHost: edge.test\r\n\r\n"},
		[2]string{"absolute target that disagrees, in HTTP/1.0", "GET http://other.test/x HTTP/1.0\r\nHost: edge.test\r\n\r\n"},
		[2]string{"authority as target of a GET", "GET edge.test:80 HTTP/1.1\r\nHost: edge.test\r\n\r\n"},
		[2]string{"a star and a query", line("OPTIONS *?x HTTP/1.1")},
		[2]string{"a star of POST", line("POST * HTTP/1.1")},
	)...)
	out = append(out, refused("400|405",
		[2]string{"CONNECT to the metadata service", "CONNECT 169.254.169.254:80 HTTP/1.1\r\nHost: 169.254.169.254:80\r\n\r\n"},
		[2]string{"CONNECT with a length", "CONNECT edge.test:443 HTTP/1.1\r\nHost: edge.test:443\r\nContent-Length: 5\r\n\r\nhello"},
		[2]string{"CONNECT by an absolute target", "CONNECT http://edge.test/ HTTP/1.1\r\nHost: edge.test\r\n\r\n"},
		[2]string{"CONNECT to port 0", "CONNECT edge.test:0 HTTP/1.1\r\nHost: edge.test:0\r\n\r\n"},
	)...)
	pass := func(name, raw, seen string, lines ...string) {
		out = append(out, strictCase{name: name, raw: raw, answers: "200", seen: seen, has: lines})
	}
	pass("Host in capitals", host("EDGE.TEST"), "A GET /x")
	pass("Host with a trailing dot", host("edge.test."), "A GET /x")
	pass("Host with a dot and a port", host("Edge.Test.:8080"), "A GET /x")
	pass("Host with an empty port", host("edge.test:"), "A GET /x")
	pass("Host with port 80", host("edge.test:80"), "A GET /x")
	pass("Host as the last of the fields", "GET /x HTTP/1.1\r\nX-A: b\r\nhost:edge.test\r\n\r\n", "A GET /x")
	pass("absolute target in capitals", "GET HTTP://EDGE.TEST/x HTTP/1.1\r\nHost: edge.test\r\n\r\n", "A GET /x")
	pass("absolute target, an encoded slash stays", "GET http://edge.test/a%2Fb HTTP/1.1\r\nHost: edge.test\r\n\r\n", "A GET /a%2Fb")
	pass("absolute target of other.test", "GET http://other.test/x HTTP/1.1\r\nHost: other.test\r\n\r\n", "B GET /x")
	pass("a scheme in the path", ask("/http://other.test/x"), "A GET /http://other.test/x")
	pass("three slashes are a path", ask("///other.test/x"), "A GET ///other.test/x")
	pass("userinfo in a path of two slashes", ask("//other.test@edge.test/x"), "A GET //other.test@edge.test/x")
	pass("an absolute URL in the query", ask("/x?u=http://other.test/"), "A GET /x?u=http://other.test/")
	for i := range out {
		if out[i].name == "absolute target in capitals" || strings.HasPrefix(out[i].name, "absolute target of other") || strings.Contains(out[i].name, "encoded slash stays") || out[i].name == "Host with an empty port" {
			out[i].open = true
		}
	}
	return append(out,
		strictCase{name: "a star of HEAD", raw: line("HEAD * HTTP/1.1"), answers: "400", methods: "HEAD"},
		strictCase{name: "HTTP/1.0 without Host reaches nobody", raw: "GET /x HTTP/1.0\r\n\r\n", answers: "400|404|421", closes: true},
		strictCase{name: "X-Forwarded-Host chooses no site", raw: ask("/x", "X-Forwarded-Host: other.test", "X-Host: other.test", "Forwarded: host=other.test"), answers: "200", seen: "A GET /x"},
	)
}
