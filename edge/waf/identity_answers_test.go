package waf

import (
	"strconv"
	"strings"

	"gatehouse/waf-rules/crstest"
)

// answer is one of those that the CRS's tests ask for, a page that leaks something, or a harmless one.
func (g *generator) answer() *crstest.Answer {
	if g.random.IntN(4) == 0 {
		return &g.answers[g.random.IntN(len(g.answers))]
	}
	a := &crstest.Answer{Status: pick(g.random, 200, 200, 200, 301, 403, 404, 500, 503)}
	kind := pick(g.random, "text/html; charset=utf-8", "text/html", "Text/HTML ;charset=x", "text/plain", "application/json", "text/xml", "application/xhtml+xml", "application/octet-stream", "text/event-stream", "")
	body := g.page()
	if strings.HasSuffix(kind, "json") {
		body = `{"message":` + jsonText(body) + `,"ok":true}`
	}
	a.Body = []byte(body)
	if kind != "" {
		a.Fields = append(a.Fields, [2]string{"Content-Type", kind})
	}
	a.Fields = append(a.Fields, [2]string{"Content-Length", strconv.Itoa(len(body))})
	for range g.random.IntN(3) {
		a.Fields = append(a.Fields, pick(g.random, [2]string{"Content-Encoding", "gzip"}, [2]string{"Content-Encoding", "identity"}, [2]string{"Set-Cookie", "sid=1; HttpOnly"},
			[2]string{"Location", "/login?next=" + lineOf(g.value())}, [2]string{"X-Powered-By", "PHP/5.3"}, [2]string{"Server", "x"}, [2]string{"Content-Type", "text/html"}, [2]string{"X-Any", lineOf(g.value())}))
	}
	return a
}

// page is a page's text: harmless, with a line of the rules' lists, or with what a pattern for answers matches.
func (g *generator) page() string {
	inside := strings.Join(english(g.random, 5+g.random.IntN(100)), " ")
	switch g.random.IntN(8) {
	case 0, 1:
		inside += " " + pick(g.random, g.leaks...) + " "
	case 2, 3:
		inside += pick(g.random, "", "\n") + string(matching(g.random, pick(g.random, g.respond...), nil, 0)) + "\n"
	case 4:
		inside += g.spoilt(pick(g.random, g.leaks...)) + string(pick(g.random, g.answers...).Body)
	case 5:
		inside += g.value()
	}
	return pick(g.random, "", "<!DOCTYPE html>\n<html><head><title>Shop</title></head><body><h1>Welcome</h1>\n<p>") + inside + pick(g.random, "", "</p></body></html>")
}
