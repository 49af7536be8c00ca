package waf

import (
	"slices"
	"strings"

	"gatehouse/waf-rules/crstest"
)

// oddFields are such as clients send that are broken, or up to something.
var oddFields = []struct {
	name   string
	values []string
}{
	{"Content-Type", []string{"", "text/plain", form + "; charset=utf-7", "multipart/form-data", "multipart/form-data; boundary=", "application/json, text/html", "x"}},
	{"Content-Type", []string{"Application/JSON;charset=utf-8", "text/xml; charset=ISO-8859-1", "application/octet-stream", "application/xml", form}},
	{"Content-Length", []string{"", "abc", "-1", "00005", "5, 5", "99999999999999999999", "0"}},
	{"Transfer-Encoding", []string{"chunked", "gzip, chunked", "identity", "\x0bchunked", "xchunked"}},
	{"Content-Encoding", []string{"gzip", "deflate, gzip, x"}},
	{"Accept", []string{"", "text/html;q=999", "bad \" accept"}},
	{"Accept-Encoding", []string{"*, none"}},
	{"Accept-Charset", []string{"utf-7"}},
	{"Accept-Language", []string{"../../etc/passwd"}},
	{"Connection", []string{"keep-alive, close", "keep-alive, keep-alive"}},
	{"Range", []string{"bytes=0-1,2-3,4-5,6-7,8-9,10-11,12-13", "bytes=9-1", "bytes=0-"}},
	{"Request-Range", []string{"bytes=0-"}},
	{"Proxy", []string{"http://a.test"}},
	{"Lock-Token", []string{"x"}},
	{"X-Original-Url", []string{"/admin"}},
	{"X-Http-Method-Override", []string{"PUT"}},
	{"X_Filename", []string{"a.php", "shell.jsp"}},
	{"X.Filename", []string{"shell.jsp"}},
	{"X-File-Name", []string{"x.asp"}},
	{"Content-Disposition", []string{"attachment; filename=x.php"}},
	{"Upgrade", []string{"websocket"}},
	{"Expect", []string{"100-continue"}},
	{"Cache-Control", []string{"x-bad"}},
	{"Host", []string{"192.0.2.1", "localhost:8080", "a b", "", "[::1]"}},
	{"User-Agent", []string{"", "sqlmap/1.0", "nikto"}},
	{"Authorization", []string{"Basic Og==", "Bearer a.b.c"}},
	{"bad name", []string{"x"}},
	{"", []string{"x"}},
	{"X-Any", []string{"a\x00b", "\xe9\xff", "127.0.0.1, ::1"}},
	{"Cookie", []string{"a=1", "", "=", "a"}},
	{"Referer", []string{"http://localhost/?x=<script>", "", "javascript:alert(1)"}},
}

var oddTargets = strings.Fields(`/ * //a//b http://localhost/page?a=1 http://other.test/ /%zz /..;/x /a#frag /%252e%252e%252fetc/passwd /%u0061%u2215
	/a%00.php /%c0%ae%c0%ae/ /.git/config /a.bak /a.php. /x.cgi?a=b?c=d /?a /?= /?&&& /?a=1&a=2&A=3 /page?id=%ff%fe ?a=1 /;a=1;b=2 /a\b
	/%5c..%5c..%5cwindows/win.ini /?x=%u003cscript%u003e /?x=%253Cscript%253E /wp-login.php?redirect_to=http%3A%2F%2F192.0.2.1`)

// oddTarget may be what is no target at all.
func (g *generator) oddTarget() string {
	return pick(g.random, pick(g.random, oddTargets...), pick(g.random, oddTargets...), pick(g.random, "", "/ a", "/\xff\xfe", "/a\x00", "/?"+strings.Repeat("a", 300),
		"/?"+strings.Repeat("x=1&", 300), "/?"+strings.Repeat("x=1&", 1001), "/"+strings.Repeat("b/", 200)))
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
			r.Target = g.oddTarget()
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
			odd := g.oddField()
			r.Fields = append(slices.DeleteFunc(r.Fields, func(f [2]string) bool { return strings.EqualFold(f[0], odd[0]) }), odd)
		case 7:
			g.random.Shuffle(len(r.Fields), func(i, j int) { r.Fields[i], r.Fields[j] = r.Fields[j], r.Fields[i] })
		default: // beside it
			r.Fields = append(r.Fields, g.oddField())
		}
	}
	return r
}

func (g *generator) oddField() [2]string {
	f := pick(g.random, oddFields...)
	return [2]string{pick(g.random, f.name, f.name, strings.ToLower(f.name)), pick(g.random, f.values...)}
}
