//go:build !race

package edge

// raceEnabled is said in race_on_test.go.
const raceEnabled = false
