//go:build race

package compress

// raceEnabled: the race detector is on. It allocates on its own account, so that budgets of
// allocations mean nothing.
const raceEnabled = true
