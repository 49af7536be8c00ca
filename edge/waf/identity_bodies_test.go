package waf

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"gatehouse/waf-rules/crstest"
)

// sent has a body of some kind.
func (g *generator) sent() crstest.Request {
	r := plainRequest()
	switch g.random.IntN(6) {
	case 0:
		return posted(r, pick(g.random, form, form, form+"; charset=utf-8", "Application/X-WWW-Form-URLencoded"), g.formBody())
	case 1, 2:
		return posted(r, pick(g.random, "application/json", "application/json; charset=utf-8", "application/vnd.api+json"), g.jsonBody(0))
	case 3, 4:
		boundary := pick(g.random, "b", "----WebKitFormBoundary7MA4YWxkTrZu0gW", "x_y")
		return posted(r, pick(g.random, "multipart/form-data; boundary="+boundary, `multipart/form-data; boundary="`+boundary+`"`, "Multipart/Form-Data;boundary="+boundary), g.multipartBody(boundary))
	}
	return posted(r, pick(g.random, "text/xml", "application/xml", "application/soap+xml; charset=utf-8", "text/xml"), g.xmlBody(0))
}

func (g *generator) formBody() string {
	pairs := []string{"a=" + url.QueryEscape(g.value()), url.QueryEscape(g.value()) + "=b"}
	for range g.random.IntN(4) {
		pairs = append(pairs, pick(g.random, "id", "q", "x[0]", "x[1]", "A")+"="+pick(g.random, "1", "Ann+O%27Neil", url.QueryEscape(g.value()), lineOf(g.value())))
	}
	if g.random.IntN(50) == 0 { // over the limit
		pairs = append(pairs, strings.Repeat("x=1&", 1001))
	}
	g.random.Shuffle(len(pairs), func(i, j int) { pairs[i], pairs[j] = pairs[j], pairs[i] })
	return strings.Join(pairs, pick(g.random, "&", "&", ";", "&&"))
}

func (g *generator) jsonBody(depth int) string {
	switch n := g.random.IntN(8); {
	case depth > 4 || n < 3:
		return jsonText(g.value())
	case n == 3:
		return pick(g.random, "1", "-2.5e3", "true", "null", `""`, "{}", "[]", `"\u0041\u0000"`, "12345678901234567890")
	case n == 4:
		var items []string
		for range g.random.IntN(4) {
			items = append(items, g.jsonBody(depth+1))
		}
		return "[" + strings.Join(items, ",") + "]"
	}
	var members []string
	for range 1 + g.random.IntN(4) {
		name := pick(g.random, "a", "b", "id", "A", "a.b", "", "__proto__", "comment", g.value())
		members = append(members, jsonText(name)+":"+g.jsonBody(depth+1))
	}
	return "{" + strings.Join(members, pick(g.random, ",", ",", ", ", ",\n")) + "}" + pick(g.random, "", "", "", "", "", "}", " x")
}

// jsonText quotes as JSON does; bytes that are no UTF-8 stay.
func jsonText(v string) string {
	var out strings.Builder
	out.WriteByte('"')
	for _, c := range []byte(v) {
		switch {
		case c == '"' || c == '\\':
			out.WriteByte('\\')
			out.WriteByte(c)
		case c < ' ':
			fmt.Fprintf(&out, `\u%04x`, c)
		default:
			out.WriteByte(c)
		}
	}
	out.WriteByte('"')
	return out.String()
}

func (g *generator) multipartBody(boundary string) string {
	var parts []part
	for range 1 + g.random.IntN(3) {
		p := part{name: pick(g.random, "a", "id", "up", "A", g.value()), content: pick(g.random, "hello", g.value(), g.value())}
		if g.random.IntN(2) == 0 {
			p.filename = pick(g.random, "a.jpg", "shell.php", "x.tar.gz", "a.jpg;.php", "../../b", "c.phtml", "\x00.asp", g.value())
			p.contentType = pick(g.random, "", "image/jpeg", "text/html", "text/plain; charset=utf-7", "application/x-php", lineOf(g.value()))
			p.content = pick(g.random, p.content, "\xff\xd8\xff\xe0\x00\x10JFIF\x00", "<?php system('id');", "GIF89a<script>alert(1)</script>")
		}
		parts = append(parts, p)
	}
	body := multipartBody(boundary, parts...)
	switch g.random.IntN(10) {
	case 0: // a field of a part that rules look at
		return strings.Replace(body, "\r\n\r\n", "\r\n"+pick(g.random, "Content-Transfer-Encoding: base64", "X-Odd: "+lineOf(g.value()), "Content-Type: text/plain; charset=utf-16", "bad line", "Content-Disposition: form-data; name=z")+"\r\n\r\n", 1)
	case 1:
		return strings.TrimSuffix(body, "--\r\n")
	case 2:
		return strings.ReplaceAll(body, "\r\n", "\n")
	case 3:
		return "preamble\r\n" + body + "epilogue"
	case 4:
		return strings.Replace(body, "name=", pick(g.random, "NAME=", "name*=utf-8''x; name=", "name ="), 1)
	case 5:
		return g.spoilt(body)
	}
	return body
}

func (g *generator) xmlBody(depth int) string {
	if depth == 0 && g.random.IntN(3) == 0 {
		return pick(g.random, `<?xml version="1.0"?>`, `<?xml version="1.0" encoding="ISO-8859-1"?>`, `<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>`, "\ufeff", "<a>") + g.xmlBody(1)
	}
	text := pick(g.random, "x", xmlText(g.value()), "<![CDATA["+g.value()+"]]>", "<!-- "+xmlText(g.value())+" -->", "&amp;&#60;&unknown;")
	if depth < 4 && g.random.IntN(2) == 0 {
		text += g.xmlBody(depth+1) + g.xmlBody(depth+1)
	}
	name := pick(g.random, "a", "b", "ns:c", "id")
	attribute := pick(g.random, "", "", ` b="`+xmlText(g.value())+`"`, ` xmlns:ns="urn:x" ns:d='`+strconv.Itoa(g.random.IntN(9))+`'`)
	return "<" + name + attribute + ">" + text + "</" + name + ">"
}

var xmlText = strings.NewReplacer("<", "&lt;", "&", "&amp;", `"`, "&quot;").Replace
