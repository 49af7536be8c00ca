package routes

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
)

// lastGoodVersion stands in the first line of a last-good file and of its log;
// the other lines are records.
const lastGoodVersion = 2

// A lastGoodHeader is a first line. ID is of the snapshot, and in a log of the
// snapshot to which it belongs.
type lastGoodHeader struct {
	Gatehouse string `json:"gatehouse"`
	Version   int    `json:"version"`
	ID        string `json:"id"`
}

const (
	lastGoodSnapshot = "last good routes"
	lastGoodLog      = "changes of last good routes"
)

type lastGoodRecord struct {
	Tenant   string          `json:"tenant,omitempty"`
	Vhost    string          `json:"vhost,omitempty"`
	Held     bool            `json:"held,omitempty"` // absent from the source, not believed
	Gone     bool            `json:"gone,omitempty"` // in a log: it is no more
	Document json.RawMessage `json:"document,omitempty"`
}

// loadLastGood reads a snapshot and its log. A file that is not there is an
// empty state. A record that this version cannot read is left out and named in
// the error; the others are returned.
func loadLastGood(path string) ([]Change, map[Key]struct{}, error) {
	held := map[Key]struct{}{}
	changes, id, err := readLastGood(path, lastGoodSnapshot, "", held)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, held, nil
	}
	if id == "" {
		return changes, held, err
	}
	later, _, logErr := readLastGood(path+logSuffix, lastGoodLog, id, held)
	if errors.Is(logErr, fs.ErrNotExist) {
		logErr = nil
	}
	return append(changes, later...), held, errors.Join(err, logErr)
}

// logSuffix makes the name of a log from that of its snapshot.
const logSuffix = ".log"

// readLastGood reads one of the two files. Of another snapshot than want
// (empty: of any), there is nothing to read.
func readLastGood(path, kind, want string, held map[Key]struct{}) (changes []Change, id string, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, "", err
	}
	defer file.Close()
	lines := bufio.NewReaderSize(file, 64<<10)
	first, err := lines.ReadString('\n')
	var header lastGoodHeader
	if err != nil || json.Unmarshal([]byte(first), &header) != nil || header.Gatehouse != kind || header.Version != lastGoodVersion {
		return nil, "", fmt.Errorf("%s: not a file of %s", path, kind)
	}
	if want != "" && header.ID != want {
		return nil, "", nil // it ended between the writing of a snapshot and of its log
	}
	var bad []error
	dec := json.NewDecoder(lines)
	for dec.More() {
		var rec lastGoodRecord
		if err := dec.Decode(&rec); err != nil {
			return changes, header.ID, errors.Join(append(bad, fmt.Errorf("%s: %w", path, err))...)
		}
		doc := rec.parse(path)
		if err := doc.Problems.Err(); err != nil {
			bad = append(bad, err)
			continue
		}
		changes = append(changes, doc.Change())
		delete(held, doc.Key)
		if rec.Held {
			held[doc.Key] = struct{}{}
		}
	}
	return changes, header.ID, errors.Join(bad...)
}

func (rec *lastGoodRecord) parse(path string) Document {
	key := Key{KindVhost, rec.Vhost}
	if rec.Tenant != "" {
		key = Key{KindTenant, rec.Tenant}
		if err := CheckTenantName(rec.Tenant); err != nil {
			return Document{Key: key, Problems: Problems{{File: path, Reason: err.Error()}}}
		}
	} else if name, err := CanonicalVhost(rec.Vhost); err != nil || name != rec.Vhost {
		return Document{Key: key, Problems: Problems{{File: path, Reason: fmt.Sprintf("bad vhost name %q", rec.Vhost)}}}
	}
	if rec.Gone {
		return Document{Key: key}
	}
	return parseJSON(key, path+" ("+key.String()+")", rec.Document, math.MaxInt)
}

// lastGoodOf makes the record of a document as the table has it.
func lastGoodOf(t *Table, key Key, held bool) (lastGoodRecord, error) {
	rec := lastGoodRecord{Held: held}
	var doc any
	if key.Kind == KindTenant {
		rec.Tenant = key.Name
		if tenant, _, _ := t.Tenant(key.Name); tenant != nil {
			doc = tenant
		}
	} else {
		rec.Vhost = key.Name
		if r := t.Vhost(key.Name); r != nil && r.Vhost != nil {
			doc = r.Vhost
		}
	}
	if doc == nil {
		rec.Gone = true
		return rec, nil
	}
	var err error
	if rec.Document, err = json.Marshal(doc); err != nil {
		return rec, fmt.Errorf("%s: %w", key, err)
	}
	return rec, nil
}

// saveLastGood writes a snapshot: the good form of every document of the table.
func saveLastGood(path, id string, t *Table, held map[Key]struct{}) error {
	return WriteFile(path, 0o600, func(w *bufio.Writer) error {
		enc := json.NewEncoder(w)
		if err := enc.Encode(lastGoodHeader{lastGoodSnapshot, lastGoodVersion, id}); err != nil {
			return err
		}
		write := func(key Key) error {
			_, isHeld := held[key]
			rec, err := lastGoodOf(t, key, isHeld)
			if err != nil {
				return err
			}
			return enc.Encode(rec)
		}
		for name := range t.Tenants() {
			if doc, _, _ := t.Tenant(name); doc != nil {
				if err := write(Key{KindTenant, name}); err != nil {
					return err
				}
			}
		}
		// Who has an alias comes before who only claims it, so that it stays with
		// the same vhost after a restart.
		var claimants []*Route
		for r := range t.Vhosts() {
			if r.Vhost == nil {
				continue
			}
			if len(t.Conflicts(r)) > 0 {
				claimants = append(claimants, r)
				continue
			}
			if err := write(Key{KindVhost, r.Name}); err != nil {
				return err
			}
		}
		for _, r := range claimants {
			if err := write(Key{KindVhost, r.Name}); err != nil {
				return err
			}
		}
		return nil
	})
}

// WriteFile writes a file whole or not at all: to a temporary file beside it,
// flushed to disk, then renamed over it.
func WriteFile(path string, perm os.FileMode, write func(*bufio.Writer) error) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp.Name()))
		}
	}()
	w := bufio.NewWriterSize(tmp, 64<<10)
	err = errors.Join(write(w), w.Flush(), tmp.Chmod(perm), tmp.Sync(), tmp.Close())
	if err != nil {
		return err
	}
	if err = os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
