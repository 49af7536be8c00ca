//go:build unix

package loadtest

import "golang.org/x/sys/unix"

// descriptorLimit is how many descriptors this process may have; where that is less
// than need, it is raised as far as the system lets it.
func descriptorLimit(need uint64) (limit uint64, known bool) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 0, false
	}
	if limit = uint64(l.Cur); limit >= need || l.Cur == l.Max {
		return limit, true
	}
	l.Cur = l.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &l); err == nil {
		limit = uint64(l.Cur)
	}
	return limit, true
}
