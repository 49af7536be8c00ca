//go:build race

package waf

// raceDetector: this test binary has it, and compiles rules some ten times slower.
const raceDetector = true
