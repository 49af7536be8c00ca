package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"gatehouse/loadtest"
	"gatehouse/routes"
)

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

// complete makes the plan of the flags and checks it; its errors are of usage.
func (f *loadFlags) complete(cmd *cobra.Command, urls []string) error {
	if len(urls) == 0 && f.scenario == "" {
		return usagef("name a URL, or a file with --scenario")
	}
	if len(urls) > 0 && f.scenario != "" {
		return usagef("URLs stand on the line or in --scenario, not in both")
	}
	if cmd.Flags().Changed("requests") && !cmd.Flags().Changed("warmup") {
		f.plan.Warmup = 0 // who asks for ten requests does not want thousands before them
	}
	for _, step := range []func(*cobra.Command) error{
		refuseEmpty, f.refuseZeros, f.readRate, f.readSLOs,
		func(cmd *cobra.Command) error { return f.readTargets(cmd, urls) },
		f.refuseBareHandshakes, f.lowerConnections,
		func(cmd *cobra.Command) error { return usage(namesFlag(cmd, f.plan.Validate())) },
		f.checkPorts, f.refuseIdle, f.checkOutputs, f.readCA,
	} {
		if err := step(cmd); err != nil {
			return err
		}
	}
	return nil
}

// namesFlag names a flag as it is written where an error of the plan begins with its
// name.
func namesFlag(cmd *cobra.Command, err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if end := strings.IndexAny(text, ": "); end > 0 && !strings.HasPrefix(text[end:], "://") && cmd.Flags().Lookup(text[:end]) != nil {
		return fmt.Errorf("--%w", err)
	}
	return err
}

// usage makes an error one of usage.
func usage(err error) error {
	if err == nil {
		return nil
	}
	return usageError{err}
}

// refuseEmpty: --rate "$RATE" without that variable would be another load than the one
// that was meant. An empty body is one.
func refuseEmpty(cmd *cobra.Command) error {
	var err error
	cmd.Flags().Visit(func(flag *pflag.Flag) {
		if flag.Value.Type() == "string" && flag.Value.String() == "" && flag.Name != "data" {
			err = usagef("--%s: its value is empty", flag.Name)
		}
	})
	return err
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

func (f *loadFlags) readSLOs(*cobra.Command) error {
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

func (f *loadFlags) readRate(*cobra.Command) error {
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
		if !ok || strings.TrimSpace(name) == "" {
			return usagef("bad header %q: want 'Name: value'", h)
		}
		fields = append(fields, loadtest.Field{Name: strings.TrimSpace(name), Value: strings.TrimSpace(value)})
	}
	body := []byte(f.data)
	if file, ok := strings.CutPrefix(f.data, "@"); ok {
		var err error
		if body, err = routes.ReadFile(file, loadtest.MaxBody); err != nil {
			return usagef("--data %s: %s", f.data, unreadable(err))
		}
	}
	method := f.method
	if method == "" && cmd.Flags().Changed("data") {
		method = "POST"
	}
	for _, url := range urls {
		f.plan.Targets = append(f.plan.Targets, loadtest.Target{URL: url, Method: method, Header: fields, Body: body, Expect: f.expect})
	}
	return nil
}

func (f *loadFlags) readCA(*cobra.Command) error {
	if f.ca == "" {
		return nil
	}
	pem, err := routes.ReadFile(f.ca, maxSettings)
	if err != nil {
		return usagef("--ca %s: %s", f.ca, unreadable(err))
	}
	f.plan.Roots = x509.NewCertPool()
	if !f.plan.Roots.AppendCertsFromPEM(pem) {
		return usagef("--ca %s: there is no certificate in it (want PEM)", f.ca)
	}
	return nil
}

// runLoad runs the load and prints what it found.
func (s *session) runLoad(ctx context.Context, f *loadFlags) error {
	undo, err := f.tryFiles()
	if err != nil {
		return err
	}
	show, wipe := progressOn(s.Err)
	result, err := loadtest.Run(ctx, &f.plan, show)
	wipe()
	if err != nil {
		undo()
		return refused(err)
	}
	if err := s.printLoad(f, result); err != nil {
		return err
	}
	return judgeLoad(s.Err, result)
}

// refused says why there was no load.
func refused(err error) error {
	if _, ok := errors.AsType[*loadtest.NotOwnedError](err); ok {
		return usagef("%w: if it is yours, say --i-own-this", err)
	}
	if errors.Is(err, loadtest.ErrPlan) {
		return usageError{err}
	}
	return fmt.Errorf("load: %w", err)
}
