package waf

import (
	"slices"
	"strings"

	"gatehouse/waf-rules/crstest"
)

// oddFields are such as clients send that are broken, or up to something.
var oddFields = [][2]string{
	{"Content-Type", ""}, {"Content-Type", "text/plain"}, {"Content-Type", "application/x-www-form-urlencoded; charset=utf-7"},
	{"Content-Type", "multipart/form-data"}, {"Content-Type", "multipart/form-data; boundary="}, {"Content-Type", "application/json, text/html"},
	{"Content-Type", "Application/JSON;charset=utf-8"}, {"Content-Type", "text/xml; charset=ISO-8859-1"}, {"Content-Type", "application/octet-stream"}, {"Content-Type", "x"},
	{"Content-Length", ""}, {"Content-Length", "abc"}, {"Content-Length", "-1"}, {"Content-Length", "00005"}, {"Content-Length", "5, 5"},
	{"Content-Length", "99999999999999999999"}, {"Content-Length", "0"},
	{"Transfer-Encoding", "chunked"}, {"Transfer-Encoding", "gzip, chunked"}, {"Transfer-Encoding", "identity"}, {"Transfer-Encoding", "\x0bchunked"}, {"transfer-encoding", "xchunked"},
	{"Content-Encoding", "gzip"}, {"Content-Encoding", "deflate, gzip, x"}, {"Accept", "text/html;q=999"}, {"Accept", "bad \" accept"}, {"Accept", ""},
	{"Accept-Encoding", "*, none"}, {"Accept-Charset", "utf-7"}, {"Connection", "keep-alive, close"}, {"Connection", "keep-alive, keep-alive"},
	{"Range", "bytes=0-1,2-3,4-5,6-7,8-9,10-11,12-13"}, {"Range", "bytes=9-1"}, {"Request-Range", "bytes=0-"}, {"If-Range", "x"},
	{"Proxy", "http://a.test"}, {"Lock-Token", "x"}, {"X-Original-Url", "/admin"}, {"X-Http-Method-Override", "PUT"}, {"X_Filename", "a.php"}, {"X.Filename", "shell.jsp"}, {"X-File-Name", "x.asp"},
	{"Content-Disposition", "attachment; filename=x.php"}, {"Upgrade", "websocket"}, {"Expect", "100-continue"}, {"Max-Forwards", "0"}, {"Translate", "f"}, {"Cache-Control", "x-bad"},
	{"Host", "192.0.2.1"}, {"Host", "localhost:8080"}, {"Host", "a b"}, {"Host", ""}, {"Host", "[::1]"}, {"User-Agent", ""}, {"User-Agent", "sqlmap/1.0"}, {"User-Agent", "nikto"},
	{"Authorization", "Basic Og=="}, {"Authorization", "Bearer a.b.c"}, {"bad name", "x"}, {"", "x"}, {"X-Null", "a\x00b"}, {"X-Latin", "\xe9\xff"}, {"Cookie", "a=1"}, {"Cookie2", "$Version=1"},
	{"Referer", "http://localhost/?x=<script>"}, {"X-Forwarded-For", "127.0.0.1, ::1"}, {"Accept-Language", "../../etc/passwd"},
}

var oddTargets = []string{
	"/", "*", "//a//b", "http://localhost/page?a=1", "http://other.test/", "/%zz", "/..;/x", "/a#frag", "/%252e%252e%252fetc/passwd", "/%u0061%u2215", "/a%00.php", "/%c0%ae%c0%ae/",
	"/.git/config", "/a.bak", "/a.php.", "/x.cgi?a=b?c=d", "/?a", "/?=", "/?&&&", "/?a=1&a=2&A=3", "/page?id=%ff%fe", "/\xff\xfe", "/ a", "", "?a=1", "/;a=1;b=2", "/a\\b", "/%5c..%5c..%5cwindows/win.ini",
	"/?x=%u003cscript%u003e", "/?x=%253Cscript%253E", "/?" + strings.Repeat("a", 300), "/?" + strings.Repeat("x=1&", 300), "/" + strings.Repeat("b/", 200), "/wp-login.php?redirect_to=http%3A%2F%2F192.0.2.1",
}

// odd is a request with one to three things that are not as they should be.
func (g *generator) odd(r crstest.Request) crstest.Request {
	r.Fields = slices.Clone(r.Fields)
	for range 1 + g.random.IntN(3) {
		switch g.random.IntN(10) {
		case 0:
			r.Method = pick(g.random, "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE", "CONNECT", "PROPFIND", "get", "G ET", "XYZZY", "")
		case 1:
			r.Proto = pick(g.random, "HTTP/1.0", "HTTP/2.0", "HTTP/2.0", "HTTP/3.0", "HTTP/0.9", "HTTP/9.9", "")
		case 2:
			r.Target = pick(g.random, oddTargets...)
		case 3: // twice, with the same value or another
			if len(r.Fields) > 0 {
				f := pick(g.random, r.Fields...)
				f[1] = pick(g.random, f[1], f[1]+"x", "")
				r.Fields = append(r.Fields, f)
			}
		case 4, 5: // without one, or with none at all
			name := pick(g.random, "Host", "User-Agent", "Accept", "Content-Type", "Content-Length", "")
			r.Fields = slices.DeleteFunc(r.Fields, func(f [2]string) bool { return name == "" || strings.EqualFold(f[0], name) })
		case 6: // instead of what is there
			odd := pick(g.random, oddFields...)
			r.Fields = append(slices.DeleteFunc(r.Fields, func(f [2]string) bool { return strings.EqualFold(f[0], odd[0]) }), odd)
		case 7:
			g.random.Shuffle(len(r.Fields), func(i, j int) { r.Fields[i], r.Fields[j] = r.Fields[j], r.Fields[i] })
		default: // beside it
			r.Fields = append(r.Fields, pick(g.random, oddFields...))
		}
	}
	return r
}
