package loadtest

import (
	"context"
	"errors"
	"runtime"
	"testing"
)

// TestBodiesAreHeldOnceMore: 60 bodies of 64 MiB took 15 GB.
func TestBodiesAreHeldOnceMore(t *testing.T) {
	const size = 16 << 20
	for _, version := range []string{"1.1", "2"} {
		p := &Plan{Targets: []Target{{URL: "http://127.0.0.1/", Method: "POST", Body: make([]byte, size)}}, HTTP: version}
		c, err := p.compile(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		p.Targets[0].Body = nil
		runtime.GC()
		runtime.ReadMemStats(&after)
		if gone := before.HeapAlloc - after.HeapAlloc; gone < size*9/10 {
			t.Errorf("HTTP/%s: the caller's body was %d octets", version, gone)
		}
		held := after.HeapAlloc
		runtime.KeepAlive(c)
		runtime.GC()
		runtime.ReadMemStats(&after)
		if let := held - after.HeapAlloc; let < size*9/10 || let > size*11/10 {
			t.Errorf("HTTP/%s: %d octets were held for a body of %d", version, let, size)
		}
	}
}

func TestAPlanIsGivenUpWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, &Plan{Targets: to("http://127.0.0.1/")}, nil); !errors.Is(err, context.Canceled) || errors.Is(err, ErrPlan) {
		t.Errorf("got %v", err)
	}
	if _, err := (&Plan{Targets: to("http://127.0.0.1/")}).compile(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
