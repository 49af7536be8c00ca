package waf

import "testing"

// sequential says that nothing runs beside anything in this test, so that the race detector would
// find nothing, and take tenfold the time: `make norace`, a part of make test, runs it without.
func sequential(t *testing.T) {
	t.Helper()
	if raceDetector {
		t.Skip("make norace runs it without the race detector")
	}
}
