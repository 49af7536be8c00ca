package health

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// leavingMark is in the names of files of processes that are left, between that of the drains' file and what tells processes apart.
const leavingMark = ".leaving-"

// A Leaving is of a process whose place another takes while requests are under way in it: in a file beside that of the drains it says how it
// stands, to whoever waits for a backend to be idle. Each file is locked by its writer, so that it counts as long as that lives, however that ends.
type Leaving struct {
	r      *Register
	path   string
	locked *os.File // what is at path
	failed bool     // that was told
}

// leavingSaved is what is in its file.
type leavingSaved struct {
	Process string `json:"process"`
	Report
}

// Leave begins that, before the other process serves. The error says why that one will not know. A node that shares a Redis, where both are
// known, and one without a file have nothing to say: nil, nil.
func (r *Register) Leave() (*Leaving, error) {
	if r.opts.Shared != nil || r.opts.File == "" {
		return nil, nil
	}
	_, nonce, _ := strings.Cut(r.process, "/")
	l := &Leaving{r: r, path: r.opts.File + leavingMark + nonce}
	return l, l.write()
}

// Run follows what the other process drains until ctx ends, with the last request, and returns ctx's error. On nil it does nothing.
func (l *Leaving) Run(ctx context.Context) error {
	if l == nil {
		return nil
	}
	defer l.Close()
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		l.tell(l.follow())
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// follow acts by the drains in the file, and says how the process stands. What of the two can be done is done.
func (l *Leaving) follow() error { return errors.Join(l.r.Reload(), l.write()) }

func (l *Leaving) tell(err error) {
	if err != nil && !l.failed {
		l.r.log.Warn("the process that has taken over may not know of all requests that are under way to drained backends", "err", err)
	}
	l.failed = err != nil
}

// Close ends it. On nil it does nothing.
func (l *Leaving) Close() {
	if l == nil {
		return
	}
	_ = os.Remove(l.path) // whoever finds it unlocked does so, too
	if l.locked != nil {
		_ = l.locked.Close()
	}
}

// write puts a file in place that is locked already. Only then the one before is unlocked: at no time is an unlocked one there.
func (l *Leaving) write() (err error) {
	report := l.r.report()
	report.Version = digestOf(l.r.Drains())
	data, err := json.Marshal(leavingSaved{l.r.process, report})
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(l.path), ".tmp-*") // of mode 0600
	if err != nil {
		return err
	}
	if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err == nil {
		_, err = f.Write(append(data, '\n'))
	}
	if err == nil {
		err = os.Rename(f.Name(), l.path)
	}
	if err != nil {
		return errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	if l.locked != nil {
		_ = l.locked.Close()
	}
	l.locked = f
	return nil
}

// digestOf is the same for the same drains.
func digestOf(drains []Drain) string {
	h := sha256.New()
	for i := range drains {
		fmt.Fprintf(h, "%s\n", drains[i].Key())
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// readLeavings returns how processes stand that have left, by process. Files of those that have ended it removes.
func readLeavings(file string) (map[string]Report, error) {
	if file == "" {
		return nil, nil
	}
	dir := filepath.Dir(file)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	out := map[string]Report{}
	var errs []error
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), filepath.Base(file)+leavingMark) {
			continue
		}
		left, err := readLeaving(filepath.Join(dir, entry.Name()))
		errs = append(errs, err)
		if left != nil {
			out[left.Process] = left.Report
		}
	}
	return out, errors.Join(errs...)
}

// readLeaving reads one; nil: its process has ended.
func readLeaving(path string) (*leavingSaved, error) {
	for {
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		left, replaced, err := readLocked(f)
		if _ = f.Close(); !replaced {
			return left, err
		}
	}
}

// readLocked reads an open one. It is replaced if another has its name meanwhile: then it says nothing.
func readLocked(f *os.File) (left *leavingSaved, replaced bool, err error) {
	switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		data, err := io.ReadAll(f)
		if err == nil {
			err = json.Unmarshal(data, &left)
		}
		return left, false, err
	case err != nil:
		return nil, false, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	ours, err := f.Stat()
	if err != nil {
		return nil, false, err
	}
	there, err := os.Stat(f.Name())
	if err != nil || !os.SameFile(ours, there) {
		return nil, true, nil
	}
	if err := os.Remove(f.Name()); !errors.Is(err, fs.ErrNotExist) { // another reader may have done so
		return nil, false, err
	}
	return nil, false, nil
}
