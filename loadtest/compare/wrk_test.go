package main

import (
	"strings"
	"testing"
	"time"
)

// Outputs of wrk 4.1.0 with our scripts.
const (
	wrkGood = `Running 1s test @ https://plain.test:40123/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.85ms    1.02ms   7.00ms   83.02%
    Req/Sec    33.10k     2.11k   36.70k    70.00%
  33082 requests in 1.00s, 39.12MB read
Requests/sec:  33014.11
Transfer/sec:     39.04MB
compared: requests=33082 duration=1002027 bytes=41020000 connect=0 read=0 write=0 timeout=0 status=0 unexpected=0 p50=1850 p99=7003
`
	wrkFaults = `Running 1s test @ http://127.0.0.1:18099/
  1 threads and 4 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency    36.49ms   16.03ms  48.07ms   83.02%
    Req/Sec   106.30     24.87   141.00     50.00%
  106 requests in 1.00s, 115.97KB read
  Socket errors: connect 0, read 14, write 0, timeout 0
  Non-2xx or 3xx responses: 23
Requests/sec:    105.79
Transfer/sec:    115.74KB
compared: requests=106 duration=1002027 bytes=118756 connect=0 read=14 write=0 timeout=0 status=23 unexpected=0 p50=43771 p99=48056
`
	wrkRefusals = `Running 1s test @ https://waf.test:40123/
  2204 requests in 1.00s, 1.00MB read
  Non-2xx or 3xx responses: 2204
compared: requests=2204 duration=1005467 bytes=1050000 connect=0 read=0 write=0 timeout=0 status=2204 unexpected=3 p50=3385 p99=4797
`
	wrkNothing = `Running 1s test @ https://waf.test:40123/
  0 requests in 1.00s, 0.00B read
  Socket errors: connect 0, read 0, write 0, timeout 64
compared: requests=0 duration=1001000 bytes=0 connect=0 read=0 write=0 timeout=64 status=0 unexpected=0 p50=0 p99=0
`
	wrkRefused = "unable to connect to 127.0.0.1:18099 Connection refused\n"
)

func TestTally(t *testing.T) {
	ok := scenario{status: 200, size: 1000}
	tests := []struct {
		name, output string
		s            scenario
		faults       []string // parts of what is wrong; none: nothing is
	}{
		{"good", wrkGood, ok, nil},
		{"answers cut short", strings.Replace(wrkGood, "bytes=41020000", "bytes=33000000", 1), ok, []string{"33082 answers brought 33000000 bytes"}},
		{"statuses and sockets", wrkFaults, ok, []string{"14 socket errors (connect 0, read 14", "23 of 106 answers had a status from 400"}},
		{"some were not refused", wrkRefusals, scenario{status: 403}, []string{"3 of 2204 answers had another status than 403"}},
		{"all were refused", strings.Replace(wrkRefusals, "unexpected=3", "unexpected=0", 1), scenario{status: 403}, nil},
		{"nothing was answered", wrkNothing, ok, []string{"64 socket errors", "no request was answered"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseTally(tt.output)
			if err != nil {
				t.Fatal(err)
			}
			fault := got.fault(tt.s)
			if fault == nil != (len(tt.faults) == 0) {
				t.Fatalf("got %v, want %q", fault, tt.faults)
			}
			for _, part := range tt.faults {
				if !strings.Contains(fault.Error(), part) {
					t.Errorf("got %q, want it to say %q", fault, part)
				}
			}
		})
	}
	got, err := parseTally(wrkGood)
	want := tally{requests: 33082, duration: 1002027 * time.Microsecond, bytes: 41020000, p50: 1850 * time.Microsecond, p99: 7003 * time.Microsecond}
	if err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}

func TestAnOutputThatIsNoResult(t *testing.T) {
	for name, output := range map[string]string{
		"refused":   wrkRefused,
		"empty":     "",
		"cut short": "compared: requests=5 duration=10\n",
		"no number": strings.Replace(wrkGood, "p50=1850", "p50=nan", 1),
		"unknown":   strings.Replace(wrkGood, "p50=1850", "p51=1850", 1),
	} {
		if got, err := parseTally(output); err == nil {
			t.Errorf("%s: got %+v, want an error", name, got)
		}
	}
}

// TestAHitThatWasNone: the backend knows.
func TestAHitThatWasNone(t *testing.T) {
	tests := []struct {
		reach         reach
		answers, seen int64
		fault         bool
	}{
		{every, 100, 100, false},
		{every, 100, 164, false}, // those under way at the end
		{every, 100, 99, true},
		{none, 100, 0, false},
		{none, 100, 1, true},
		{either, 100, 0, false},
	}
	for _, tt := range tests {
		if got := tt.reach.fault(tt.answers, tt.seen); got != nil != tt.fault {
			t.Errorf("%+v: got %v", tt, got)
		}
	}
}
