package routes

import (
	"errors"
	"io/fs"
	"os"
	"sync"
	"time"
)

const (
	// fileWait is how long anybody waits for a file that a document names.
	fileWait = time.Second
	// Readings under way at a time, of one owner and of all: on a disk that hangs each takes a thread of the system.
	mostReadings, mostReadingsOfAll = 8, 64
	// mostLate is how many readings of an owner may be late before his others are not begun: what has to wait for them, one by one,
	// waits that long at most.
	mostLate = 2
)

var (
	errSlowFile  = errors.New("reading it takes too long")
	errSlowOther = errors.New("not read: reading others takes too long")
)

// A FileReader reads files that documents name. Whoever writes one may name what hangs for good, such as a file of a server that is
// away: nobody waits for a file longer than a second, and a file that is late is not asked for again before its reading has ended. What
// that costs, it costs the owner of the document, since readings under way are bounded for each. The zero value is ready; it is safe
// for concurrent use.
type FileReader struct {
	mu     sync.Mutex
	under  underWay
	owners map[string]*underWay // of those that have any
	late   map[string]int       // by path: readings that nobody waits for any more
	ended  chan struct{}        // closed when a reading has ended or is late; nil: nobody waits for that
}

// underWay counts readings; late ones are among all.
type underWay struct{ all, late int }

// Read is ReadFile for an owner.
func (r *FileReader) Read(owner, path string, limit int64) ([]byte, error) {
	return ReadInTime(r, owner, path, func() ([]byte, error) { return ReadFile(path, limit) })
}

// Stat is os.Stat for an owner: that may hang, too.
func (r *FileReader) Stat(owner, path string) (fs.FileInfo, error) {
	return ReadInTime(r, owner, path, func() (fs.FileInfo, error) { return os.Stat(path) })
}

// ReadInTime has an owner's file read by a function, which goes on in the background if it takes too long. What it returns then is
// dropped, and it must change nothing else.
func ReadInTime[T any](r *FileReader, owner, path string, read func() (T, error)) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	var none T
	timer := time.NewTimer(fileWait)
	defer timer.Stop()
	if err := r.begin(owner, path, timer.C); err != nil {
		return none, &fs.PathError{Op: "read", Path: path, Err: err}
	}
	done := make(chan outcome, 1)
	late := false // guarded by r.mu
	go func() {
		value, err := read()
		done <- outcome{value, err}
		r.end(owner, path, &late)
	}()
	select {
	case o := <-done:
		return o.value, o.err
	case <-timer.C:
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case o := <-done: // it came with the end
		return o.value, o.err
	default:
	}
	late = true
	r.late[path]++
	r.under.late++
	r.owners[owner].late++
	r.tell()
	return none, &fs.PathError{Op: "read", Path: path, Err: errSlowFile}
}

// begin waits until an owner may have one more reading under way.
func (r *FileReader) begin(owner, path string, end <-chan time.Time) error {
	for {
		r.mu.Lock()
		if r.owners == nil {
			r.owners, r.late = map[string]*underWay{}, map[string]int{}
		}
		own := r.owners[owner]
		if own == nil {
			own = &underWay{}
		}
		var err error
		switch {
		case r.late[path] > 0:
			err = errSlowFile
		case own.late >= mostLate || r.under.late >= mostReadingsOfAll:
			err = errSlowOther
		}
		if err != nil || own.all < mostReadings && r.under.all < mostReadingsOfAll {
			if err == nil {
				own.all++
				r.under.all++
				r.owners[owner] = own
			}
			r.mu.Unlock()
			return err
		}
		if r.ended == nil {
			r.ended = make(chan struct{})
		}
		ended := r.ended
		r.mu.Unlock()
		select {
		case <-ended:
		case <-end:
			return errSlowOther
		}
	}
}

// end notes that a reading has ended.
func (r *FileReader) end(owner, path string, late *bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	own := r.owners[owner]
	own.all--
	r.under.all--
	if *late {
		own.late--
		r.under.late--
		if r.late[path]--; r.late[path] == 0 {
			delete(r.late, path)
		}
	}
	if own.all == 0 {
		delete(r.owners, owner)
	}
	r.tell()
}

// tell wakes those who wait, with mu held.
func (r *FileReader) tell() {
	if r.ended != nil {
		close(r.ended)
		r.ended = nil
	}
}
