package filestore

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"

	"gatehouse/routes"
)

const (
	// quiet is how long nothing must happen after an event before the folder is
	// read: editors write in several steps.
	quiet = 50 * time.Millisecond
	// latest is when the folder is read even if events go on.
	latest = 400 * time.Millisecond
	// goneAfter is how long a document must be missing before it counts as
	// removed: a file that is being written anew is empty for a moment.
	goneAfter = 300 * time.Millisecond
	// lookEvery is how often the folder itself is looked at: it may be a link that
	// now leads elsewhere, which no event tells.
	lookEvery = 500 * time.Millisecond
	// readEvery is how often all files are compared in case events are lost, as on
	// network file systems.
	readEvery = 5 * time.Second
)

// Watch yields everything and then what changes, until ctx ends. A folder that
// goes away takes no document with it.
func (s *Store) Watch(ctx context.Context, yield func(routes.Batch)) error {
	w := &watcher{store: s, yield: yield, known: map[routes.Key]*entry{}, missing: map[routes.Key]time.Time{}}
	defer w.unhook()
	w.hook()
	w.read()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	due := time.NewTimer(time.Hour)
	defer due.Stop()
	var firstEvent time.Time
	lastRead := time.Now()
	for {
		wait := time.Hour
		if len(w.missing) > 0 {
			wait = goneAfter
		}
		if !firstEvent.IsZero() {
			wait = min(quiet, time.Until(firstEvent.Add(latest)))
		}
		due.Reset(wait)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case event := <-w.events:
			if event.Name == s.dir && event.Has(fsnotify.Remove|fsnotify.Rename) {
				w.unhook() // the folder itself went: a new one may come
				w.place = nil
			}
			if firstEvent.IsZero() {
				firstEvent = time.Now()
			}
			continue
		case err := <-w.errors:
			s.log.Warn("routes folder: events may be lost, it is read again", "dir", s.dir, "err", err)
		case <-look.C:
			if !w.swapped() && time.Since(lastRead) < w.interval() {
				continue
			}
		case <-due.C:
		}
		firstEvent, lastRead = time.Time{}, time.Now()
		w.read()
	}
}

// A watcher is one Watch.
type watcher struct {
	store   *Store
	yield   func(routes.Batch)
	known   map[routes.Key]*entry // as yielded
	missing map[routes.Key]time.Time
	begun   bool
	owed    bool // the last Full batch was incomplete
	said    routes.Problems
	place   fs.FileInfo // the folder that was read last; nil: it went away since
	waiting bool        // it is another one than before and had no document: they may still come
	holding bool        // they did not: what is absent from it is not believed

	fs     *fsnotify.Watcher // nil: no events, look more often
	events <-chan fsnotify.Event
	errors <-chan error
	folder fs.FileInfo // what fs watches
}

// hook asks for events. Where there are none to be had, the folder is read at
// every look.
func (w *watcher) hook() {
	info, err := os.Stat(w.store.dir)
	if err != nil {
		return // read tells of it
	}
	w.folder = info
	watcher, err := fsnotify.NewWatcher()
	if err == nil {
		if err = watcher.Add(w.store.dir); err == nil {
			w.fs, w.events, w.errors = watcher, watcher.Events, watcher.Errors
			return
		}
		err = errors.Join(err, watcher.Close())
	}
	w.store.log.Warn("routes folder: no events, it is read twice a second", "dir", w.store.dir, "err", err)
}

func (w *watcher) unhook() {
	if w.fs == nil {
		return
	}
	if err := w.fs.Close(); err != nil {
		w.store.log.Warn("routes folder: stop watching", "dir", w.store.dir, "err", err)
	}
	w.fs, w.events, w.errors, w.folder = nil, nil, nil, nil
}

func (w *watcher) interval() time.Duration {
	if w.fs == nil {
		return lookEvery / 2 // at every look
	}
	return readEvery
}

// swapped reports whether the folder's path leads to another folder than before,
// and watches that one.
func (w *watcher) swapped() bool {
	info, err := os.Stat(w.store.dir)
	if err != nil {
		w.unhook()
		return w.store.Up() == nil
	}
	if w.folder != nil && os.SameFile(info, w.folder) {
		return w.store.Up() != nil
	}
	w.unhook()
	w.hook()
	return true
}

// read looks at all files and yields what is new.
func (w *watcher) read() {
	files, place, err := w.store.scanFolder()
	w.tell(err)
	if err != nil {
		w.place = nil
		return
	}
	v := gather(files, w.store.serving())
	served := v.inForce()
	w.store.served.Store(&served)
	batch := w.batch(v, w.placed(v, place))
	if batch.Full {
		w.owed = batch.Incomplete
		clear(w.known)
		clear(w.missing)
	}
	if w.begun && !batch.Full && len(batch.Changes) == 0 && reflect.DeepEqual(w.said, batch.Problems) {
		return
	}
	for _, c := range batch.Changes {
		if c.Gone() {
			delete(w.known, c.Key)
		} else if e := v.entries[c.Key]; e != nil {
			w.known[c.Key] = e
		}
	}
	w.begun, w.said = true, batch.Problems
	w.yield(batch)
}

// batch returns everything, or what has changed. found: a folder with documents
// has come after one that was not believed.
func (w *watcher) batch(v *view, found bool) routes.Batch {
	if !w.begun || found {
		return v.full()
	}
	batch := routes.Batch{Problems: v.problems, Changes: w.changes(v)}
	lost := slices.ContainsFunc(batch.Changes, func(c routes.Change) bool { return c.Gone() })
	if w.waiting && lost || w.owed && len(v.broken) == 0 && len(w.missing) == 0 {
		w.holding = w.holding || w.waiting && (lost || len(v.order) == 0)
		batch = v.full()
		batch.Trusted = !w.holding
	}
	w.waiting = w.waiting && len(w.missing) > 0 && !batch.Full // else all came in time
	return batch
}

// placed notes which folder was read. A folder in the place of another one that
// holds no document is a mount point whose mount is not there yet, rather than
// what somebody wants: its documents may still come, until goneAfter, and then
// their absence is not believed until there is a folder with documents. placed
// reports whether that one has come.
func (w *watcher) placed(v *view, place fs.FileInfo) (found bool) {
	swapped := w.begun && (w.place == nil || !os.SameFile(w.place, place))
	w.place = place
	switch {
	case !swapped:
	case len(v.order) > 0:
		found = w.holding
		w.waiting, w.holding = false, false
	case len(w.known) > 0 || w.owed:
		w.waiting = true
	}
	return found
}

// tell keeps Up, and logs when it changes.
func (w *watcher) tell(err error) {
	before := w.store.Up()
	w.store.setUp(err)
	switch {
	case err != nil && before == nil:
		w.store.log.Error("routes folder is not followed: the last good routes go on serving", "dir", w.store.dir, "err", err)
	case err == nil && before != nil:
		w.store.log.Info("routes folder is followed", "dir", w.store.dir)
	}
}

// changes compares what the files say with what was yielded.
func (w *watcher) changes(v *view) []routes.Change {
	var out []routes.Change
	for _, key := range v.order {
		delete(w.missing, key)
		is, was := v.entries[key], w.known[key]
		if was == nil || !reflect.DeepEqual(is.change, was.change) {
			out = append(out, is.change)
		} else {
			was.file = is.file
		}
	}
	for key, was := range w.known {
		if v.entries[key] != nil {
			continue
		}
		if broken := v.broken[was.file.name]; broken != nil {
			delete(w.missing, key)
			out = append(out, w.keep(key, was, broken)...)
			continue
		}
		since, again := w.missing[key]
		switch {
		case !again:
			w.missing[key] = time.Now()
		case time.Since(since) >= goneAfter:
			delete(w.missing, key)
			out = append(out, routes.Change{Key: key})
		}
	}
	return out
}

// keep returns the change of a document whose file is bad as a whole: it goes on
// serving, with the file's problems.
func (w *watcher) keep(key routes.Key, was *entry, broken *file) []routes.Change {
	change := routes.Change{Key: key, Problems: broken.problems}
	if reflect.DeepEqual(was.change, change) {
		return nil
	}
	w.known[key] = &entry{change: change, file: was.file, place: was.place}
	return []routes.Change{change}
}
