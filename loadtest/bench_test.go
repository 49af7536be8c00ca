package loadtest

import (
	"net"
	"sync"
	"syscall"
	"testing"
	"time"
)

// BenchmarkClosed is what the generator costs for each request, the system's share
// and that of the smallest server included (both run in this process). The second
// value is processor time of both; run it with -cpu 1.
func BenchmarkClosed(b *testing.B) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				buf := make([]byte, 4096)
				for {
					if _, err := c.Read(buf); err != nil { // a request is one segment here
						return
					}
					if _, err := c.Write([]byte("HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Length: 5\r\n\r\nhello")); err != nil {
						return
					}
				}
			})
		}
	})
	defer serving.Wait()
	defer ln.Close()
	p := &Plan{Targets: []Target{{URL: "http://" + ln.Addr().String() + "/"}}, Connections: 16, Duration: MaxDuration, Requests: 10_000}
	before := processorTime(b)
	b.ReportAllocs()
	for b.Loop() {
		r, err := Run(b.Context(), p, nil)
		if err != nil || r.Requests != p.Requests {
			b.Fatal(r, err)
		}
	}
	b.ReportMetric(float64(processorTime(b)-before)/float64(b.N)/float64(p.Requests), "cpu-ns/req")
	b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(p.Requests), "ns/req")
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestRequestsDoNotAllocate: the garbage collector must not be what is measured.
func TestRequestsDoNotAllocate(t *testing.T) {
	p := &Plan{Targets: []Target{
		{URL: "http://127.0.0.1/fixed", Weight: 2},
		{URL: "http://127.0.0.1/{n}", Method: "POST", Body: []byte("id={n}"), Header: []Field{{"X-N", "{n}"}}},
	}}
	c, err := p.compile(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := newShards(len(c.targets))[0]
	var buf []byte
	var a answer
	answered := []byte("HTTP/1.1 200 OK\r\nDate: Sat, 01 Jan 2000 00:00:00 GMT\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello")
	n := testing.AllocsPerRun(100, func() {
		for i, target := range c.targets {
			out := target.request(buf, anyNumber, "")
			if target.fixed == nil {
				buf = out
			}
			a.reset(false)
			if used, err := a.feed(answered); err != nil || used != len(answered) {
				t.Fatal(used, err)
			}
			s.record(&sample{target: i, ended: 1000, status: a.status, good: true})
		}
	})
	if n != 0 {
		t.Errorf("%v allocations for two requests", n)
	}
}
