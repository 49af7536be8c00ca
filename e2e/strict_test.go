package e2e

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// A strictCase is raw bytes on a connection of their own and what must come of
// them. Host edge.test has backend A, other.test has backend B; there is no other.
type strictCase struct {
	name string // the attack, or the rule
	raw  string
	// answers are the final statuses in order, "|" between those that are equally good.
	answers string
	// seen is what the backends got, "; " between requests, as Recorded.String has it.
	seen string
	// open is a second outcome that the RFC leaves open: refused with 400, and nothing seen.
	open    bool
	closes  bool     // the connection ends after the answers; so it does after every refusal
	end     bool     // the client says that it will send no more
	methods string   // of the requests, for the reader of the answers; default GET
	has     []string // lines of the first forwarded head
	lacks   []string // what no forwarded head holds, in any case
	plain   bool     // not over TLS
}

// refusals are the statuses after which a connection ends: its bytes are not understood.
var refusals = []int{400, 405, 408, 413, 414, 417, 431, 501, 505}

// A strictNode is a gatehouse before two recorders.
type strictNode struct {
	*node
	rec *edgetest.Recorder
	ids []string // of all answers
}

func launchStrict(t *testing.T) *strictNode {
	rec := edgetest.NewRecorder(t, "A", "B")
	site := "waf: {mode: off}"
	n := launch(t, "", map[string]string{
		"a.yaml": vhost("edge.test", rec.URL("A"), site, "tenant: a", "timeouts: {first_byte: 2s}"),
		"b.yaml": vhost("other.test", rec.URL("B"), site, "tenant: b"),
	})
	n.within("other.test", 200)
	n.within("edge.test", 200)
	rec.Take()
	return &strictNode{node: n, rec: rec}
}

// dial opens a connection, with TLS to the name of the site that the case is about.
func (n *strictNode) dial(t *testing.T, secure bool, c strictCase) net.Conn {
	t.Helper()
	if !secure {
		return edgetest.Dial(t, n.http).Conn
	}
	name := "edge.test"
	if strings.HasPrefix(c.seen, "B ") {
		name = "other.test"
	}
	return edgetest.DialTLSConfig(t, n.https, &tls.Config{ServerName: name, RootCAs: n.roots(), NextProtos: []string{"http/1.1"}}).Conn
}

// outcome is what came of a case: the statuses, how the connection ended, what was forwarded.
type outcome struct {
	statuses []int
	closed   bool
	rest     string // what came behind the answers
	seen     []edgetest.Recorded
	faults   []string
	err      error
}

func (o outcome) String() string {
	return fmt.Sprintf("answers %v, closed %v, then %q (%v); backends saw %v, and faults %q", o.statuses, o.closed, o.rest, o.err, o.seen, o.faults)
}

// canary must be answered on the same connection wherever it stays open: this
// shows that both sides agree about where the requests before it ended.
const canary = "GET /canary HTTP/1.1\r\nHost: %s\r\n\r\n"

func (n *strictNode) try(t *testing.T, secure bool, c strictCase) (o outcome) {
	t.Helper()
	conn := n.dial(t, secure, c)
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(edgetest.Patience)); err != nil {
		t.Fatal(err)
	}
	sent := make(chan struct{})
	go func() { // the peer may refuse and hang up while we still send
		defer close(sent)
		_, _ = io.WriteString(conn, c.raw)
		if half, ok := conn.(interface{ CloseWrite() error }); ok && c.end {
			_ = half.CloseWrite()
		}
	}()
	defer func() { conn.Close(); <-sent }()
	r := bufio.NewReader(conn)
	methods := strings.Fields(c.methods)
	for i := range strings.Fields(c.answers) {
		method := "GET"
		if i < len(methods) {
			method = methods[i]
		}
		var resp *http.Response
		if resp, o.err = n.receive(r, method); o.err != nil {
			break
		}
		o.statuses = append(o.statuses, resp.StatusCode)
		if slices.Contains(refusals, resp.StatusCode) {
			if !resp.Close || resp.Header.Get("X-Request-Id") == "" {
				t.Errorf("%s: a refusal must say close and have an id: %v", c.name, resp.Header)
			}
			o.closed = true
			break
		}
	}
	if o.err == nil && !o.closed && !c.closes && !c.end {
		host := "edge.test"
		if strings.HasPrefix(c.seen, "B ") {
			host = "other.test"
		}
		<-sent
		_, _ = fmt.Fprintf(conn, canary, host)
		resp, err := n.receive(r, "GET")
		o.err = err
		if err == nil && (resp.StatusCode != 200 || resp.Close) {
			o.rest = "the canary: " + resp.Status
		}
	} else if o.err == nil {
		rest, err := io.ReadAll(r)
		o.rest, o.closed = string(rest), !errors.Is(err, os.ErrDeadlineExceeded)
	}
	o.seen, o.faults = n.rec.Take()
	return o
}

func (n *strictNode) receive(r *bufio.Reader, method string) (*http.Response, error) {
	for {
		resp, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			return nil, err
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			return nil, err
		}
		if resp.StatusCode >= 200 {
			n.ids = append(n.ids, resp.Header.Get("X-Request-Id"))
			return resp, nil
		}
	}
}

// good says what is wrong with an outcome; nothing if it is as it must be.
func (c strictCase) good(o outcome) string {
	if len(o.faults) > 0 {
		return "a backend got bytes with two readings"
	}
	var seen []string
	for _, r := range o.seen {
		if r.Target != "/canary" {
			seen = append(seen, r.String())
		}
	}
	if c.open && fmt.Sprint(o.statuses) == "[400]" && o.closed && o.rest == "" && len(seen) == 0 {
		return ""
	}
	if o.err != nil || o.rest != "" {
		return "the answers do not end where they should"
	}
	wants := strings.Fields(c.answers)
	if len(o.statuses) != len(wants) {
		return "answers are missing"
	}
	ends := c.closes
	for i, want := range wants {
		if !slices.Contains(strings.Split(want, "|"), fmt.Sprint(o.statuses[i])) {
			return "another status"
		}
		ends = ends || slices.Contains(refusals, o.statuses[i])
	}
	if ends && !o.closed {
		return "the connection stays open"
	}
	if got := strings.Join(seen, "; "); got != c.seen {
		return "the backends saw something else"
	}
	for _, line := range c.has {
		if len(o.seen) == 0 || !o.seen[0].Has(line) {
			return "not forwarded: " + line
		}
	}
	for _, r := range o.seen {
		for _, bad := range c.lacks {
			if strings.Contains(strings.ToLower(r.Head), strings.ToLower(bad)) {
				return "forwarded: " + bad
			}
		}
	}
	return ""
}

// Raw requests, each with its attack or its rule, on plain connections and on
// TLS: nothing with two readings passes, nothing legal is refused, every answer
// has its access line.
func TestStrictAtTheDoor(t *testing.T) {
	t.Parallel()
	n := launchStrict(t)
	cases := slices.Concat(lengthCases(), encodingCases(), chunkCases(), trailerCases(), lineCases(), fieldCases(),
		hostCases(), requestLineCases(), hopCases(), identityCases(), sequenceCases())
	names := map[string]bool{}
	for _, c := range cases {
		if names[c.name] {
			t.Errorf("two cases are called %q", c.name)
		}
		names[c.name] = true
		for _, secure := range []bool{false, true} {
			if secure && c.plain {
				continue
			}
			o := n.try(t, secure, c)
			if fault := c.good(o); fault != "" {
				t.Errorf("%s (TLS %v): %s\n  sent   %.300q\n  want   answers %s, seen %q, refusal allowed %v\n  got    %.1200s", c.name, secure, fault, c.raw, c.answers, c.seen, c.open, o)
			}
		}
	}
	if len(cases) < 120 {
		t.Errorf("only %d cases", len(cases))
	}
	edgetest.WaitFor(t, "an access line for each answer", func() bool {
		log := n.stdout.String()
		return !slices.ContainsFunc(n.ids, func(id string) bool { return !strings.Contains(log, id) })
	})
	if seen, faults := n.rec.Take(); len(seen) > 0 || len(faults) > 0 {
		t.Errorf("after all cases the backends got %v, and faults %q", seen, faults)
	}
}
