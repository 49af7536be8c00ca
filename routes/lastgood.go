package routes

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// lastGoodHeader is the first line of a last-good file; the others are records.
const lastGoodHeader = `{"gatehouse":"last good routes","version":1}`

type lastGoodRecord struct {
	Tenant   string          `json:"tenant,omitempty"`
	Vhost    string          `json:"vhost,omitempty"`
	Held     bool            `json:"held,omitempty"` // absent from the source, not believed
	Document json.RawMessage `json:"document"`
}

// loadLastGood reads what saveLastGood wrote. A file that is not there is an
// empty state. A record that this version cannot read is left out and named in
// the error; the others are returned.
func loadLastGood(path string) ([]Change, map[Key]struct{}, error) {
	held := map[Key]struct{}{}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, held, nil
	}
	if err != nil {
		return nil, held, err
	}
	defer file.Close()
	lines := bufio.NewReaderSize(file, 64<<10)
	header, err := lines.ReadString('\n')
	if err != nil || header != lastGoodHeader+"\n" {
		return nil, held, fmt.Errorf("%s: not a file of last good routes", path)
	}
	var changes []Change
	var bad []error
	dec := json.NewDecoder(lines)
	for dec.More() {
		var rec lastGoodRecord
		if err := dec.Decode(&rec); err != nil {
			return changes, held, errors.Join(append(bad, fmt.Errorf("%s: %w", path, err))...)
		}
		doc := rec.parse(path)
		if err := doc.Problems.Err(); err != nil {
			bad = append(bad, err)
			continue
		}
		changes = append(changes, doc.Change())
		if rec.Held {
			held[doc.Key] = struct{}{}
		}
	}
	return changes, held, errors.Join(bad...)
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
	return ParseJSON(key, path+" ("+key.String()+")", rec.Document)
}

// saveLastGood writes the good form of every document of the table.
func saveLastGood(path string, t *Table, held map[Key]struct{}) error {
	return WriteFile(path, 0o600, func(w *bufio.Writer) error {
		if _, err := w.WriteString(lastGoodHeader + "\n"); err != nil {
			return err
		}
		enc := json.NewEncoder(w)
		write := func(key Key, rec lastGoodRecord, doc any) error {
			raw, err := json.Marshal(doc)
			if err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
			_, rec.Held = held[key]
			rec.Document = raw
			return enc.Encode(rec)
		}
		for name := range t.Tenants() {
			if doc, _, _ := t.Tenant(name); doc != nil {
				if err := write(Key{KindTenant, name}, lastGoodRecord{Tenant: name}, doc); err != nil {
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
			if err := write(Key{KindVhost, r.Name}, lastGoodRecord{Vhost: r.Name}, r.Vhost); err != nil {
				return err
			}
		}
		for _, r := range claimants {
			if err := write(Key{KindVhost, r.Name}, lastGoodRecord{Vhost: r.Name}, r.Vhost); err != nil {
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
