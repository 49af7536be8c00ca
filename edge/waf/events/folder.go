package events

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

const (
	// nameLayout is a file's name: when it was begun, so that names are in the order of time.
	nameLayout = "20060102T150405.000Z"
	nameEnd    = ".jsonl"
	// maxFiles bounds the small files of a process that is started again and again.
	maxFiles = 1000
)

// A folder is where lines of events go: into files that are begun anew each day (UTC),
// when one is full, and by each process, so that nobody writes behind what a crash
// has torn. It is an io.Writer for one goroutine; sweep and list may be called by others.
type folder struct {
	dir            string
	maxAge         time.Duration
	most, fileMost int64
	log            *slog.Logger

	mu    sync.Mutex
	file  *os.File // nil: none is open
	begun time.Time
	size  int64
	told  map[string]bool // files whose unreadable lines were told of
}

// Write appends whole lines to the present file.
func (d *folder) Write(lines []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.ready(int64(len(lines)), time.Now().UTC()); err != nil {
		return 0, err
	}
	n, err := d.file.Write(lines)
	d.size += int64(n)
	return n, err
}

// ready has a file open that takes so many bytes more.
func (d *folder) ready(bytes int64, now time.Time) error {
	if d.file != nil && d.size+bytes <= d.fileMost && now.YearDay() == d.begun.YearDay() {
		return nil
	}
	if d.file != nil && d.size == 0 {
		return nil // not even one line: a full disk must not be strewn with empty files
	}
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return err
	}
	if err := d.prune(now, d.fileMost); err != nil {
		d.log.Warn("old waf events cannot be removed", "dir", d.dir, "err", err)
	}
	file, begun, err := d.create(now)
	if err != nil {
		return err
	}
	if d.file != nil {
		_ = d.file.Close() // its lines were written, or their loss was told
	}
	d.file, d.begun, d.size = file, begun, 0
	return nil
}

// create makes a file that nobody else has, which is why the name may be some
// milliseconds late.
func (d *folder) create(now time.Time) (*os.File, time.Time, error) {
	for {
		path := filepath.Join(d.dir, now.Format(nameLayout)+nameEnd)
		file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_APPEND|os.O_WRONLY, 0o600)
		if !errors.Is(err, fs.ErrExist) {
			return file, now, err
		}
		now = now.Add(time.Millisecond)
	}
}

// A listed is one file of the folder.
type listed struct {
	name     string
	begun    time.Time
	modified time.Time
	size     int64
	current  bool // this process writes it: size ends a line
}

// list returns the files, the oldest first. A folder that is not there has none.
func (d *folder) list() ([]listed, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.listLocked()
}

func (d *folder) listLocked() ([]listed, error) {
	entries, err := os.ReadDir(d.dir) // sorted by name
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	current := ""
	if d.file != nil {
		current = filepath.Base(d.file.Name())
	}
	var out []listed
	for _, entry := range entries {
		stem, ok := strings.CutSuffix(entry.Name(), nameEnd)
		begun, err := time.Parse(nameLayout, stem)
		if !ok || err != nil || !entry.Type().IsRegular() {
			continue // not ours
		}
		info, err := entry.Info()
		if err != nil {
			continue // it has just gone
		}
		out = append(out, listed{entry.Name(), begun, info.ModTime(), info.Size(), entry.Name() == current})
	}
	return out, nil
}

// prune removes files that are too old, and the oldest of those that are too many,
// until there is room for so many bytes more. The present file stays.
func (d *folder) prune(now time.Time, room int64) error {
	files, err := d.listLocked()
	if err != nil {
		return err
	}
	total, count := room, len(files)
	for _, f := range files {
		total += f.size
	}
	var errs []error
	for _, f := range files {
		old := now.Sub(f.begun) > d.maxAge
		if f.current || !old && total <= d.most && count < maxFiles {
			continue
		}
		if err := os.Remove(filepath.Join(d.dir, f.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
			continue
		}
		total -= f.size
		count--
		delete(d.told, f.name)
	}
	return errors.Join(errs...)
}

// sweep prunes, and lets go of a present file that is too old or that somebody has removed.
func (d *folder) sweep(now time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	room := int64(0)
	if d.file != nil {
		room = max(0, d.fileMost-d.size)
		_, err := os.Stat(d.file.Name())
		if errors.Is(err, fs.ErrNotExist) || now.UTC().YearDay() != d.begun.YearDay() || now.Sub(d.begun) > d.maxAge {
			_ = d.file.Close()
			d.file = nil
		}
	}
	return d.prune(now, room)
}

// tell says once that a file has lines that cannot be read.
func (d *folder) tell(name string, lines int) {
	d.mu.Lock()
	first := !d.told[name]
	if d.told == nil {
		d.told = map[string]bool{}
	}
	d.told[name] = true
	d.mu.Unlock()
	if first {
		d.log.Warn("waf events that a crash or a full disk has torn are passed over", "file", name, "lines", lines)
	}
}

// Close closes the present file. The writer must have ended.
func (d *folder) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.file == nil {
		return nil
	}
	err := d.file.Close()
	d.file = nil
	if err != nil {
		return fmt.Errorf("close the waf events: %w", err)
	}
	return nil
}
