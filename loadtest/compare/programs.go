package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// findPrograms makes the path to gatehouse absolute and lets what is beside it be
// found, where `make bench-deps` puts caddy, and what only root has in its path.
func (o *options) findPrograms() error {
	var err error
	if o.gatehouse, err = filepath.Abs(o.gatehouse); err != nil {
		return err
	}
	path := strings.Join([]string{os.Getenv("PATH"), "/usr/sbin", filepath.Dir(o.gatehouse)}, string(os.PathListSeparator))
	if err := os.Setenv("PATH", path); err != nil {
		return err
	}
	return requireTools("nginx", "wrk", "taskset", "unshare", o.gatehouse)
}

// requireTools says which programs are missing and where they come from.
func requireTools(programs ...string) error {
	var missing []string
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			missing = append(missing, p)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%s: not found; `make bench-deps` installs peers and tools, `make build` makes bin/gatehouse", strings.Join(missing, ", "))
	}
	return nil
}

// raiseDescriptors lifts the limit of open files as far as we may, for us and for
// everything that we start. Where it stays too low, whoever lacks one says so.
func raiseDescriptors() {
	const wanted = 1 << 16
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return
	}
	higher := syscall.Rlimit{Cur: wanted, Max: max(limit.Max, wanted)}
	if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &higher) == nil { // root may
		return
	}
	limit.Cur = limit.Max
	// Cannot fail: it is what everybody may do.
	_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
}

// descriptors returns how many files a process may have open.
func descriptors() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 1024
	}
	return int(min(limit.Cur, 1<<16))
}
