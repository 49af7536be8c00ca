package routes

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"os"
)

// unsaved is what the last-good file lacks. The zero value: nothing.
type unsaved struct {
	keys  []Key // in the order of the changes, some of them twice
	whole bool  // too much to be named
}

// maxUnsaved bounds the keys that are remembered.
const maxUnsaved = 10_000

func (u *unsaved) add(keys ...Key) {
	if u.whole || len(u.keys)+len(keys) > maxUnsaved {
		u.all()
		return
	}
	u.keys = append(u.keys, keys...)
}

func (u *unsaved) all() { u.whole, u.keys = true, nil }

func (u *unsaved) any() bool { return u.whole || len(u.keys) > 0 }

// heldOf returns those of the keys that are held.
func heldOf(held map[Key]struct{}, keys []Key) map[Key]struct{} {
	out := map[Key]struct{}{}
	for _, key := range keys {
		if _, ok := held[key]; ok {
			out[key] = struct{}{}
		}
	}
	return out
}

// A saver writes the last good state: a snapshot of all, and a log of what has
// changed since, so that one change costs one record and not a file of a million.
// A log that grows beyond half of its snapshot is replaced by the next one. Each names the
// snapshot that it belongs to: whatever is cut off in between is not read.
// The zero value begins with a snapshot.
type saver struct {
	snapshot os.FileInfo // as we wrote it; nil: not yet
	id       string      // of the snapshot
	logSize  int64       // 0: there is none yet
}

// smallSnapshot, in bytes, is written again rather than added to.
const smallSnapshot = 64 << 10

func (s *saver) wantsAll(todo *unsaved, t *Table) bool {
	return todo.whole || s.snapshot == nil || s.snapshot.Size() < smallSnapshot || s.logSize > s.snapshot.Size()/2 || 4*len(todo.keys) > t.Len()
}

// look notices another snapshot in the place of ours: of another process, which
// took over from this one or the other way round.
func (s *saver) look(path string) {
	if s.snapshot == nil {
		return
	}
	if now, err := os.Stat(path); err != nil || !os.SameFile(now, s.snapshot) {
		s.snapshot = nil
	}
}

// saveAll writes a snapshot, to which no log belongs yet.
func (s *saver) saveAll(path string, t *Table, held map[Key]struct{}) (err error) {
	s.snapshot, s.logSize, s.id = nil, 0, rand.Text()
	if err := saveLastGood(path, s.id, t, held); err != nil {
		return err
	}
	s.snapshot, err = os.Stat(path)
	return err
}

// saveChanges adds the present form of some documents to the log. After an error
// a snapshot is wanted: half a record may stand there.
func (s *saver) saveChanges(path string, keys []Key, t *Table, held map[Key]struct{}) (err error) {
	defer func() {
		if err != nil {
			s.snapshot = nil
		}
	}()
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	if s.logSize == 0 {
		if err := enc.Encode(lastGoodHeader{lastGoodLog, lastGoodVersion, s.id}); err != nil {
			return err
		}
	}
	seen := map[Key]bool{}
	for _, key := range keys {
		if seen[key] {
			continue
		}
		seen[key] = true
		_, isHeld := held[key]
		rec, err := lastGoodOf(t, key, isHeld)
		if err == nil {
			err = enc.Encode(rec)
		}
		if err != nil {
			return err
		}
	}
	begins := s.logSize == 0
	s.logSize += int64(text.Len())
	if begins {
		return WriteFile(path+logSuffix, 0o600, func(w *bufio.Writer) error {
			_, err := w.Write(text.Bytes())
			return err
		})
	}
	log, err := os.OpenFile(path+logSuffix, os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = log.Write(text.Bytes())
	return errors.Join(err, log.Sync(), log.Close())
}
