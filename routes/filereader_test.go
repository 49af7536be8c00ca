package routes

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// hangs reads a path for an owner, which ends when the channel is closed, and returns how long that was waited for.
func hangs(t *testing.T, r *FileReader, owner, path string, until chan struct{}, says string) time.Duration {
	t.Helper()
	begun := time.Now()
	_, err := ReadInTime(r, owner, path, func() (int, error) { <-until; return 1, nil })
	if p, ok := errors.AsType[*fs.PathError](err); !ok || p.Path != path || !strings.Contains(err.Error(), says) {
		t.Errorf("%s of %s: got %v", path, owner, err)
	}
	return time.Since(begun)
}

// On a disk that does not answer, each reading hangs for good.
func TestFileThatHangsIsWaitedForOnceAndCostsItsOwnerAlone(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		r, until := &FileReader{}, make(chan struct{})
		if took := hangs(t, r, "a", "/dead/1", until, "takes too long"); took != fileWait {
			t.Errorf("waited for %v", took)
		}
		for _, owner := range []string{"a", "b"} {
			if took := hangs(t, r, owner, "/dead/1", until, "takes too long"); took != 0 {
				t.Errorf("%s waited for %v though the file is late already", owner, took)
			}
		}
		hangs(t, r, "a", "/dead/2", until, "takes too long")
		if took := hangs(t, r, "a", "/dead/3", until, "others"); took != 0 {
			t.Errorf("the third was waited for %v", took)
		}
		if text, err := r.Read("b", file, 10); err != nil || string(text) != "x" {
			t.Errorf("another owner's file: %q, %v", text, err)
		}
		close(until)
		synctest.Wait()
		if text, err := r.Read("a", file, 10); err != nil || string(text) != "x" {
			t.Errorf("after the readings have ended: %q, %v", text, err)
		}
		synctest.Wait()
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.owners) != 0 || len(r.late) != 0 || r.under != (underWay{}) {
			t.Errorf("%d owners, %d late paths and %v are left", len(r.owners), len(r.late), r.under)
		}
	})
}

// Each takes a thread of the system.
func TestReadingsUnderWayAreBoundedForEachOwnerAndForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, until := &FileReader{}, make(chan struct{})
		for owner := range 20 {
			for i := range 20 {
				go func() {
					_, _ = ReadInTime(r, fmt.Sprint(owner), fmt.Sprint("/dead/", owner, i), func() (int, error) { <-until; return 1, nil })
				}()
			}
		}
		synctest.Wait()
		r.mu.Lock()
		if r.under.all != mostReadingsOfAll {
			t.Errorf("%d are under way", r.under.all)
		}
		for owner, own := range r.owners {
			if own.all > mostReadings {
				t.Errorf("%d of owner %s", own.all, owner)
			}
		}
		r.mu.Unlock()
		time.Sleep(2 * fileWait)
		synctest.Wait()
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.under.all != mostReadingsOfAll || r.under.late != mostReadingsOfAll {
			t.Errorf("%v are under way after all have given up", r.under)
		}
		close(until)
	})
}

// Whose turn comes reads, and is not refused.
func TestReadingsOfAnOwnerWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &FileReader{}
		read := 0
		done := make(chan error)
		for i := range 3 * mostReadings {
			go func() {
				_, err := ReadInTime(r, "a", fmt.Sprint("/slow/", i), func() (int, error) { time.Sleep(fileWait / 4); return 1, nil })
				done <- err
			}()
		}
		for range 3 * mostReadings {
			if err := <-done; err == nil {
				read++
			}
		}
		if read != 3*mostReadings {
			t.Errorf("%d were read", read)
		}
	})
}
