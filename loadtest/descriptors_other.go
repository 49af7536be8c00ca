//go:build !unix

package loadtest

// descriptorLimit: there is none that could be asked for.
func descriptorLimit(uint64) (limit uint64, known bool) { return 0, false }
