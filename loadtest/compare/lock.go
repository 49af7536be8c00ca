package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// lockFile is one for the whole machine: from whatever folder a second bench is
// started, it would load the processors that the first one measures.
func lockFile() string { return filepath.Join(os.TempDir(), "gatehouse-bench.lock") }

// takeLock makes sure that no other bench runs until release is called or the process
// ends. The file stays: removing it could let two processes hold a lock each.
func takeLock(file string) (release func() error, err error) {
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o666)
	if errors.Is(err, fs.ErrPermission) {
		// Where everybody may write, Linux lets nobody create a file that another user
		// has created already (fs.protected_regular); opening it is another matter.
		f, err = os.OpenFile(file, os.O_RDWR|syscall.O_NOFOLLOW, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("make sure that no other bench runs: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = fmt.Errorf("another bench is running (pid %s); two at a time would measure each other: wait until it ends", holder(file))
	} else if err == nil {
		err = sign(f)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f.Close, nil
}

// sign writes who holds the lock.
func sign(f *os.File) error {
	// Whoever comes next may be another user; that this may fail where the file is
	// another user's already is nothing: then it has been done.
	_ = f.Chmod(0o666)
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// holder returns the process that wrote itself into the lock.
func holder(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return "unknown"
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil { // it has the lock and did not come to write yet
		return "unknown"
	}
	return strconv.Itoa(pid)
}
