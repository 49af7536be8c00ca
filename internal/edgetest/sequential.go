package edgetest

import "testing"

// Sequential says that nothing runs beside anything in a test, so that the race detector would find
// nothing, and take tenfold the time: `make norace`, a part of make test, runs it without. It is the first thing that
// such a test calls, by which that finds it.
func Sequential(t *testing.T) {
	t.Helper()
	if raceDetector {
		t.Skip("make norace runs it without the race detector")
	}
}
