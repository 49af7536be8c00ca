//go:build !race

package cache

// raceEnabled is said in race_on_test.go.
const raceEnabled = false
