package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"gatehouse/loadtest"
	"gatehouse/loadtest/report"
)

// handshakeConnections are opened at once: few, since each is new.
const handshakeConnections = 16

// handshakes loads the peer with connections that are closed once TLS stands.
func (st *station) handshakes(ctx context.Context, s scenario) (report.Sample, error) {
	if err := st.agrees(ctx, s); err != nil {
		return report.Sample{}, err
	}
	r, used, err := st.verb(ctx, s, handshakeConnections, "--handshakes", "--tls", s.tls, "--curve", s.curve)
	if err != nil {
		return report.Sample{}, err
	}
	// Each connection's first handshake has nothing to resume.
	if resumed := r.Connections.Resumed; s.tls == "full" && resumed > 0 || s.tls == "resumed" && resumed < r.Requests*9/10 {
		return report.Sample{}, fmt.Errorf("%d of %d handshakes were resumed", resumed, r.Requests)
	}
	return verbSample(r, used), nil
}

// http2 loads the peer over HTTP/2.
func (st *station) http2(ctx context.Context, s scenario) (report.Sample, error) {
	if err := st.speaksHTTP2(ctx, s); err != nil {
		return report.Sample{}, err
	}
	if err := st.try(ctx, s); err != nil {
		return report.Sample{}, err
	}
	r, used, err := st.verb(ctx, s, st.options.connections, "--http", "2")
	if err != nil {
		return report.Sample{}, err
	}
	if err := answersFault(r, s); err != nil {
		return report.Sample{}, err
	}
	return verbSample(r, used), nil
}

// answersFault says what is wrong when every answer should have the status of s and a
// body of its size.
func answersFault(r *loadtest.Result, s scenario) error {
	var faults []error
	if n := r.Statuses[strconv.Itoa(s.status)]; n != r.Requests {
		faults = append(faults, fmt.Errorf("%d of %d answers had the status %d", n, r.Requests, s.status))
	}
	if want := r.Requests * int64(s.size); r.BytesIn < want {
		faults = append(faults, fmt.Errorf("%d answers brought %d bytes, fewer than %d", r.Requests, r.BytesIn, want))
	}
	return errors.Join(faults...)
}

// verb loads the peer by `gatehouse loadtest`, once to warm up and once in earnest,
// and returns what it found and what the peer used meanwhile.
func (st *station) verb(ctx context.Context, s scenario, connections int, flags ...string) (*loadtest.Result, usage, error) {
	if _, err := st.loadtest(ctx, s, warmup, connections, flags); err != nil {
		return nil, usage{}, err
	}
	if err := st.settle(ctx); err != nil {
		return nil, usage{}, err
	}
	before, err := st.usage()
	if err != nil {
		return nil, usage{}, err
	}
	r, err := st.loadtest(ctx, s, st.options.seconds, connections, flags)
	if err != nil {
		return nil, usage{}, err
	}
	after, err := st.usage()
	if err != nil {
		return nil, usage{}, err
	}
	used := after.minus(before)
	used.rss = after.rss
	return r, used, resultFault(r)
}

func (st *station) loadtest(ctx context.Context, s scenario, secs, connections int, flags []string) (*loadtest.Result, error) {
	argv := []string{
		st.options.gatehouse, "loadtest", "-o", "json", "--insecure", "--connect", st.bed.settings.HTTPS.String(),
		"-c", strconv.Itoa(connections), "-d", seconds(secs), "--warmup", "0s",
	}
	argv = append(append(argv, flags...), "https://"+s.host+s.path)
	p, err := st.bed.start(ctx, "loadtest", loadCPU, oneWorker, argv...)
	if err != nil {
		return nil, err
	}
	output, err := p.wait(time.Duration(secs)*time.Second + 20*time.Second)
	if err != nil {
		return nil, fmt.Errorf("gatehouse loadtest: %w: %s", err, tail(output))
	}
	return parseResult(output)
}

// parseResult reads the JSON form of a result.
func parseResult(output string) (*loadtest.Result, error) {
	r := new(loadtest.Result)
	if err := json.Unmarshal([]byte(output), r); err != nil {
		return nil, fmt.Errorf("the result of gatehouse loadtest: %w: %s", err, tail(output))
	}
	return r, nil
}

// resultFault says what in a result must not be.
func resultFault(r *loadtest.Result) error {
	var faults []error
	for _, k := range slices.Sorted(maps.Keys(r.Errors)) {
		if n := r.Errors[k]; n > 0 {
			faults = append(faults, fmt.Errorf("%d errors: %s", n, k))
		}
	}
	if r.Requests == 0 || r.Seconds <= 0 {
		faults = append(faults, errors.New("nothing was answered"))
	}
	return errors.Join(faults...)
}

func verbSample(r *loadtest.Result, used usage) report.Sample {
	out := costs(used, r.Requests)
	out.Rate, out.P50, out.P99 = r.Rate, r.Latency.P50, r.Latency.P99
	out.RSS = megabytes(used.rss)
	return out
}
