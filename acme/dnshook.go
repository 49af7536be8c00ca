package acme

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// A dnsHook has a program publish the records of DNS-01 (RFC 8555 section 8.4). It is run as
//
//	PROGRAM present _acme-challenge.www.shop.test. VALUE
//	PROGRAM cleanup _acme-challenge.www.shop.test. VALUE
//
// and must have published the record with all servers of the zone when it ends with status 0. Several values of one name may be
// there at a time: for a name and its wildcard.
type dnsHook struct {
	program string
	limit   time.Duration
}

const (
	dnsHookTime = 5 * time.Minute
	// dnsHookOutput is how much of what it prints is shown when it fails.
	dnsHookOutput = 500
)

func (h *dnsHook) present(ctx context.Context, host, value string) (cleanUp func(), err error) {
	record := "_acme-challenge." + strings.TrimPrefix(host, "*.") + "."
	if err := h.run(ctx, "present", record, value); err != nil {
		return nil, err
	}
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), h.limit)
		defer cancel()
		_ = h.run(ctx, "cleanup", record, value) // what stays is a record that proves nothing any more
	}, nil
}

func (h *dnsHook) run(ctx context.Context, what, record, value string) error {
	ctx, cancel := context.WithTimeout(ctx, h.limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, h.program, what, record, value)
	cmd.WaitDelay = time.Second // for those it has started and left behind with its output
	out, err := cmd.CombinedOutput()
	if err == nil || errors.Is(err, exec.ErrWaitDelay) {
		return nil
	}
	text := strings.TrimSpace(string(out[:min(len(out), dnsHookOutput)]))
	return fmt.Errorf("dns hook %s %s: %w: %s", h.program, what, err, text)
}
