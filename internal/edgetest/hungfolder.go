package edgetest

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// HungFolder mounts a file system that never answers, as that of a server that is away: whoever looks for a file in the folder
// hangs in the system until release is called, or the test ends. It skips the test where nothing may be mounted.
func HungFolder(t testing.TB) (dir string, release func()) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "hung")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Open("/dev/fuse", syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("no file system can be made to hang here: %v", err)
	}
	if err := syscall.Mount("hung", dir, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd)); err != nil {
		_ = syscall.Close(fd)
		t.Skipf("no file system can be made to hang here: %v", err)
	}
	release = sync.OnceFunc(func() {
		_ = syscall.Close(fd) // whoever hangs gets an error
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("%s stays mounted: %v", dir, err)
		}
	})
	t.Cleanup(release)
	return dir, release
}
