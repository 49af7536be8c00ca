// Command gatehouse is a TLS-terminating, multi-tenant edge: it stands in front
// of many customers' websites, picks a certificate by SNI, and passes each
// request through a WAF and a response cache to a backend.
//
// This package is the command line: process settings (Config), the command tree
// and one file per verb; run.go puts the parts together. It holds no logic of
// the edge itself. Start with root.go.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

func main() { os.Exit(start()) }

// start runs the command line until it is done or a signal ends it.
func start() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return execute(ctx, &terminal{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Environ: os.Environ(), answers: isTerminal(os.Stdin),
	}, os.Args[1:])
}

// isTerminal reports whether somebody can be asked there; /dev/null, which is a device too, is none.
func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
