package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// stepPatience bounds one printed line of a check.
const stepPatience = 30 * time.Second

// A demoAnswer is what came back over the wire.
type demoAnswer struct {
	status int
	header http.Header
	body   string
}

// want reports what keeps the answer from having this status, a request id and
// this text.
func (a *demoAnswer) want(status int, text string) error {
	if a.status != status {
		return fmt.Errorf("status %d, want %d", a.status, status)
	}
	if a.header.Get("X-Request-Id") == "" {
		return errors.New("the answer has no X-Request-Id")
	}
	if !strings.Contains(a.body, text) {
		return fmt.Errorf("the page lacks %q", text)
	}
	return nil
}

// checkDemo runs the printed lines as an outside client and verifies what comes
// of each step. All steps run; the error names the first that failed.
func checkDemo(ctx context.Context, out io.Writer, site *demoSite) error {
	failed := ""
	for _, step := range site.steps() {
		line, err := site.try(ctx, step)
		if err == nil {
			_, _ = fmt.Fprintf(out, "ok      %-8s %s\n", step.name, step.say)
			continue
		}
		_, _ = fmt.Fprintf(out, "FAILED  %-8s %s\n        %v\n        $ %s\n", step.name, step.say, err, line)
		if failed == "" {
			failed = step.name
		}
	}
	if failed != "" {
		return fmt.Errorf("demo check: step %s failed", failed)
	}
	return nil
}

// try runs one step; line is the command that its error belongs to.
func (s *demoSite) try(ctx context.Context, step demoStep) (line string, err error) {
	var answers []*demoAnswer
	id := ""
	for _, c := range step.commands {
		c.verb = slices.Clone(c.verb)
		for i, word := range c.verb {
			if word == demoID {
				c.verb[i] = id
			}
		}
		line = s.line(c)
		a, err := s.run(ctx, c)
		if err != nil {
			return line, err
		}
		answers = append(answers, a)
		if a != nil {
			id = a.header.Get("X-Request-Id")
		}
	}
	return line, step.verify(answers)
}

// run runs the line as it is printed; a request without curl on this machine is
// made by a client of our own.
func (s *demoSite) run(ctx context.Context, c demoCommand) (*demoAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, stepPatience)
	defer cancel()
	if c.verb == nil && s.curl.path == "" {
		return s.request(ctx, c)
	}
	cmd := exec.CommandContext(ctx, "sh", "-c", s.line(c))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, strings.TrimSpace(stderr.String()))
	}
	if c.verb != nil {
		return nil, nil
	}
	return parseDemoAnswer(out)
}

// parseDemoAnswer reads what `curl -i` prints.
func parseDemoAnswer(out []byte) (*demoAnswer, error) {
	// net/http parses one status line form; curl writes HTTP/2 without a minor version.
	out = bytes.Replace(out, []byte("HTTP/2 "), []byte("HTTP/2.0 "), 1)
	head, body, ok := bytes.Cut(out, []byte("\r\n\r\n"))
	if !ok {
		return nil, fmt.Errorf("curl printed no answer: %q", out)
	}
	// The body that curl prints is decoded already: whatever the head says of
	// its framing is history.
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(append(head, "\r\n\r\n"...))), nil)
	if err != nil {
		return nil, fmt.Errorf("curl's output: %w", err)
	}
	_ = resp.Body.Close()
	return &demoAnswer{status: resp.StatusCode, header: resp.Header, body: string(body)}, nil
}

// request makes c's request over TCP and TLS, as curl would.
func (s *demoSite) request(ctx context.Context, c demoCommand) (*demoAnswer, error) {
	pem, err := os.ReadFile(s.caFile())
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", s.caFile())
	}
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, s.cfg.Listen.HTTPS)
		},
		DisableKeepAlives: true,
	}
	defer transport.CloseIdleConnections()
	target := strings.TrimSuffix(s.url(c.host), "/") + c.path
	if c.attack != "" {
		target += "?q=" + url.QueryEscape(c.attack)
	}
	method, form := http.MethodGet, io.Reader(http.NoBody)
	if c.form != "" {
		method, form = http.MethodPost, strings.NewReader(c.form)
	}
	req, err := http.NewRequestWithContext(ctx, method, target, form)
	if err != nil {
		return nil, err
	}
	if c.form != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	return &demoAnswer{status: resp.StatusCode, header: resp.Header, body: string(body)}, nil
}
