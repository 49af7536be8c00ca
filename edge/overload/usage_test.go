package overload

import (
	"runtime"
	"testing"
)

// The runtime's real figures: garbage is no use of memory, what is held is.
func TestUsageCountsWhatIsHeldAndNotGarbage(t *testing.T) {
	const size = 64 << 20
	r := newReader()
	runtime.GC()
	before := r.read()
	held := make([][]byte, 0, 64)
	for range cap(held) {
		held = append(held, make([]byte, size/64))
	}
	runtime.GC()
	during := r.read()
	if grown := during.used(1<<40) - before.used(1<<40); grown < size*9/10 || grown > size*2 {
		t.Errorf("used grew by %d bytes while %d are held", grown, size)
	}
	runtime.KeepAlive(held) // the last use
	if r.read().possible() < during.possible()-size/2 {
		t.Error("dead objects are not counted as possible use")
	}
	runtime.GC()
	after := r.read()
	if more := after.used(1<<40) - before.used(1<<40); more > size/2 {
		t.Errorf("%d bytes are still counted after they were let go", more)
	}
	if after.cycles < before.cycles+2 || after.mapped <= 0 || after.other <= 0 || after.mapped < after.used(1<<40) {
		t.Errorf("%+v", after)
	}
}

func BenchmarkSample(b *testing.B) {
	r := newReader()
	for b.Loop() {
		r.read()
	}
}
