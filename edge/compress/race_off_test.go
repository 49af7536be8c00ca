//go:build !race

package compress

// raceEnabled is said in race_on_test.go.
const raceEnabled = false
