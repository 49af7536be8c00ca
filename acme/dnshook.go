package acme

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// A DNSPublisher publishes the TXT records of DNS-01 (RFC 8555 section 8.4): record is their name with its last dot
// ("_acme-challenge.shop.test."), value their text. Several values of one record may be there at a time, for a name and its wildcard, so that
// none may replace another. Both methods may be called by several goroutines, may take minutes, and end soon after ctx.
type DNSPublisher interface {
	// Present returns when all servers of the zone have the record. After an error it may be there or not.
	Present(ctx context.Context, record, value string) error
	// CleanUp takes it away. That it is not there is no error.
	CleanUp(ctx context.Context, record, value string) error
}

var _ DNSPublisher = (*dnsHook)(nil)

// A dnsHook has a program publish records. It is run as
//
//	PROGRAM present _acme-challenge.www.shop.test. VALUE
//	PROGRAM cleanup _acme-challenge.www.shop.test. VALUE
//
// and must have published the record with all servers of the zone when it ends with status 0.
type dnsHook struct {
	program string
	limit   time.Duration
}

const (
	dnsHookTime = 5 * time.Minute
	// dnsHookOutput is how much of what it prints is shown when it fails.
	dnsHookOutput = 500
)

// Present implements DNSPublisher.
func (h *dnsHook) Present(ctx context.Context, record, value string) error {
	return h.run(ctx, "present", record, value)
}

// CleanUp implements DNSPublisher.
func (h *dnsHook) CleanUp(ctx context.Context, record, value string) error {
	return h.run(ctx, "cleanup", record, value)
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
