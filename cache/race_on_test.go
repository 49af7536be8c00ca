//go:build race

package cache

// raceEnabled: the race detector is on. It allocates on its own account, so that budgets of
// allocations mean nothing.
const raceEnabled = true
