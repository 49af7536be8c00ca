package acme

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestWhatIsDearToFindIsFoundRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for took, kept := range map[time.Duration]time.Duration{0: 0, 10 * time.Millisecond: time.Second, time.Hour: rareMost} {
			var r rarely[int]
			found := 0
			get := func() int { return r.get(func() int { time.Sleep(took); found++; return found }) }
			for range 5 {
				if got := get(); got != found || kept > 0 && got != 1 {
					t.Errorf("what takes %v: %d", took, got)
				}
			}
			time.Sleep(kept)
			if before := found; get() != before+1 {
				t.Errorf("what takes %v is not found again after %v", took, kept)
			}
		}
	})
}
