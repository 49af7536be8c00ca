package loadtest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"gatehouse/internal/octets"
)

// userAgent is sent unless a target has its own.
const userAgent = "gatehouse-loadtest"

// Placeholders of targets.
const (
	numberSlot = "{n}"
	hostSlot   = "{host}"
)

// anyNumber stands for the numbers of a run where only their length counts: all of
// them have 16 digits, so that a Content-Length is known ahead.
const anyNumber = 1e15

// counter yields numbers that do not repeat: in a run, and in later runs either,
// since it begins at the microsecond of its making and no run is that fast.
type counter struct{ atomic.Int64 }

func newCounter() *counter {
	c := new(counter)
	c.Store(time.Now().UnixMicro())
	return c
}

// A template is a text with slots; most have none.
type template struct {
	parts []string // between the slots
	slots []string // numberSlot or hostSlot, one fewer than parts
}

// newTemplate looks at each octet once: a body may be slots from end to end.
func newTemplate(s string) template {
	var t template
	for from := 0; ; {
		i := strings.IndexByte(s[from:], '{')
		if i < 0 {
			t.parts = append(t.parts, s)
			return t
		}
		at, slot := from+i, ""
		switch {
		case strings.HasPrefix(s[at:], numberSlot):
			slot = numberSlot
		case strings.HasPrefix(s[at:], hostSlot):
			slot = hostSlot
		default:
			from = at + 1
			continue
		}
		t.parts = append(t.parts, s[:at])
		t.slots = append(t.slots, slot)
		s, from = s[at+len(slot):], 0
	}
}

func (t *template) has(slot string) bool { return slices.Contains(t.slots, slot) }

// fill appends the text with a number and a host in its slots.
func (t *template) fill(to []byte, n int64, host string) []byte {
	for i, part := range t.parts {
		if i > 0 {
			if t.slots[i-1] == hostSlot {
				to = append(to, host...)
			} else {
				to = strconv.AppendInt(to, n, 10)
			}
		}
		to = append(to, part...)
	}
	return to
}

// A target is a Target in the form in which it is sent.
type target struct {
	name      string // "GET https://shop.test/a"
	weight    float64
	method    string
	secure    bool
	authority template // "shop.test:8443", and of {host}
	path      template
	fields    []templateField // Host is not among them
	body      template
	bodyLen   int // of a body without {host}; -1: varies
	wire      template
	fixed     []byte // the whole HTTP/1.1 request; nil: it has slots, or is HTTP/2's
	plain     []byte // the body for HTTP/2; nil: it has slots, or is empty
	hosts     []string
	origins   []*origin // one, or one for each host; set before the load begins
	expect    func(status int) bool
}

type templateField struct {
	name, lower string // as given; as HTTP/2 has it
	value       template
}

// compile checks the plan and returns it with its defaults and targets in the form
// in which they are sent.
func (p *Plan) compile(ctx context.Context) (*compiled, error) {
	c := &compiled{Plan: p.withDefaults()}
	if err := c.check(); err != nil {
		return nil, err
	}
	for i := range c.Targets {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		t, err := c.target(&c.Targets[i])
		if err != nil {
			return nil, planf("%s: %w", c.Targets[i].URL, err)
		}
		c.targets = append(c.targets, t)
	}
	return c, nil
}

// compiled is a Plan that can be run.
type compiled struct {
	*Plan
	targets []*target
}

func (c *compiled) target(in *Target) (*target, error) {
	t := &target{weight: in.Weight, method: in.Method}
	if t.weight == 0 {
		t.weight = 1
	}
	if t.method == "" {
		t.method = http.MethodGet
	}
	switch {
	case !(t.weight > 0 && t.weight < 1e12):
		return nil, errors.New("weight: want a number above 0")
	case !octets.IsToken(t.method) || t.method == http.MethodConnect:
		return nil, fmt.Errorf("method %q is none that can be sent", t.method)
	}
	if err := t.address(in.URL, c.Hosts); err != nil {
		return nil, err
	}
	t.body = newTemplate(string(in.Body))
	if t.body.has(hostSlot) && len(t.hosts) == 0 {
		t.body = template{parts: []string{string(in.Body)}}
	}
	t.bodyLen = t.lengthOfBody()
	t.name = t.method + " " + in.URL
	t.expect = expectation(in.Expect)
	if err := t.head(in.Header); err != nil {
		return nil, err
	}
	t.wire = newTemplate(t.text(c.NoKeepAlive))
	switch {
	case c.HTTP == "2" && len(t.body.slots) == 0:
		t.plain = []byte(t.body.parts[0])
		t.body = template{} // which would hold the same once more
	case c.HTTP != "2" && len(t.wire.slots) == 0 && len(t.body.slots) == 0:
		t.fixed = append([]byte(t.wire.parts[0]), t.body.parts[0]...)
		t.body = template{}
	}
	return t, nil
}

func expectation(statuses []int) func(int) bool {
	if len(statuses) == 0 {
		return func(s int) bool { return s >= 200 && s < 400 }
	}
	statuses = slices.Clone(statuses)
	return func(s int) bool { return slices.Contains(statuses, s) }
}

// address takes a URL apart. The path is sent as it stands: net/url would encode
// what an attack to be tried has to have plain.
func (t *target) address(raw string, hosts []string) error {
	raw, _, _ = strings.Cut(raw, "#")
	example := "example.test"
	if strings.Contains(raw, hostSlot) {
		if len(hosts) == 0 {
			return errors.New("{host} needs a list of hosts")
		}
		t.hosts, example = hosts, hosts[0]
	}
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok || scheme != "http" && scheme != "https" {
		return errors.New("want a URL that begins with http:// or https://")
	}
	t.secure = scheme == "https"
	authority, path := rest, "/"
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	if path[0] == '?' {
		path = "/" + path
	}
	for i := range len(path) {
		if path[i] <= ' ' || path[i] >= 0x7f {
			return fmt.Errorf("the path has an octet %#02x that must be sent as %%%02X", path[i], path[i])
		}
	}
	u, err := url.Parse(scheme + "://" + strings.NewReplacer(numberSlot, "0", hostSlot, example).Replace(authority))
	switch {
	case err != nil:
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // the URL stands beside it
		}
		return err
	case u.Hostname() == "":
		return errors.New("the host is missing")
	case u.User != nil:
		return errors.New("a user does not belong here: send an Authorization field")
	case strings.Contains(authority, numberSlot):
		return errors.New("{n} cannot stand in the host: use {host} and a list")
	}
	t.authority, t.path = newTemplate(authority), newTemplate(path)
	return nil
}

func (t *target) lengthOfBody() int {
	if t.body.has(hostSlot) {
		return -1
	}
	n := 0
	for _, part := range t.body.parts {
		n += len(part)
	}
	return n + len(t.body.slots)*len(strconv.Itoa(anyNumber))
}

// head checks the fields and joins them with those that are sent by default.
func (t *target) head(fields []Field) error {
	given := map[string]bool{}
	add := func(name, value string) {
		t.fields = append(t.fields, templateField{name, strings.ToLower(name), newTemplate(value)})
	}
	for _, f := range fields {
		name := http.CanonicalHeaderKey(f.Name)
		given[name] = true
		value := strings.TrimSpace(f.Value)
		switch {
		case !octets.IsToken(f.Name):
			return fmt.Errorf("header %q: that is no name of a field", f.Name)
		case !octets.IsFieldText([]byte(value)):
			return fmt.Errorf("header %s: the value has a control character", f.Name)
		case slices.Contains([]string{"Content-Length", "Transfer-Encoding", "Connection"}, name):
			return fmt.Errorf("header %s: it follows from the body and the plan", f.Name)
		case strings.Contains(value, hostSlot) && len(t.hosts) == 0:
			return fmt.Errorf("header %s: {host} has to stand in the URL too", f.Name)
		case name == "Host":
			return errors.New("header Host: name it in the URL, and where to connect beside it")
		}
		if value != "" {
			add(f.Name, value)
		}
	}
	if !given["User-Agent"] {
		add("User-Agent", userAgent)
	}
	if !given["Accept"] {
		add("Accept", "*/*")
	}
	return nil
}

// text is the request of HTTP/1.1 up to its body, with slots; of a body that has a
// {host} the length is missing, and the end of the head with it.
func (t *target) text(closing bool) string {
	var b strings.Builder
	write := func(parts ...string) {
		for _, p := range parts {
			b.WriteString(p)
		}
	}
	write(t.method, " ", t.path.source(), " HTTP/1.1\r\nHost: ", t.authority.source(), "\r\n")
	for _, f := range t.fields {
		write(f.name, ": ", f.value.source(), "\r\n")
	}
	if closing {
		write("Connection: close\r\n")
	}
	switch {
	case t.bodyLen < 0:
		return b.String()
	case t.bodyLen > 0 || slices.Contains([]string{http.MethodPost, http.MethodPut, http.MethodPatch}, t.method):
		write("Content-Length: ", strconv.Itoa(t.bodyLen), "\r\n")
	}
	write("\r\n")
	return b.String()
}

// source is the text that newTemplate was given.
func (t *template) source() string {
	var b strings.Builder
	for i, part := range t.parts {
		if i > 0 {
			b.WriteString(t.slots[i-1])
		}
		b.WriteString(part)
	}
	return b.String()
}

// request writes one request of HTTP/1.1 into buf, or returns the prepared one.
func (t *target) request(buf []byte, n int64, host string) []byte {
	if t.fixed != nil {
		return t.fixed
	}
	buf = t.wire.fill(buf[:0], n, host)
	if t.bodyLen >= 0 {
		return t.body.fill(buf, n, host)
	}
	body := t.body.fill(nil, n, host)
	buf = append(buf, "Content-Length: "...)
	buf = strconv.AppendInt(buf, int64(len(body)), 10)
	return append(append(buf, "\r\n\r\n"...), body...)
}
