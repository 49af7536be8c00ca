package wire

import (
	"testing"
	"time"
)

// Acknowledged bytes are the truth: a write may wait long for the kernel to have
// room for a good piece while the peer takes its share all the time.
func TestAcknowledgedBytesCountWhileAWriteTakesNone(t *testing.T) {
	for _, told := range []bool{true, false} {
		p := pace{rate: 1 << 10, stall: 30 * time.Second}
		acked, stalled := uint64(1000), false
		for range 100 { // 2 KiB/s
			acked += 10 << 10
			if p.wrote(0, 5*time.Second, func() uint64 {
				if told {
					return acked
				}
				return 0
			}) {
				stalled = true
				break
			}
		}
		if stalled == told {
			t.Errorf("kernel tells: %v, stalled: %v", told, stalled)
		}
	}
}

// A fast start buys no long stall, however much was taken.
func TestAFastStartBuysNoStall(t *testing.T) {
	p := pace{rate: 1 << 10, stall: 30 * time.Second}
	none := func() uint64 { return 0 }
	for range 100 {
		if p.wrote(1<<30, 5*time.Second, none) {
			t.Fatal("stalled at 200 MB/s")
		}
	}
	waited := time.Duration(0)
	for !p.wrote(0, p.left(), none) {
		waited += p.left()
	}
	if waited > 30*time.Second {
		t.Errorf("stalled after %v", waited)
	}
}

// Few writes ask the kernel.
func TestWritesThatDoNotWaitAskNobody(t *testing.T) {
	p := pace{rate: 1 << 10, stall: 30 * time.Second}
	for range 1000 {
		p.wrote(100, time.Millisecond, func() uint64 { t.Fatal("asked"); return 0 })
	}
}
