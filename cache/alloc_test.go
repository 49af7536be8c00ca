//go:build !race

package cache

import "testing"

// The race detector allocates, so this runs without it.
func TestAHitDoesNotAllocate(t *testing.T) {
	s, _ := newStore(t, MinMaxBytes)
	req := benchRequest()
	fill(t, s, req, answer(200, "Cache-Control", "max-age=60", "Vary", "Accept-Encoding"), "body")
	policy := &Policy{}
	hits := 0
	// ristretto allocates one block per 64 reads, which the average rounds off.
	if n := testing.AllocsPerRun(10_000, func() {
		if l := s.Lookup(req, policy); l.Entry != nil {
			hits++
		}
	}); n != 0 {
		t.Errorf("%v allocations per hit", n)
	}
	if hits < 10_000 {
		t.Errorf("%d hits", hits)
	}
}
