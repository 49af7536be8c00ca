package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A tally is what wrk says at the end of a run.
type tally struct {
	requests int64         // answered
	duration time.Duration // of the load
	bytes    int64         // received
	// Sockets that failed and answers with a status from 400.
	connect, read, write, timeout, status int64
	unexpected                            int64 // answers with another status than the script expects
	p50, p99                              time.Duration
}

// parseTally finds the line that our scripts print (see done) in wrk's output.
func parseTally(output string) (tally, error) {
	var t tally
	_, line, ok := strings.Cut(output, resultMark)
	if !ok {
		return t, fmt.Errorf("wrk gave no result: %q", tail(output))
	}
	line, _, _ = strings.Cut(line, "\n")
	numbers := map[string]*int64{
		"requests": &t.requests, "bytes": &t.bytes, "connect": &t.connect, "read": &t.read, "write": &t.write,
		"timeout": &t.timeout, "status": &t.status, "unexpected": &t.unexpected,
	}
	times := map[string]*time.Duration{"duration": &t.duration, "p50": &t.p50, "p99": &t.p99}
	found := 0
	for field := range strings.FieldsSeq(line) {
		name, text, _ := strings.Cut(field, "=")
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return t, fmt.Errorf("wrk's result %q: %w", field, err)
		}
		switch {
		case numbers[name] != nil:
			*numbers[name] = n
		case times[name] != nil:
			*times[name] = time.Duration(n) * time.Microsecond
		default:
			return t, fmt.Errorf("wrk's result %q: unknown", field)
		}
		found++
	}
	if found != len(numbers)+len(times) {
		return t, fmt.Errorf("wrk's result is cut short: %q", line)
	}
	return t, nil
}

// fault returns what in t must not be when every answer should have the status of s
// and a body of its size.
func (t tally) fault(s scenario) error {
	var faults []error
	if n := t.connect + t.read + t.write + t.timeout; n > 0 {
		faults = append(faults, fmt.Errorf("%d socket errors (connect %d, read %d, write %d, timeout %d)", n, t.connect, t.read, t.write, t.timeout))
	}
	// wrk reports no percentile and no rate of nothing.
	if t.requests == 0 || t.duration <= 0 {
		faults = append(faults, errors.New("no request was answered"))
	}
	if s.status < 400 && t.status > 0 {
		faults = append(faults, fmt.Errorf("%d of %d answers had a status from 400", t.status, t.requests))
	}
	if t.unexpected > 0 {
		faults = append(faults, fmt.Errorf("%d of %d answers had another status than %d", t.unexpected, t.requests, s.status))
	}
	if want := t.requests * int64(s.size); t.bytes < want {
		faults = append(faults, fmt.Errorf("%d answers brought %d bytes, fewer than %d", t.requests, t.bytes, want))
	}
	return errors.Join(faults...)
}

// wrk loads the peer with s for some seconds; during, which may be nil, runs near the
// end of that time. The script lies in the run folder.
func (b *bed) wrk(ctx context.Context, s scenario, seconds, connections int, during func()) (tally, error) {
	b.seeds++
	text := script(s, b.seeds*1_000_000_000)
	return b.wrkScript(ctx, text, fmt.Sprintf("https://%s:%d/", s.host, b.settings.HTTPS.Port()), seconds, connections, during)
}

func (b *bed) wrkScript(ctx context.Context, text, url string, seconds, connections int, during func()) (tally, error) {
	file := filepath.Join(b.dir, "load.lua")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return tally{}, err
	}
	argv := []string{"wrk", "-t1", "-c", strconv.Itoa(connections), "-d", strconv.Itoa(seconds) + "s", "--timeout", "10s", "-s", file, url}
	p, err := b.start(ctx, "wrk", loadCPU, nil, b.named(argv)...)
	if err != nil {
		return tally{}, err
	}
	if during != nil {
		pause(ctx, time.Duration(seconds)*time.Second*9/10)
		during()
	}
	// A wrk that hangs is ended: it has nothing to do for so long.
	output, err := p.wait(time.Duration(seconds)*time.Second + 20*time.Second)
	if err != nil {
		return tally{}, fmt.Errorf("wrk: %w: %s", err, tail(output))
	}
	return parseTally(output)
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// tail returns the end of an output, for a message.
func tail(output string) string {
	const most = 600
	output = strings.TrimSpace(output)
	if len(output) > most {
		output = "…" + output[len(output)-most:]
	}
	return output
}
