package routes

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestPipesDevicesAndFoldersAreNotReadAsFiles(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	zero := filepath.Join(dir, "zero")
	if err := os.Symlink("/dev/zero", zero); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, zero, dir} {
		_, err := ReadFile(path, 1<<10)
		var p *fs.PathError
		if !errors.Is(err, ErrNotRegular) || !errors.As(err, &p) || p.Path != path {
			t.Errorf("%s: got %v", path, err)
		}
	}
}

func TestFileIsReadUpToTheLimit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if _, err := ReadFile(path, 1<<10); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent: got %v", err)
	}
	for size, ok := range map[int]bool{0: true, 1 << 10: true, 1<<10 + 1: false} {
		if err := os.WriteFile(path, []byte(strings.Repeat("x", size)), 0o600); err != nil {
			t.Fatal(err)
		}
		text, err := ReadFile(path, 1<<10)
		if ok && (err != nil || len(text) != size) {
			t.Errorf("%d bytes: got %d, %v", size, len(text), err)
		}
		if !ok && (err == nil || !strings.Contains(err.Error(), "larger than 1 KiB")) {
			t.Errorf("%d bytes: got %v", size, err)
		}
	}
	// Its size is 0 until it is read.
	if _, err := ReadFile("/proc/self/smaps", 1<<10); err == nil || !strings.Contains(err.Error(), "larger than 1 KiB") {
		t.Errorf("a file that hides its size: got %v", err)
	}
}

func TestHugeSparseFileIsNotRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 1<<40); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadFile(path, 1<<20); err == nil || !strings.Contains(err.Error(), "larger than 1024 KiB") {
		t.Errorf("got %v", err)
	}
}

// /proc/kmsg, for instance, says that it is regular and has its readers wait, as a pipe does.
func TestWhatHasItsReadersWaitIsNotRead(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if _, err := w.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(unwaiting{r}); !errors.Is(err, ErrNotRegular) {
		t.Errorf("got %v", err)
	}
	if info, err := os.Stat("/proc/kmsg"); err != nil || !info.Mode().IsRegular() || os.Geteuid() != 0 {
		return
	}
	if _, err := ReadFile("/proc/kmsg", 1<<20); err == nil {
		t.Error("/proc/kmsg was read to its end")
	}
}
