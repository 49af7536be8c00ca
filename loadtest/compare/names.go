package main

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// wrk takes the SNI from the URL, so the names of our vhosts must resolve to 127.0.0.1
// for it. The machine's /etc/hosts stays as it is: wrk gets one of its own, mounted in
// a mount namespace in which nothing else runs.

// privateHosts is the command that runs another with its own /etc/hosts ($0).
var privateHosts = []string{"sh", "-c", `mount --bind "$0" /etc/hosts && exec "$@"`}

// errNames says what is missing where neither way works.
var errNames = errors.New("wrk needs plain.test and waf.test to resolve to 127.0.0.1: run as root, where it gets a /etc/hosts of its own, " +
	"or allow unprivileged user namespaces, or add the line `127.0.0.1 plain.test waf.test` to /etc/hosts")

// resolveNames finds out how names resolve for what named returns.
func (b *bed) resolveNames(ctx context.Context) error {
	if resolves(ctx, plainHost) && resolves(ctx, wafHost) {
		return nil
	}
	hosts, err := os.ReadFile("/etc/hosts")
	if err != nil {
		return err
	}
	file := filepath.Join(b.dir, "hosts")
	// The first line with a name is the one that counts.
	text := "127.0.0.1 " + plainHost + " " + wafHost + "\n" + string(hosts)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return err
	}
	for _, unshare := range [][]string{{"unshare", "--mount"}, {"unshare", "--map-root-user", "--mount"}} {
		prefix := append(append(unshare, privateHosts...), file)
		if exec.CommandContext(ctx, prefix[0], append(prefix[1:], "true")...).Run() == nil {
			b.prefix = prefix
			return nil
		}
	}
	return errNames
}

// named returns a command with what makes our names resolve in it.
func (b *bed) named(argv []string) []string {
	return append(append([]string(nil), b.prefix...), argv...)
}

func resolves(ctx context.Context, name string) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupHost(ctx, name)
	return err == nil && len(addresses) == 1 && addresses[0] == "127.0.0.1"
}
