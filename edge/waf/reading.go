package waf

import (
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/corazawaf/coraza/v3/collection"
	"github.com/corazawaf/coraza/v3/experimental"
	"github.com/corazawaf/coraza/v3/types/variables"
)

// engineValues shows the gate what an engine's transaction has read.
type engineValues struct{ engineTx }

// Each asks the engine.
func (v engineValues) Each(variable variables.RuleVariable, yield func(key, value string)) {
	switch c := v.Collection(variable).(type) {
	case nil:
	case collection.Single:
		yield("", c.Get())
	default:
		for _, m := range c.FindAll() {
			yield(m.Key(), m.Value())
		}
	}
}

// A reading is a request without a body, or with a form or JSON, read by us: exactly what the engine would read, at a
// fourth of the price. A request of which that is not certain is not read so, see isSimple; the prescreen's reader
// then reads it.
type reading struct {
	*gated
	usual   map[variables.RuleVariable]string // single values that do not depend on such a request
	cookies []field
	query   []field
	form    []field // of the body
	text    string  // of the body
}

// isSimple reports whether the head of a request is one that we read as the engine does.
func (p *prescreen) isSimple(g *gated) bool {
	if p.usual == nil || g.long || g.sizes != "" || !simpleTarget(g.target) {
		return false
	}
	if slices.ContainsFunc(g.fields, func(f field) bool { return f.name == "" }) {
		return false // which the engine passes over
	}
	_, known := g.parser()
	_, query, _ := strings.Cut(g.target, "?")
	return known && strings.Count(query, "&") < argumentsLimit
}

// readSimple reads a request; not ok: somebody else has to. Over: it has more than the engine reads, for which the base rules
// refuse it.
func (p *prescreen) readSimple(g *gated, body []byte) (r *reading, ok, over bool) {
	if !g.simple || g.sizes != "" {
		return nil, false, false
	}
	r = &reading{gated: g, usual: p.usual, text: string(body)}
	_, query, _ := strings.Cut(g.target, "?")
	if r.query, ok = pairs(query, argumentsLimit); !ok {
		return nil, false, true
	}
	if r.text != "" {
		if ok, over = r.readBody(); !ok {
			return nil, false, over
		}
	}
	for _, f := range g.fields {
		if strings.EqualFold(f.name, "cookie") {
			r.cookies = appendCookies(r.cookies, f.value)
		}
	}
	return r, true, false
}

// readBody reads a form or JSON; see readSimple.
func (r *reading) readBody() (ok, over bool) {
	switch r.kind {
	case "URLENCODED":
		r.form, ok = pairs(r.text, argumentsLimit)
		over = !ok
	case "JSON":
		r.form, ok, over = flatten(r.text)
	}
	return ok, over
}

// contentType is the first field of that name, and how many there are.
func (g *gated) contentType() (value string, n int) {
	for _, f := range g.fields {
		if strings.EqualFold(f.name, "content-type") {
			if n++; n == 1 {
				value = f.value
			}
		}
	}
	return value, n
}

// parser is the engine's REQBODY_PROCESSOR by the Content-Type, as the engine and rules 200000 to 200006 choose it; false:
// it takes them to tell.
func (g *gated) parser() (kind string, known bool) {
	value, n := g.contentType()
	if n == 0 {
		return "", true
	}
	if n > 1 || strings.HasPrefix(value, " ") || strings.ContainsFunc(value, func(c rune) bool { return c < ' ' || c > '~' }) {
		return "", false
	}
	switch mediaType(value) { // of others, such as application/x-www-form-urlencoded+json, rules decide
	case "application/x-www-form-urlencoded":
		return "URLENCODED", true
	case "application/json":
		return "JSON", true
	}
	return "", false
}

// argumentsLimit is SecArgumentsLimit of base.conf. From there on rules 200004 and 200005 refuse.
const argumentsLimit = 1000

// appendCookies reads a Cookie field as the engine does (internal/cookies).
func appendCookies(out []field, text string) []field {
	for text != "" {
		var part string
		part, text, _ = strings.Cut(text, ";")
		name, value, _ := strings.Cut(trimControls(part), "=")
		if name, value = trimControls(name), trimControls(value); name != "" || value != "" {
			out = append(out, field{name, value})
		}
	}
	return out
}

// trimControls takes control characters and spaces from both ends.
func trimControls(s string) string {
	for s != "" && (s[0] <= ' ' || s[0] == 0x7f) {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] <= ' ' || s[len(s)-1] == 0x7f) {
		s = s[:len(s)-1]
	}
	return s
}

// simpleTarget reports whether a target is a path and perhaps a query, of characters whose reading is not in question:
// it is then what the engine makes of it (net/url).
func simpleTarget(target string) bool {
	path, query, _ := strings.Cut(target, "?")
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") {
		return false
	}
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("/-._~!$&'()*+,;=:@", c) >= 0:
		case c == '%' && i+2 < len(path) && unhex(path[i+1]) >= 0 && unhex(path[i+2]) >= 0:
			i += 2
		default:
			return false
		}
	}
	for i := range len(query) {
		if c := query[i]; c <= ' ' || c >= 0x7f || c == '#' {
			return false
		}
	}
	return true
}

// Each answers as the engine would.
func (r *reading) Each(variable variables.RuleVariable, yield func(key, value string)) {
	switch variable {
	case variables.RequestHeaders:
		each(r.fields, yield)
	case variables.RequestHeadersNames:
		eachName(r.fields, yield)
	case variables.RequestCookies:
		each(r.cookies, yield)
	case variables.RequestCookiesNames:
		eachName(r.cookies, yield)
	case variables.ArgsGet:
		each(r.query, yield)
	case variables.ArgsGetNames:
		eachName(r.query, yield)
	case variables.ArgsPost:
		each(r.form, yield)
	case variables.ArgsPostNames:
		eachName(r.form, yield)
	default:
		if value, ok := r.single(variable); ok {
			yield("", value)
		}
	}
}

func each(list []field, yield func(key, value string)) {
	for i := range list {
		yield(list[i].name, list[i].value)
	}
}

func eachName(list []field, yield func(key, value string)) {
	for i := range list {
		yield(list[i].name, list[i].name)
	}
}

// single is the value of a variable that has one; not ok: it is a list, and empty.
func (r *reading) single(variable variables.RuleVariable) (value string, ok bool) {
	switch variable {
	case variables.RequestMethod:
		return r.method, true
	case variables.RequestProtocol:
		return r.proto, true
	case variables.RequestLine:
		return r.method + " " + r.target + " " + r.proto, true
	case variables.RequestURI, variables.RequestURIRaw:
		return r.target, true
	case variables.QueryString:
		_, query, _ := strings.Cut(r.target, "?")
		return query, true
	case variables.RequestFilename:
		return r.path(), true
	case variables.RequestBasename:
		path := r.path()
		if at := strings.LastIndexAny(path, `/\`); at+1 < len(path) {
			return path[at+1:], true
		}
		return path, true
	case variables.RemoteAddr:
		return addrString(r.client), true
	case variables.RemotePort:
		return strconv.Itoa(int(r.client.Port())), true
	case variables.ServerAddr:
		return addrString(r.server), true
	case variables.ServerPort:
		return strconv.Itoa(int(r.server.Port())), true
	case variables.ServerName:
		return r.host, true
	case variables.ReqbodyProcessor:
		kind, _ := r.parser()
		return kind, true
	case variables.ArgsCombinedSize:
		return strconv.Itoa(sizeOf(r.query) + sizeOf(r.form)), true
	}
	if r.text != "" && r.kind == "URLENCODED" {
		switch variable {
		case variables.RequestBody:
			return r.text, true
		case variables.RequestBodyLength:
			return strconv.Itoa(len(r.text)), true
		}
	}
	value, ok = r.usual[variable]
	return value, ok
}

// path is the decoded path of the target.
func (r *reading) path() string {
	path, _, _ := strings.Cut(r.target, "?")
	if strings.IndexByte(path, '%') >= 0 {
		if decoded, err := url.PathUnescape(path); err == nil { // simpleTarget has looked at the escapes
			return decoded
		}
	}
	return path
}

func sizeOf(list []field) (n int) {
	for _, f := range list {
		n += len(f.name) + len(f.value)
	}
	return n
}

// learnUsual asks the reader for the single values of a request without a body. It keeps nothing if rules that decide how
// a body is read look at anything that requests without one differ in.
func (p *prescreen) learnUsual() error {
	for i := range p.rules {
		r := &p.rules[i]
		if !p.native[r.ID] || p.base[r.ID] {
			continue
		}
		for k := range r.Links {
			for _, t := range r.Links[k].Targets {
				if t.Variable != variables.ReqbodyProcessor && t.Variable != variables.TX {
					return nil
				}
			}
		}
	}
	tx := p.reader.NewTransactionWithOptions(experimental.Options{ID: "usual"}).(engineTx)
	if _, err := plain(tx, "/"); err != nil {
		return err
	}
	p.usual = map[variables.RuleVariable]string{}
	for v := range variables.RuleVariable(math.MaxUint8) {
		if single, ok := tx.Collection(v).(collection.Single); ok {
			p.usual[v] = single.Get()
		}
	}
	return tx.Close()
}
