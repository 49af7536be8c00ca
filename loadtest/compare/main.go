// Command compare measures what a request costs gatehouse and its peers: `make bench`.
//
// Peer means another proxy here: nginx, haproxy, varnish behind hitch, nginx with
// ModSecurity, caddy. One of them runs at a time, on CPU 0. The load (wrk) and the
// backend (nginx) run on CPU 1, so that the proxy is what is short of time. For each
// round, for each peer, for each scenario: a second to warm up, then some seconds of
// load from 64 connections that are never idle. The number that counts is the CPU time
// of all of the peer's processes, divided by the requests: what else the machine does
// changes the rate, and hardly this. Compare it as a ratio within one run.
//
// Equal settings (conf/): one worker, TLS 1.3 with one ECDSA certificate and session
// tickets, connections to the backend are kept, an access log to a file, no compression;
// a WAF inspects bodies of requests and not of responses, paranoia 1. Gatehouse has its
// metrics on, which are always.
//
// Nothing wrong is counted: each cell of the table is first tried by one request, which
// must have the right status and length; then wrk's errors, statuses and bytes are
// looked at, and the number of requests that reached the backend: all in a
// pass-through, none in a cache hit. A cell that fails is an error in the table, and
// the exit status is 1. So it is with --check where a target is missed, or could not be
// judged because its peer is not here or a figure is missing.
//
// One bench runs at a time on a machine. How busy the machine is without it is measured
// before each round, and stands in the result. A run that is interrupted writes the
// rounds that it has finished; the exit status is then 130. Wrong options: 2.
//
// With --flat (`make bench-flat`) it measures gatehouse alone, with few and with many
// vhosts and tenants: see flat.go.
//
// The program changes nothing on the machine: it listens on free ports of 127.0.0.1,
// keeps its files in a folder of its own that it removes, and ends what it started.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
)

func init() {
	// Children are told to end when the thread that started them does (see start);
	// the main goroutine starts them all, and stays on the one thread that lives
	// as long as the process.
	runtime.LockOSThread()
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal lets a run write what it has; a second one ends it at once.
	context.AfterFunc(ctx, stop)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		os.Exit(2)
	default:
		if ctx.Err() != nil && !errors.Is(err, errInterrupted) { // before or after the rounds
			err = fmt.Errorf("%w: %w", errInterrupted, err)
		}
		fmt.Fprintln(os.Stderr, "bench:", err)
		if errors.Is(err, errInterrupted) {
			os.Exit(130)
		}
		os.Exit(1)
	}
}

// run is the program; what it finds goes to stdout, its progress to stderr.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	o, err := parseOptions(args, stderr)
	if err != nil {
		return err
	}
	if err := o.findPrograms(); err != nil {
		return err
	}
	if n := runtime.NumCPU(); n < 2 {
		return fmt.Errorf("the proxy needs a CPU for itself and the load another; this machine shows %d", n)
	}
	release, err := takeLock(lockFile())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	raiseDescriptors()
	if o.flat {
		return runFlat(ctx, o, stdout, stderr)
	}
	return runComparison(ctx, o, stdout, stderr)
}
