package routes

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// A Redirect sends clients elsewhere: a vhost has it in the place of backends.
type Redirect struct {
	// To is an absolute http:// or https:// URL. Required.
	To string `yaml:"to" json:"to"`
	// Status: 301 (default), 302, 307 or 308. The last two have clients keep method and body.
	Status int `yaml:"status,omitempty" json:"status,omitempty" zero:"must be 301, 302, 307 or 308"`
	// KeepPath has the request's path and query appended to To; nil: true.
	KeepPath *bool `yaml:"keep_path,omitempty" json:"keep_path,omitempty"`
}

// Keeps reports whether the path is kept.
func (r *Redirect) Keeps() bool { return r.KeepPath == nil || *r.KeepPath }

// A Respond is one fixed answer to every request: a vhost has it in the place of backends.
type Respond struct {
	// Status: 200 (default), 204, or 400 to 599.
	Status int `yaml:"status,omitempty" json:"status,omitempty" zero:"must be 200, 204, or 400 to 599"`
	// Body is the text of the answer, MaxPage at most. Not beside File.
	Body string `yaml:"body,omitempty" json:"body,omitempty"`
	// File holds the body, and is read again when it changes. A relative path belongs to the file
	// that names it; a document in Redis names none: whoever may write one there would read all files of the node.
	File string `yaml:"file,omitempty" json:"file,omitempty"`
	// ContentType of the body. Default "text/html; charset=utf-8".
	ContentType string `yaml:"content_type,omitempty" json:"content_type,omitempty"`
}

// MaxPage bounds the body of a Respond, in bytes.
const MaxPage = 64 << 10

// Page returns the body. The error is that of ReadFile.
func (r *Respond) Page() ([]byte, error) {
	if r.File == "" {
		return []byte(r.Body), nil
	}
	return ReadFile(r.File, MaxPage)
}

// PageFor is Page with the file read by files, for an owner.
func (r *Respond) PageFor(owner string, files *FileReader) ([]byte, error) {
	if r.File == "" {
		return []byte(r.Body), nil
	}
	return files.Read(owner, r.File, MaxPage)
}

// checkAnswer makes sure that a vhost says in one way what its requests are answered by.
func checkAnswer(v *Vhost, mode checkMode) []finding {
	var given []string
	if len(v.Backends) > 0 {
		given = append(given, "backends")
	}
	if v.Redirect() != nil {
		given = append(given, "redirect")
	}
	if v.Respond() != nil {
		given = append(given, "respond")
	}
	switch {
	case len(given) == 0 && mode == checkComplete:
		return []finding{{
			field: "backends", missing: true,
			reason: "a vhost needs at least one backend, such as [http://127.0.0.1:9000], or redirect or respond in their place",
		}}
	case len(given) > 1:
		return []finding{{field: given[1], reason: "stands in the place of " + given[0] + ", and both are given: remove one of them"}}
	case len(given) == 0 || given[0] == "backends":
		return nil
	}
	var out []finding
	for field, set := range map[string]bool{
		"balance": v.Balance() != "", "sticky": v.Sticky() != nil, "health": v.Health() != nil, "timeouts": v.Timeouts() != nil, "cache": v.Cache != nil, "strip": v.Strip() && v.Respond() != nil,
		"compress": v.Compress() != "" && v.Redirect() != nil, "headers.request": v.Headers() != nil && v.Headers().Request != nil,
	} {
		if set {
			out = append(out, finding{field: field, reason: "has no meaning for a vhost with " + given[0] + ": remove it"})
		}
	}
	slices.SortFunc(out, func(a, b finding) int { return strings.Compare(a.field, b.field) })
	return slices.Concat(out, checkRedirect(v), checkLocation(v), checkRespond(v.Respond(), mode))
}

// checkLocation refuses edits of the field in which a redirect says where it leads.
func checkLocation(v *Vhost) []finding {
	if v.Redirect() == nil || v.Headers() == nil || v.Headers().Response == nil {
		return nil
	}
	var out []finding
	see := func(at, name string) {
		if strings.EqualFold(name, "location") {
			out = append(out, finding{field: "headers.response." + at, reason: fmt.Sprintf("field %q is where the redirect leads: redirect.to says that", name)})
		}
	}
	e := v.Headers().Response
	for i, name := range e.Remove {
		see(fmt.Sprintf("remove[%d]", i), name)
	}
	for _, name := range slices.Sorted(maps.Keys(e.Set)) {
		see("set."+name, name)
	}
	for _, name := range slices.Sorted(maps.Keys(e.Add)) {
		see("add."+name, name)
	}
	return out
}

func checkRedirect(v *Vhost) []finding {
	r := v.Redirect()
	if r == nil {
		return nil
	}
	var out []finding
	if !slices.Contains([]int{0, 301, 302, 307, 308}, r.Status) {
		out = append(out, finding{field: "redirect.status", reason: fmt.Sprintf("bad status %d: want 301, 302, 307 or 308", r.Status)})
	}
	if err := r.check(); err != nil {
		return append(out, finding{field: "redirect.to", missing: r.To == "", reason: err.Error()})
	}
	host, path := SplitName(v.Name)
	toHost, target, here := r.target()
	toPath, _, _ := strings.Cut(target, "?")
	toPath = strings.TrimSuffix(toPath, "/")
	again := toPath == path || toPath == "" && r.Keeps() && !v.Strip() // then the path follows as it is
	if here && again && (toHost == host || slices.Contains(v.Aliases, toHost)) {
		out = append(out, finding{field: "redirect.to", reason: "leads back to this vhost, for ever: name another host or path; for https there is tls.redirect_http"})
	}
	return out
}

// check returns what is wrong with To.
func (r *Redirect) check() error {
	if r.To == "" {
		return errors.New("want where to, such as https://www.shop.test")
	}
	for _, c := range []byte(r.To) {
		if c <= ' ' || c >= 0x7f || c == '#' {
			return fmt.Errorf("bad URL %q: the character %q cannot stand in it: write %%XX, or a name in its xn-- form", r.To, c)
		}
	}
	if _, _, _, err := SplitURL(r.To); err != nil {
		return fmt.Errorf("bad URL %q: %w", r.To, err)
	}
	if strings.Contains(r.To, "?") && r.Keeps() {
		return fmt.Errorf("bad URL %q: with a query, the path of requests cannot be kept: remove it, or write keep_path: false", r.To)
	}
	return nil
}

// target is where To leads; here is false if that is another port than those that
// vhosts answer on, as far as can be known.
func (r *Redirect) target() (host, target string, here bool) {
	scheme, authority, target, err := SplitURL(r.To)
	if err != nil {
		return "", "", false
	}
	host, err = CanonicalHost(authority)
	port := ""
	if colon := strings.LastIndexByte(authority, ':'); colon > strings.LastIndexByte(authority, ']') {
		port = authority[colon+1:]
	}
	return host, target, err == nil && (port == "" || port == map[string]string{"http": "80", "https": "443"}[scheme])
}

// LeadsTo returns the route that a vhost's redirect leads a request to, and the target there; nil: none of the table's. rest is the
// request's own target, without the path that Strip takes off.
func (t *Table) LeadsTo(v *Vhost, rest string) (r *Route, target string) {
	if v.Redirect() == nil {
		return nil, ""
	}
	host, target, here := v.Redirect().target()
	if !here {
		return nil, ""
	}
	if v.Redirect().Keeps() && rest != "*" {
		target = strings.TrimSuffix(target, "/") + rest
	}
	own := t.Match(host)
	if own == nil {
		return nil, ""
	}
	r, err := t.Below(own, target)
	if err != nil {
		return nil, "" // it gets 400
	}
	return r, target
}

// rest is a target that is the vhost's as LeadsTo wants it; empty: "/".
func (v *Vhost) rest(target string) string {
	if _, path := SplitName(v.Name); v.Strip() {
		target = strings.TrimPrefix(target, path)
	}
	return or(target, "/")
}

// LeadsBack reports whether a vhost's redirect leads to the vhost itself.
func (t *Table) LeadsBack(v *Vhost) bool {
	_, path := SplitName(v.Name)
	r, _ := t.LeadsTo(v, v.rest(path))
	return r != nil && r.Name == v.Name
}

// LeadsHome reports whether a vhost's redirect names a host of its own, be it to another path: no wildcard is needed to cover it.
func (t *Table) LeadsHome(v *Vhost) bool {
	if v.Redirect() == nil {
		return false
	}
	to, _, here := v.Redirect().target()
	own := t.named(to)
	host, _ := SplitName(v.Name)
	return here && own != nil && own.Name == host
}

// RedirectProblem returns why clients of a vhost's redirect would go round in a
// circle; nil: they do not.
func (t *Table) RedirectProblem(v *Vhost) *Problem {
	const most = 20 // as many as browsers follow
	names := []string{v.Name}
	_, path := SplitName(v.Name) // which goes along where it is kept
	for next := v; len(names) < most; {
		var r *Route
		r, path = t.LeadsTo(next, next.rest(path))
		if r == nil || r.Vhost == nil {
			return nil
		}
		if names = append(names, r.Name); r.Name == v.Name {
			return &Problem{Field: "redirect.to", Reason: "leads back to this vhost, for ever: " + strings.Join(names, " → ")}
		}
		next = r.Vhost
	}
	return nil
}

func checkRespond(r *Respond, mode checkMode) []finding {
	if r == nil {
		return nil
	}
	var out []finding
	add := func(field, reason string) { out = append(out, finding{field: "respond" + field, reason: reason}) }
	if r.Status != 0 && r.Status != 200 && r.Status != 204 && (r.Status < 400 || r.Status > 599) {
		add(".status", fmt.Sprintf("bad status %d: want 200, 204, or 400 to 599; for 301 and the like there is redirect", r.Status))
	}
	switch {
	case r.Body != "" && r.File != "":
		add(".file", "stands in the place of body, and both are given: remove one of them")
	case r.Status == 204 && (r.Body != "" || r.File != ""):
		add(".status", "an answer of status 204 has no body: remove body or file, or take another status")
	case len(r.Body) > MaxPage:
		add(".body", fmt.Sprintf("has more than %d KiB", MaxPage>>10))
	case r.File != "" && mode == checkPartial && !filepath.IsAbs(r.File):
		add(".file", "want an absolute path here, or body: this document has no folder")
	}
	if strings.ContainsFunc(r.ContentType, func(c rune) bool { return c < ' ' || c >= 0x7f }) || r.ContentType != "" && !strings.Contains(r.ContentType, "/") || len(r.ContentType) > 200 {
		add(".content_type", "want one such as text/plain; charset=utf-8")
	}
	return out
}
