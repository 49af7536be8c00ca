package routes

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// The bounds of a cache's settings. They keep what one vhost's document can cost within reason, in memory and in
// time per request.
const (
	maxCacheList   = 64  // entries of a list; paths of all rules together
	maxCacheText   = 200 // bytes of a name or path
	maxMarks       = 8   // "?" of one path
	maxMarkedPiece = 16  // bytes between two "*" where there is a "?": it is looked for byte by byte
)

func checkCache(field string, c *Cache) []finding {
	if c == nil {
		return nil
	}
	out := oneOf(field+".set_cookie", c.SetCookie, []string{"bypass", "store"})
	if q := c.Query; q != nil {
		out = append(out, checkCacheQuery(field+".query", q)...)
	}
	if k := c.Key; k != nil {
		out = append(out, checkList(field+".key.cookies", k.Cookies, exactCookie, same)...)
		out = append(out, checkList(field+".key.headers", k.Headers, keyHeader, strings.EqualFold)...)
	}
	if b := c.Bypass; b != nil {
		out = append(out, checkList(field+".bypass.paths", b.Paths, rawGlob, same)...)
		out = append(out, checkList(field+".bypass.cookies", b.Cookies, cookiePattern, same)...)
		out = append(out, checkList(field+".bypass.query", b.Query, parameterPattern, same)...)
		out = append(out, checkList(field+".bypass.headers", b.Headers, plainHeader, strings.EqualFold)...)
	}
	return append(out, checkCacheRules(field+".rules", c.Rules)...)
}

func checkCacheQuery(field string, q *CacheQuery) []finding {
	if q.Only != nil && len(q.Ignore) > 0 {
		return []finding{{field: field, reason: "only and ignore exclude each other: only names the parameters that count, ignore those that do not; leave one of them out"}}
	}
	out := checkList(field+".ignore", q.Ignore, parameterPattern, same)
	out = append(out, checkList(field+".only", q.Only, parameterPattern, same)...)
	if slices.Contains(q.Ignore, "*") {
		out = append(out, finding{field: field + ".ignore[" + strconv.Itoa(slices.Index(q.Ignore, "*")) + "]", reason: `"*" is every parameter: write only: [] if none counts`})
	}
	if slices.Contains(q.Only, "*") {
		out = append(out, finding{field: field + ".only[" + strconv.Itoa(slices.Index(q.Only, "*")) + "]", reason: `"*" is every parameter: leave only out if all count`})
	}
	return out
}

func checkCacheRules(field string, rules []CacheRule) []finding {
	if len(rules) > maxCacheList {
		return []finding{{field: field, reason: fmt.Sprintf("%d rules: at most %d", len(rules), maxCacheList)}}
	}
	var out []finding
	paths := 0
	for i := range rules {
		r, at := &rules[i], field+"["+strconv.Itoa(i)+"]"
		if r.TTL == nil {
			out = append(out, finding{field: at, missing: true, reason: "a rule needs a ttl, such as ttl: 1h; 0s: such answers are not stored"})
		}
		if paths += len(r.Paths); paths > maxCacheList {
			return append(out, finding{field: field, reason: fmt.Sprintf(`more than %d paths in all rules together: "*" may stand for many`, maxCacheList)})
		}
		out = append(out, checkList(at+".paths", r.Paths, rawGlob, same)...)
		out = append(out, checkStatuses(at+".status", r.Status)...)
	}
	return out
}

func checkStatuses(field string, statuses []int) []finding {
	if len(statuses) > maxCacheList {
		return []finding{{field: field, reason: fmt.Sprintf("%d entries: at most %d", len(statuses), maxCacheList)}}
	}
	var out []finding
	for i, status := range statuses {
		reason := ""
		switch {
		case status < 200 || status > 599:
			reason = fmt.Sprintf("bad status %d: want one from 200 to 599", status)
		case status == 206:
			reason = "206 is a part of an answer, which is not stored for itself: want 200"
		case status == 304:
			reason = "304 has no content of its own, what it confirms keeps its status: want 200"
		case slices.Contains(statuses[:i], status):
			reason = fmt.Sprintf("status %d stands here a second time", status)
		default:
			continue
		}
		// Zero is also what could not be read.
		out = append(out, finding{field: field + "[" + strconv.Itoa(i) + "]", reason: reason, missing: status == 0})
	}
	return out
}

func same(a, b string) bool { return a == b }

// checkList checks each entry of a list. check returns a finding without a field, or one without a reason; equal
// says which entries are one.
func checkList(field string, list []string, check func(string) finding, equal func(a, b string) bool) []finding {
	if len(list) > maxCacheList {
		return []finding{{field: field, reason: fmt.Sprintf("%d entries: at most %d", len(list), maxCacheList)}}
	}
	var out []finding
	for i, text := range list {
		f := check(text)
		if f.reason == "" && slices.ContainsFunc(list[:i], func(other string) bool { return equal(other, text) }) {
			f.reason = fmt.Sprintf("%q stands here a second time", text)
		}
		if f.reason != "" {
			f.field = field + "[" + strconv.Itoa(i) + "]"
			out = append(out, f)
		}
	}
	return out
}

// parameterPattern refuses what no name of a parameter is, or what was probably meant otherwise.
func parameterPattern(name string) finding {
	say := func(guess, format string, args ...any) finding {
		return finding{guess: guess, reason: fmt.Sprintf("bad parameter %q: ", shortText(name)) + fmt.Sprintf(format, args...)}
	}
	bare, _, _ := strings.Cut(strings.TrimLeft(name, "?&"), "=")
	switch {
	case name == "":
		return say("", `want a name, such as "utm_*" or "fbclid"`)
	case len(name) > maxCacheText:
		return say("", "at most %d bytes", maxCacheText)
	case strings.ContainsFunc(name, isControl):
		return say("", "want text without control characters")
	case strings.ContainsAny(name, "=&"):
		return say(bare, "want the name alone, without its value")
	case strings.Contains(name, "?"):
		return say(strings.ReplaceAll(bare, "?", "*"), `"*" is the only wildcard in names`)
	case strings.Count(name, "*") > maxStars:
		return say("", `at most %d "*"`, maxStars)
	case strings.Contains(name, "**"):
		return say(oneStar(name), `one "*" is any text already`)
	}
	if plain, err := url.QueryUnescape(name); err == nil && strings.Contains(name, "%") {
		return say(plain, "it is compared with the decoded name: write what %%xx stands for")
	}
	return finding{}
}

func oneStar(s string) string {
	for strings.Contains(s, "**") {
		s = strings.ReplaceAll(s, "**", "*")
	}
	return s
}

// cookiePattern refuses what no name of a cookie is (RFC 6265 §4.1.1).
func cookiePattern(name string) finding {
	bare, _, _ := strings.Cut(name, "=")
	f := finding{reason: fmt.Sprintf("bad cookie %q: ", shortText(name))}
	switch {
	case name == "":
		f.reason += `want a name, such as "session"`
	case len(name) > maxCacheText:
		f.reason += fmt.Sprintf("at most %d bytes", maxCacheText)
	case bare != name && isToken(bare):
		f.guess, f.reason = bare, f.reason+"want the name alone, without its value"
	case strings.Contains(name, "?") && isToken(strings.ReplaceAll(name, "?", "*")):
		f.guess, f.reason = strings.ReplaceAll(name, "?", "*"), f.reason+`"*" is the only wildcard in names`
	case !isToken(name):
		f.reason += "want a name: letters, digits and such signs as - and _"
	case strings.Count(name, "*") > maxStars:
		f.reason += fmt.Sprintf(`at most %d "*"`, maxStars)
	case strings.Contains(name, "**"):
		f.guess, f.reason = oneStar(name), f.reason+`one "*" is any text already`
	default:
		return finding{}
	}
	return f
}

func exactCookie(name string) finding {
	if strings.Contains(name, "*") {
		return finding{reason: fmt.Sprintf("bad cookie %q: the names of a key are written out, there are no wildcards", shortText(name))}
	}
	return cookiePattern(name)
}

// plainHeader refuses what is no name of a header field that can arrive (RFC 9110 §5.1).
func plainHeader(name string) finding {
	f := finding{reason: fmt.Sprintf("bad header field %q: ", shortText(name))}
	bare, _, _ := strings.Cut(name, ":")
	switch {
	case name == "":
		f.reason += `want a name, such as "X-Preview"`
	case strings.Contains(name, "*"):
		f.reason += "names are written out here, there are no wildcards"
	case bare != name && isToken(bare):
		f.guess, f.reason = bare, f.reason+"want the name alone, without colon and value"
	case !isToken(name) || len(name) > maxCacheText:
		f.reason += "want a name: letters, digits and such signs as -"
	case strings.Contains(name, "_"):
		f.guess, f.reason = strings.ReplaceAll(name, "_", "-"), f.reason+"fields with an underscore in their name go to no backend"
	default:
		return finding{}
	}
	return f
}

// reservedHeaders are the fields that cannot tell stored answers apart, in small letters, and why.
var reservedHeaders = func() map[string]string {
	reserved := map[string]string{}
	for why, names := range map[string]string{
		"it holds all cookies: name those that count under key.cookies":                      "cookie set-cookie",
		"what is for one user is not stored, unless the answer says so (RFC 9111 §3.5)":      "authorization proxy-authorization",
		"the host is in the key already":                                                     "host x-forwarded-host",
		"the scheme is in the key already":                                                   "x-forwarded-proto",
		"the class of the device counts with device: true":                                   "x-device-class",
		"it differs with each request, or each client":                                       "x-request-id x-real-ip x-forwarded-for forwarded via date",
		"the cache acts on it itself":                                                        "cache-control pragma range if-range if-match if-none-match if-modified-since if-unmodified-since",
		"answers that differ by it say so with Vary, and are told apart by that":             "accept-encoding",
		"it belongs to a connection or a request's body, and does not say what is asked for": "connection keep-alive proxy-connection te trailer transfer-encoding upgrade http2-settings content-length content-type expect",
	} {
		for name := range strings.FieldsSeq(names) {
			reserved[name] = why
		}
	}
	return reserved
}()

func keyHeader(name string) finding {
	if why := reservedHeaders[strings.ToLower(name)]; why != "" {
		return finding{reason: fmt.Sprintf("%s cannot be a part of the key: %s", name, why)}
	}
	return plainHeader(name)
}

// rawGlob refuses patterns that no path can fit as it is sent, or that are never asked: see package cache.
func rawGlob(p string) finding {
	say := func(guess, format string, args ...any) finding {
		return finding{guess: guess, reason: fmt.Sprintf("bad path %q: ", shortText(p)) + fmt.Sprintf(format, args...)}
	}
	switch {
	case p == "":
		return say("", `want a path such as "/static/*" or "*.css"`)
	case len(p) > maxCacheText:
		return say("", "at most %d bytes", maxCacheText)
	case strings.ContainsFunc(p, isControl):
		return say("", "want text without control characters")
	case p[0] != '/' && p[0] != '*':
		return say("/"+p, `a path begins with "/", or with "*" for any beginning`)
	case strings.Count(p, "*") > maxStars:
		return say("", `at most %d "*"`, maxStars)
	case strings.Count(p, "?") > maxMarks:
		return say("", `at most %d "?": "*" may stand for any text`, maxMarks)
	case strings.Contains(p, "**"):
		return say(oneStar(p), `one "*" is any text already, "/" included`)
	}
	if at := strings.IndexByte(p, '?'); at >= 0 && strings.ContainsAny(p[at:], "=&") {
		return say(p[:at], `the query is never looked at, and "?" stands for one character: end it before the "?"`)
	}
	if sent := asSent(p); sent != p {
		return say(sent, "it is compared with the path as browsers send it")
	}
	if what := neverFits(p); what != "" {
		return say("", "a path with %s is compared with no pattern, since backends read it in different ways", what)
	}
	if pieces := strings.Split(p, "*"); len(pieces) > 2 {
		for _, piece := range pieces[1 : len(pieces)-1] {
			if len(piece) > maxMarkedPiece && strings.Contains(piece, "?") {
				return say("", `between two "*" a text with a "?" has at most %d bytes`, maxMarkedPiece)
			}
		}
	}
	return finding{}
}

// asSent escapes what browsers escape in a path.
func asSent(p string) string {
	var out strings.Builder
	for _, c := range []byte(p) {
		if c >= 0x80 || c == ' ' || c == '"' || c == '<' || c == '>' || c == '`' || c == '{' || c == '}' {
			fmt.Fprintf(&out, "%%%02X", c)
		} else {
			out.WriteByte(c)
		}
	}
	return out.String()
}

// neverFits says what in a pattern makes a path one that is not compared; see ambiguous in package cache, with which a
// test of edge compares it.
func neverFits(p string) string {
	for _, bad := range []string{";", `\`, "#", "..", "//", "/./"} {
		if strings.Contains(p, bad) {
			return strconv.Quote(bad)
		}
	}
	for rest := p; ; {
		at := strings.IndexByte(rest, '%')
		if at < 0 {
			break
		}
		c, err := strconv.ParseUint(rest[at+1:min(at+3, len(rest))], 16, 8)
		if err != nil || len(rest) < at+3 || c < ' ' || c == 0x7f || c == 0xc0 || c == 0xc1 || strings.IndexByte(`/\;?#%.`, byte(c)) >= 0 {
			return strconv.Quote(rest[at:min(at+3, len(rest))])
		}
		rest = rest[at+3:]
	}
	if strings.HasSuffix(p, "/.") {
		return `"." at its end`
	}
	return ""
}
