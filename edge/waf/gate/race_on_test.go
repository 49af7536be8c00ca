//go:build race

package gate

// raceDetector: this test binary has it, and runs some ten times slower.
const raceDetector = true
