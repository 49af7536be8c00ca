package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/loadtest"
	"gatehouse/routes"
)

// loadFlags are the flags of the verb `loadtest`.
type loadFlags struct {
	plan     loadtest.Plan
	rate     string
	method   string
	headers  []string
	data     string
	expect   []int
	ca       string
	scenario string
	slos     []string
	json     string
	html     string
}

const loadHelp = `Send a bounded load to web servers, and say how they answered.

Without --rate the model is closed: each of -c clients sends its next request when
the last one is answered. That finds what a server can do. With --rate it is open:
so many requests a second are planned ahead, whatever the server does, and latency
counts from the planned time, so that a stall shows in every request that it held up.

Several URLs get equal shares; --scenario has weights, bodies, fields and hosts. In
URLs, values of fields and bodies {n} becomes a number that never repeats.

Targets must be on this machine, unless you say that they are yours (--i-own-this).

Exit status: 0 good; 1 an SLO was missed, no request succeeded, or it was interrupted;
2 wrong usage.`

const loadExample = `  gatehouse loadtest http://127.0.0.1:8080/
  gatehouse loadtest --rate 500 -d 30s --slo 'p99<50ms' --slo 'errors<0.1%' http://127.0.0.1:8080/
  gatehouse loadtest --connect 127.0.0.1:8443 --ca data/ca/ca.pem https://www.shop.test/
  gatehouse loadtest --connect 127.0.0.1:8443 --insecure --handshakes --tls resumed https://www.shop.test/
  gatehouse loadtest --scenario mix.yaml --warmup 2s -o json
  gatehouse loadtest -X POST -H 'Content-Type: application/json' --data '{"order": {n}}' http://127.0.0.1:8080/orders`

// newLoadtestCommand is the verb `loadtest`.
func newLoadtestCommand(s *session) *cobra.Command {
	f := &loadFlags{}
	cmd := &cobra.Command{
		Use:     "loadtest URL…",
		Short:   "Send a bounded load to web servers",
		Long:    loadHelp,
		Example: loadExample,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.complete(cmd, args); err != nil {
				return err
			}
			return s.runLoad(cmd.Context(), f)
		},
	}
	f.add(cmd)
	return cmd
}

func (f *loadFlags) add(cmd *cobra.Command) {
	p, fs := &f.plan, cmd.Flags()
	fs.StringVar(&f.rate, "rate", "", "open model: `N` planned requests a second (default: closed)")
	fs.IntVarP(&p.Connections, "connections", "c", 64, "`N` clients, each with its connection; open: at most so many are busy")
	fs.IntVar(&p.Streams, "streams", 1, "`N` requests under way on each HTTP/2 connection")
	fs.DurationVarP(&p.Duration, "duration", "d", 10*time.Second, "`TIME` to measure, at most 1h")
	fs.Int64VarP(&p.Requests, "requests", "n", 0, "end after `N` requests as well")
	fs.DurationVar(&p.Warmup, "warmup", time.Second, "`TIME` before the measuring")
	fs.DurationVar(&p.Timeout, "timeout", 10*time.Second, "`TIME` that one request may take")
	fs.StringVar(&p.HTTP, "http", "1.1", "`VERSION` of HTTP: 1.1 or 2")
	fs.StringVar(&p.TLS, "tls", "full", "handshake of new connections: `full` or resumed")
	fs.StringVar(&p.Curve, "curve", "", "`NAME` of the key exchange: "+strings.Join(loadtest.Curves(), ", ")+" (default: Go's choice)")
	fs.BoolVar(&p.Handshakes, "handshakes", false, "open and close connections, send nothing")
	fs.BoolVar(&p.NoKeepAlive, "no-keepalive", false, "a connection for each request")
	fs.StringVar(&f.ca, "ca", "", "`FILE` of certificates to trust, PEM (default: those of the system)")
	fs.BoolVar(&p.Insecure, "insecure", false, "take any certificate")
	fs.StringVar(&p.Connect, "connect", "", "`HOST:PORT` to connect to, whatever the URL says; its host stays server name and Host")
	fs.StringVarP(&f.method, "method", "X", "", "`METHOD` (default: GET, with --data POST)")
	fs.StringArrayVarP(&f.headers, "header", "H", nil, "`FIELD` to send, 'Name: value'; 'Name:' sends none; repeatable")
	fs.StringVar(&f.data, "data", "", "`TEXT` to send as body, or @FILE")
	fs.IntSliceVar(&f.expect, "expect", nil, "`STATUSES` that are good, by comma (default: 200 to 399)")
	fs.StringVar(&f.scenario, "scenario", "", "YAML `FILE` with a mix of requests")
	fs.StringArrayVar(&f.slos, "slo", nil, "`LEVEL` that must be met: 'p99<50ms', 'errors<0.1%', 'rate>1000'; repeatable")
	fs.StringVar(&f.json, "json", "", "write the result to `FILE` as JSON, too")
	fs.StringVar(&f.html, "html", "", "write the result to `FILE` as an HTML page, too")
	fs.BoolVar(&p.Public, "i-own-this", false, "the targets may be outside this machine: they are mine")
	for flag, types := range map[string][]string{"ca": {"pem", "crt"}, "scenario": {"yaml", "yml"}} {
		_ = cmd.MarkFlagFilename(flag, types...) // fails only for a flag that is not there
	}
	for flag, values := range map[string][]string{"http": {"1.1", "2"}, "tls": {"full", "resumed"}, "curve": loadtest.Curves()} {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
}

// complete makes the plan of the flags and checks it. Errors are of usage, except
// those of files.
func (f *loadFlags) complete(cmd *cobra.Command, urls []string) error {
	if len(urls) == 0 && f.scenario == "" {
		return usagef("name a URL, or a file with --scenario")
	}
	if len(urls) > 0 && f.scenario != "" {
		return usagef("URLs stand on the line or in --scenario, not in both")
	}
	if err := f.refuseZeros(cmd); err != nil {
		return err
	}
	if err := f.readRate(); err != nil {
		return err
	}
	if err := f.readSLOs(); err != nil {
		return err
	}
	if err := f.readTargets(cmd, urls); err != nil {
		return err
	}
	if err := f.plan.Validate(); err != nil {
		return usageError{err}
	}
	return f.readCA()
}

// refuseZeros: in a plan they mean the default, on the line they are a mistake.
func (f *loadFlags) refuseZeros(cmd *cobra.Command) error {
	p := &f.plan
	for flag, value := range map[string]int64{
		"duration": int64(p.Duration), "timeout": int64(p.Timeout), "connections": int64(p.Connections),
		"streams": int64(p.Streams), "requests": p.Requests,
	} {
		if cmd.Flags().Changed(flag) && value <= 0 {
			return usagef("--%s: want more than 0", flag)
		}
	}
	return nil
}

func (f *loadFlags) readSLOs() error {
	for _, text := range f.slos {
		slo, err := loadtest.ParseSLO(text)
		var unknown *loadtest.UnknownMetricError
		if errors.As(err, &unknown) {
			if guess := routes.Nearest(unknown.Metric, loadtest.Metrics()); guess != "" {
				return usagef("--slo %s: %w (did you mean %q?)", text, err, guess)
			}
		}
		if err != nil {
			return usagef("--slo: %w", err)
		}
		f.plan.SLOs = append(f.plan.SLOs, slo)
	}
	return nil
}

func (f *loadFlags) readRate() error {
	if f.rate == "" {
		return nil
	}
	rate, err := strconv.ParseFloat(strings.TrimSuffix(f.rate, "/s"), 64)
	if err != nil || !(rate > 0) {
		return usagef("--rate %s: want a number of requests a second above 0, such as 1000 or 1000/s", f.rate)
	}
	f.plan.Rate = rate
	return nil
}

// readTargets makes a target of each URL, all with the same fields and body, or reads
// the scenario.
func (f *loadFlags) readTargets(cmd *cobra.Command, urls []string) error {
	if f.scenario != "" {
		for _, flag := range []string{"method", "header", "data", "expect"} {
			if cmd.Flags().Changed(flag) {
				return usagef("--%s: with --scenario it belongs into the file", flag)
			}
		}
		err := readScenario(f.scenario, &f.plan)
		if problems, ok := errors.AsType[routes.Problems](err); ok {
			for _, p := range problems {
				writeProblem(cmd.ErrOrStderr(), "", p)
			}
			return usagef("--scenario: %s in %s", count(len(problems), "problem"), f.scenario)
		}
		return err
	}
	var fields []loadtest.Field
	for _, h := range f.headers {
		name, value, ok := strings.Cut(h, ":")
		if !ok {
			return usagef("bad header %q: want 'Name: value'", h)
		}
		fields = append(fields, loadtest.Field{Name: strings.TrimSpace(name), Value: strings.TrimSpace(value)})
	}
	body := []byte(f.data)
	if file, ok := strings.CutPrefix(f.data, "@"); ok {
		var err error
		if body, err = routes.ReadFile(file, loadtest.MaxBody); err != nil {
			return fmt.Errorf("--data: %w", err)
		}
	}
	method := f.method
	if method == "" && len(body) > 0 {
		method = "POST"
	}
	for _, url := range urls {
		f.plan.Targets = append(f.plan.Targets, loadtest.Target{URL: url, Method: method, Header: fields, Body: body, Expect: f.expect})
	}
	return nil
}

func (f *loadFlags) readCA() error {
	if f.ca == "" {
		return nil
	}
	pem, err := routes.ReadFile(f.ca, maxSettings)
	if err != nil {
		return fmt.Errorf("--ca: %w", err)
	}
	f.plan.Roots = x509.NewCertPool()
	if !f.plan.Roots.AppendCertsFromPEM(pem) {
		return fmt.Errorf("--ca %s: there is no certificate in it (want PEM)", f.ca)
	}
	return nil
}

// runLoad runs the load and prints what it found.
func (s *session) runLoad(ctx context.Context, f *loadFlags) error {
	if err := f.tryFiles(); err != nil {
		return err
	}
	show, wipe := progressOn(s.Err)
	result, err := loadtest.Run(ctx, &f.plan, show)
	wipe()
	var foreign *loadtest.NotOwnedError
	switch {
	case errors.As(err, &foreign):
		return usagef("%w: if it is yours, say --i-own-this", err)
	case errors.Is(err, loadtest.ErrPlan):
		return usageError{err}
	}
	if err != nil {
		return fmt.Errorf("load: %w", err)
	}
	if err := s.printLoad(f, result); err != nil {
		return err
	}
	return judgeLoad(s.Err, result)
}
