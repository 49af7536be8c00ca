//go:build !race

package edgetest

const raceDetector = false
