package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// demoPatience bounds how long the demo's server may take to come up.
const demoPatience = time.Minute

// demoBreaks are the values of --break.
var demoBreaks = []string{"waf", "cache", "backend"}

func init() { extraCommands = append(extraCommands, newDemoCommand, newToyCommand) }

// newDemoCommand is the verb `demo`.
func newDemoCommand() *cobra.Command {
	var check bool
	var broken string
	cmd := &cobra.Command{
		Use:   "demo [--check]",
		Short: "Start two demo sites and print what to try",
		Long: `Start two toy sites of two tenants behind a complete edge: TLS from an internal CA,
WAF and cache on, offline, without root. It prints commands to try, and Ctrl-C ends
it and removes its folder.

With --check it runs the printed commands itself and exits 1 if one of them does not
do what it should.`,
		Example: "  gatehouse demo\n  gatehouse demo --check",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if broken != "" && !slices.Contains(demoBreaks, broken) {
				return usagef("--break takes %s", strings.Join(demoBreaks, ", "))
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGHUP) // its terminal has gone
			defer stop()
			return runDemo(ctx, cmd.OutOrStdout(), check, broken)
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "run the printed commands and verify their outcome")
	cmd.Flags().StringVar(&broken, "break", "", "sabotage a part, so that --check must name it: waf, cache or backend")
	_ = cmd.Flags().MarkHidden("break") // fails only for a flag that is not there
	return cmd
}

// runDemo sets the demo up, serves it and takes it down again.
func runDemo(ctx context.Context, out io.Writer, check bool, broken string) (err error) {
	if runServer == nil {
		return errors.New("demo: this build has no server")
	}
	site, err := newDemoSite(ctx, broken)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer func() { err = errors.Join(err, site.close()) }()

	logs := io.Writer(os.Stderr)
	var quiet bytes.Buffer // read after the server has ended
	if check {
		logs = &quiet
		site.cfg.Log.Access.To = site.path("access.log")
	}
	served, stop := serveDemo(ctx, site.cfg, logs)
	err = awaitDemo(ctx, site.cfg, served)
	switch {
	case err != nil:
	case check:
		err = checkDemo(ctx, out, site)
	default:
		printDemo(out, site)
		select {
		case <-ctx.Done():
			_, _ = fmt.Fprintf(out, "\nEnding: open requests have up to %v. Ctrl-C again cuts them.\n", time.Duration(site.cfg.Limits.DrainGrace))
		case err = <-served:
			err = fmt.Errorf("demo: the server ended: %w", err)
		}
	}
	if stopErr := stop(); err == nil && stopErr != nil {
		err = fmt.Errorf("demo: the server did not end well: %w", stopErr)
	}
	if err != nil && quiet.Len() > 0 {
		_, _ = fmt.Fprintf(out, "\nThe server's log:\n%s", &quiet)
	}
	return err
}

// serveDemo starts the server. served yields its error if it ends by itself;
// stop ends it, waits and returns its error.
func serveDemo(ctx context.Context, cfg *Config, logs io.Writer) (served <-chan error, stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	early := make(chan error, 1)
	var result error
	go func() {
		defer close(ended)
		result = runServer(ctx, cfg, logs, nil)
		if ctx.Err() == nil {
			early <- result
			result = nil // told already
		}
	}()
	return early, func() error {
		cancel()
		<-ended
		if errors.Is(result, context.Canceled) {
			return nil
		}
		return result
	}
}

// awaitDemo returns when the node says that it is ready.
func awaitDemo(ctx context.Context, cfg *Config, served <-chan error) error {
	ctx, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+cfg.Listen.Admin+"/readyz", http.NoBody)
		if err != nil {
			return fmt.Errorf("demo: %w", err)
		}
		if resp, err := client.Do(req); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case err := <-served:
			return fmt.Errorf("demo: the server did not start: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("demo: the server was not ready in time: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// printDemo says what there is to try.
func printDemo(out io.Writer, site *demoSite) {
	var b strings.Builder
	fmt.Fprintf(&b, "Two sites of two tenants are up, on this machine only:\n\n")
	fmt.Fprintf(&b, "  %s   tenant shop: the WAF blocks, the cache is on\n", site.url(demoShop))
	fmt.Fprintf(&b, "  %s   tenant blog: the WAF only detects\n", site.url(demoBlog))
	fmt.Fprintf(&b, "\nTry in another terminal:\n")
	for _, step := range site.steps() {
		fmt.Fprintf(&b, "\n  # %s\n", step.say)
		for _, c := range step.commands {
			fmt.Fprintf(&b, "  %s\n", site.line(c))
		}
	}
	fmt.Fprintf(&b, "\nMetrics  http://%s/metrics\n", site.cfg.Listen.Admin)
	fmt.Fprintf(&b, "Routes   %s: edit it, changes act within a second\n", site.routesFile())
	fmt.Fprintf(&b, "\nCtrl-C ends the demo and removes its folder. Requests appear below.\n\n")
	_, _ = io.WriteString(out, b.String())
}
