package e2e

import (
	"fmt"
	"strings"
)

func requestLineCases() []strictCase {
	out := refused("400|405|414|431|501",
		[2]string{"a method with a colon", line("GE:T /x HTTP/1.1")},
		[2]string{"a method in quotes", line(`"GET" /x HTTP/1.1`)},
		[2]string{"a method with a slash", line("GET/x /x HTTP/1.1")},
		[2]string{"a method in UTF-8", line("G\u00c9T /x HTTP/1.1")},
		[2]string{"a method with NUL", line("GE\x00T /x HTTP/1.1")},
		[2]string{"no method", line(" /x HTTP/1.1")},
		[2]string{"a method of 100 KiB", line(strings.Repeat("G", 100<<10) + " /x HTTP/1.1")},
		[2]string{"a method of 300 bytes", line(strings.Repeat("G", 300) + " /x HTTP/1.1")},
		[2]string{"TRACE with a body", request("TRACE", "/x", "hello", "Content-Length: 5")},
		[2]string{"TRACE of a star", line("TRACE * HTTP/1.1")},
	)
	out = append(out, refused("400|505",
		[2]string{"no target", line("GET HTTP/1.1")},
		[2]string{"an empty target", line("GET  HTTP/1.1")},
		[2]string{"two targets", line("GET /x /y HTTP/1.1")},
		[2]string{"a tab between method and target", line("GET\t/x HTTP/1.1")},
		[2]string{"a tab before the version", line("GET /x\tHTTP/1.1")},
		[2]string{"two spaces before the target", line("GET  /x HTTP/1.1")},
		[2]string{"a tab behind the version", line("GET /x HTTP/1.1\t")},
		[2]string{"two versions", line("GET /x HTTP/1.1 HTTP/1.1")},
		[2]string{"a CR behind the version", line("GET /x HTTP/1.1\r")},
		[2]string{"version HTTP/1.", line("GET /x HTTP/1.")},
		[2]string{"version HTTP/.1", line("GET /x HTTP/.1")},
		[2]string{"version HTTP", line("GET /x HTTP")},
		[2]string{"version HTTP/11", line("GET /x HTTP/11")},
		[2]string{"version HTTP/1.01", line("GET /x HTTP/1.01")},
		[2]string{"version HTTP/1.-1", line("GET /x HTTP/1.-1")},
		[2]string{"version HTTP/1.\u0661", line("GET /x HTTP/1.\u0661")},
		[2]string{"version Http/1.1", line("GET /x Http/1.1")},
		[2]string{"version HTTP/1.1.1", line("GET /x HTTP/1.1.1")},
		[2]string{"version HTTP/1.1;x", line("GET /x HTTP/1.1;x")},
		[2]string{"version HTTP/0.0", line("GET /x HTTP/0.0")},
		[2]string{"version HTTP/0.9 with a body", "POST /x HTTP/0.9\r\nHost: edge.test\r\nContent-Length: 5\r\n\r\nhello"},
		[2]string{"version HTTP/1.9", line("GET /x HTTP/1.9")},
		[2]string{"version HTTP/2", line("GET /x HTTP/2")},
		[2]string{"version HTTP/10.0", line("GET /x HTTP/10.0")},
		[2]string{"version HTTP/65537.1", line("GET /x HTTP/65537.1")},
		[2]string{"version RTSP/1.0", line("OPTIONS /x RTSP/1.0")},
		[2]string{"version SIP/2.0", line("OPTIONS /x SIP/2.0")},
		[2]string{"an answer for a request", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
		[2]string{"HTTP/0.9 with a body behind", "GET /x\r\n\r\nhello"},
		[2]string{"a target with a space", line("GET /a b HTTP/1.1")},
		[2]string{"a relative target", line("GET x HTTP/1.1")},
		[2]string{"a target that is a query", line("GET ?x HTTP/1.1")},
		[2]string{"a target that is a backslash", line(`GET \x HTTP/1.1`)},
		[2]string{"a target of dots", line("GET ../x HTTP/1.1")},
		[2]string{"a fragment after a query", line("GET /x?y#z HTTP/1.1")},
		[2]string{"a fragment alone", line("GET /# HTTP/1.1")},
		[2]string{"NUL at the end of the target", line("GET /x\x00 HTTP/1.1")},
		[2]string{"ESC in the target", line("GET /x\x1b[31m HTTP/1.1")},
		[2]string{"an encoded NUL in the target", line("GET /x%00.html HTTP/1.1")},
		[2]string{"the HTTP/2 preface, whole", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"},
		[2]string{"memcached bytes", "stats\r\nquit\r\n\r\n"},
		[2]string{"a JSON document", "{\"method\":\"GET\"}\r\n\r\n"},
		[2]string{"FastCGI bytes", "\x01\x01\x00\x01\x00\x08\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\r\n\r\n"},
		[2]string{"a PROXY header of unknown", "PROXY UNKNOWN\r\n" + ask("/x")},
	)...)
	out = append(out, refused("414",
		[2]string{"a target of 8 KiB and one", line("GET /" + strings.Repeat("a", 8<<10) + " HTTP/1.1")},
		[2]string{"a query of 20 KiB", line("GET /?" + strings.Repeat("a", 20<<10) + " HTTP/1.1")},
		[2]string{"an absolute target of 20 KiB", line("GET http://edge.test/" + strings.Repeat("a", 20<<10) + " HTTP/1.1")},
	)...)
	for _, target := range []string{
		"/a%2Fb", "/a%2f..%2fb", "/%41", "/a//b///c", "/a;b=c/d", "/a%252e%252e/b", "/q?", "/q?&", "/q?a=b?c", "/..", "/../../x", "/%2e%2e/x", "/a/./b", "/a%5cb", "/a+b", "/~x", "/a:b@c!$&'()*,;=", "/x?u=%0d%0aSet-Cookie:a",
		"/x?a[]=1", "/x?a=b;c", "/" + strings.Repeat("a/", 3000), "/:80", "/*", "/x%20y",
	} {
		open := strings.ContainsAny(target, "[]\\") || strings.Contains(target, "..")
		out = append(out, strictCase{name: fmt.Sprintf("target %.40s as sent", target), raw: ask(target), answers: "200", seen: "A GET " + target, open: open})
	}
	for _, target := range []string{"/a\\b", "/a^b", "/a\"b", "/a>b", "/a}b", "/\u00e9", "/x?\xff", "/%", "/%4", "/%g1", "/%u0041"} {
		out = append(out, strictCase{name: fmt.Sprintf("odd target %q as sent or refused", target), raw: ask(target), answers: "200", seen: "A GET " + target, open: true})
	}
	return append(out,
		strictCase{name: "a target of 8,000 bytes", raw: ask("/" + strings.Repeat("a", 7999)), answers: "200", seen: "A GET /" + strings.Repeat("a", 7999)},
		strictCase{name: "a method of tokens' odd characters", raw: line("M!#$%&'*+-.^_`|~ /x HTTP/1.1"), answers: "200", seen: "A M!#$%&'*+-.^_`|~ /x", open: true},
		strictCase{name: "PROPFIND", raw: line("PROPFIND /x HTTP/1.1"), answers: "200", seen: "A PROPFIND /x"},
		strictCase{name: "OPTIONS of a path", raw: line("OPTIONS /x HTTP/1.1"), answers: "200", seen: "A OPTIONS /x"},
		strictCase{name: "HTTP/1.0 is sent on as 1.1 and closed", raw: "GET /x HTTP/1.0\r\nHost: edge.test\r\n\r\n", answers: "200", seen: "A GET /x", closes: true},
		strictCase{name: "version HTTP/1.2 is no 1.3", raw: line("GET /x HTTP/1.2"), answers: "400|505"},
	)
}

func hopCases() []strictCase {
	var out []strictCase
	drop := func(name string, lacks string, fields ...string) {
		out = append(out, strictCase{name: name, raw: ask("/x", fields...), answers: "200", seen: "A GET /x", lacks: strings.Split(lacks, ","), open: true})
	}
	drop("a listed field in other case", "\r\nx-foo", "Connection: X-FOO", "x-Foo: a")
	drop("a listed field before the list", "\r\nx-foo", "X-Foo: a", "Connection: x-foo")
	drop("a listed field twice", "\r\nx-foo", "X-Foo: a", "X-Foo: b", "Connection: x-foo")
	drop("a list with empty members", "\r\nx-foo,\r\nx-bar", "X-Foo: a", "X-Bar: b", "Connection: ,, x-foo ,\t, x-bar,")
	drop("a list of a hundred", "\r\nx-f99", "X-F99: a", "Connection: "+strings.Repeat("a, ", 99)+"x-f99")
	drop("Connection lists Cookie", "\r\ncookie", "Cookie: a=b", "Connection: cookie")
	drop("Connection lists Authorization", "\r\nauthorization", "Authorization: Basic eDp5", "Connection: authorization")
	drop("Proxy-Authenticate", "\r\nproxy-authenticate", "Proxy-Authenticate: Basic")
	drop("Proxy-Connection alone", "\r\nproxy-connection", "Proxy-Connection: keep-alive")
	drop("TE with trailers and more", "gzip", "TE: trailers, gzip;q=0.5", "Connection: TE")
	drop("h2c upgrade, in full", "h2c,http2-settings", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
	drop("h2c upgrade, without Connection", "h2c,http2-settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
	drop("h2c upgrade in odd case", "h2c", "connection: uPGRADE", "upgrade: H2C")
	drop("h2c behind websocket", "h2c", "Connection: Upgrade", "Upgrade: websocket, h2c")
	drop("TLS upgrade", "tls/1.0", "Connection: Upgrade", "Upgrade: TLS/1.0, HTTP/1.1")
	drop("WebSocket without Connection", "\r\nupgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
	drop("Upgrade of an unknown protocol", "\r\nupgrade", "Connection: Upgrade", "Upgrade: evil/1")
	drop("Connection twice", "x-foo,x-bar", "Connection: x-foo", "X-Foo: a", "Connection: x-bar", "X-Bar: b")
	keep := func(name, has string, fields ...string) {
		out = append(out, strictCase{name: name, raw: ask("/x", fields...), answers: "200", seen: "A GET /x", has: []string{has}, open: true})
	}
	keep("Connection lists Host", "Host: edge.test", "Connection: host")
	keep("Connection lists X-Forwarded-For", "X-Forwarded-For: 127.0.0.1", "Connection: x-forwarded-for, keep-alive")
	keep("Connection lists X-Forwarded-Host", "X-Forwarded-Host: edge.test", "Connection: x-forwarded-host")
	keep("Connection lists what is not there", "X-A: b", "Connection: x-none", "X-A: b")
	return append(out,
		strictCase{name: "Connection lists Content-Length", raw: request("POST", "/x", "hello", "Connection: content-length", "Content-Length: 5") + ask("/y"), answers: "200 200", seen: "A POST /x hello; A GET /y", open: true},
		strictCase{name: "Connection lists Transfer-Encoding", raw: request("POST", "/x", chunkedHello, "Connection: transfer-encoding", "Transfer-Encoding: chunked") + ask("/y"), answers: "200 200", seen: "A POST /x hello; A GET /y", open: true},
		strictCase{name: "close among other members", raw: ask("/x", "Connection: x-foo, CLOSE") + ask("/hidden"), answers: "200", seen: "A GET /x", closes: true},
		strictCase{name: "close on a second Connection line", raw: ask("/x", "Connection: keep-alive", "Connection: close") + ask("/hidden"), answers: "200", seen: "A GET /x", closes: true},
		strictCase{name: "Keep-Alive says nothing to us", raw: ask("/x", "Keep-Alive: timeout=0, max=0") + ask("/y"), answers: "200 200", seen: "A GET /x; A GET /y", lacks: []string{"\r\nkeep-alive"}},
		strictCase{name: "bytes behind an upgrade that is refused are requests", raw: ask("/x", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==") + ask("/y"), answers: "200 200", seen: "A GET /x; A GET /y", open: true},
	)
}

func identityCases() []strictCase {
	var out []strictCase
	for _, f := range []string{
		"X-Forwarded-For: 127.0.0.1, 6.6.6.6", "x-FORWARDED-host: evil.test", "X-FORWARDED-PROTO: gopher", "X-Forwarded-Protocol: gopher", "X-Forwarded-Ssl: evil", "X-Forwarded-Scheme: gopher", "X-Forwarded-Prefix: /evil",
		"X-Forwarded-By: 6.6.6.6", "X-Forwarded-User: evil", "X-Forwarded-Client-Cert: evil", "X-Forwarded-Anything: evil", "x-real-ip: 6.6.6.6", "X-Client-IP: 6.6.6.6", "True-Client-IP: 6.6.6.6", "cf-connecting-ip: 6.6.6.6",
		"X-SSL-Cert: evil", "x-ssl-client-dn: CN=evil", "FORWARDED: for=\"[2001:db8::6]\"", "x-original-url: /evil", "X-REWRITE-URL: /evil", "PROXY: http://evil.test/", "X_FORWARDED_PROTO: gopher",
		"X-Forwarded_For: 6.6.6.6", "X.Real.IP: 6.6.6.6", "True_Client_IP: 6.6.6.6", "CF_Connecting_IP: 6.6.6.6",
	} {
		name, _, _ := strings.Cut(f, ":")
		out = append(out, strictCase{
			name: "a client's own " + name, raw: ask("/x", f), answers: "200", seen: "A GET /x",
			has: []string{"X-Forwarded-For: 127.0.0.1", "X-Forwarded-Host: edge.test", "X-Real-IP: 127.0.0.1"}, lacks: []string{"6.6.6.6", "evil", "gopher", "2001:db8"},
		})
	}
	return append(out,
		strictCase{name: "a client's own X-Request-Id", raw: ask("/x", "X-Request-Id: forged"), answers: "200", seen: "A GET /x", lacks: []string{"forged"}},
		strictCase{name: "an identity listed in Connection", raw: ask("/x", "Connection: x-real-ip, x-forwarded-proto", "X-Real-IP: 6.6.6.6"), answers: "200", seen: "A GET /x", has: []string{"X-Real-IP: 127.0.0.1"}, lacks: []string{"6.6.6.6"}, open: true},
	)
}

// sequenceCases are about more than one request: Expect, ranges, pipelines.
func sequenceCases() []strictCase {
	out := refused("400|417",
		[2]string{"Expect: an unknown expectation", request("POST", "/x", "hello", "Expect: 200-ok", "Content-Length: 5")},
		[2]string{"Expect: 100-continue and another", request("POST", "/x", "hello", "Expect: 100-continue, x=y", "Content-Length: 5")},
		[2]string{"Expect: with a parameter", request("POST", "/x", "hello", "Expect: 100-continue;q=1", "Content-Length: 5")},
		[2]string{"Expect twice, differently", request("POST", "/x", "hello", "Expect: 100-continue", "Expect: x", "Content-Length: 5")},
	)
	bad := []string{"POST / HTTP/1.1\r\nHost: edge.test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\r\n\r\n"}
	for i, b := range bad {
		out = append(out, strictCase{name: fmt.Sprintf("pipelined: two good, then bad number %d", i+1), raw: ask("/x") + ask("/y") + b + hidden, answers: "200 200 400", seen: "A GET /x; A GET /y"})
	}
	pass := func(name, raw, answers, seen string) {
		out = append(out, strictCase{name: name, raw: raw, answers: answers, seen: seen})
	}
	pass("pipelined: chunked, length, none", inChunks(chunkedHello)+request("PUT", "/y", "abc", "Content-Length: 3")+ask("/z"), "200 200 200", "A POST /x hello; A PUT /y abc; A GET /z")
	pass("pipelined: empty chunked bodies", inChunks("0\r\n\r\n")+inChunks("0\r\n\r\n")+ask("/z"), "200 200 200", "A POST /x; A POST /x; A GET /z")
	pass("pipelined behind a 404 with a body", "POST /x HTTP/1.1\r\nHost: nobody.test\r\nContent-Length: 5\r\n\r\nhello"+ask("/y"), "404|421 200", "A GET /y")
	pass("pipelined behind a 404 with a chunked body", "POST /x HTTP/1.1\r\nHost: nobody.test\r\nTransfer-Encoding: chunked\r\n\r\n"+chunkedHello+ask("/y"), "404|421 200", "A GET /y")
	pass("a Range is sent on", ask("/x", "Range: bytes=0-0"), "200", "A GET /x")
	pass("an unknown range unit is sent on", ask("/x", "Range: lines=1-2"), "200", "A GET /x")
	pass("Expect on a body that comes at once", request("POST", "/x", "hello", "Expect: 100-continue", "Content-Length: 5")+ask("/y"), "200 200", "A POST /x hello; A GET /y")
	pass("Expect with a request behind an empty body", request("POST", "/x", "", "Expect: 100-continue", "Content-Length: 0")+ask("/y"), "200 200", "A POST /x; A GET /y")
	for i := range out {
		out[i].open = out[i].open || strings.HasPrefix(out[i].name, "Expect with a request")
	}
	return append(out,
		strictCase{name: "HEAD, then GET", raw: request("HEAD", "/x", "") + ask("/y"), answers: "200 200", methods: "HEAD GET", seen: "A HEAD /x; A GET /y"},
		strictCase{name: "HEAD with a chunked body, then GET", raw: request("HEAD", "/x", chunkedHello, "Transfer-Encoding: chunked") + ask("/y"), answers: "200 200", methods: "HEAD GET", seen: "A HEAD /x hello; A GET /y", open: true},
		strictCase{name: "HTTP/1.0, then another that must not be read", raw: "GET /x HTTP/1.0\r\nHost: edge.test\r\n\r\n" + hidden, answers: "200", seen: "A GET /x", closes: true},
		strictCase{name: "a POST whose last byte never comes, then silence", raw: request("POST", "/x", "hell", "Content-Length: 5"), answers: "400|408", end: true},
		strictCase{name: "a request per site on one connection", raw: ask("/x") + "GET /y HTTP/1.1\r\nHost: other.test\r\n\r\n", answers: "200 200", seen: "A GET /x; B GET /y", plain: true},
		strictCase{name: "fifty pipelined", raw: strings.Repeat(ask("/x"), 50), answers: strings.TrimSpace(strings.Repeat("200 ", 50)), seen: strings.TrimSuffix(strings.Repeat("A GET /x; ", 50), "; ")},
	)
}
