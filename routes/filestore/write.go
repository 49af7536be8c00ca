package filestore

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"gatehouse/routes"
)

// errMoved: somebody else has written the file meanwhile.
var errMoved = errors.New("the file is being changed by somebody else: try again")

// Put writes a document into the file that holds it, changing only the lines of
// the fields that differ, or else into a new file named after it. If the result
// would not read back as the document, or would touch another one, nothing is
// changed and an error says so.
func (s *Store) Put(ctx context.Context, doc routes.Document) error {
	return s.Edit(ctx, doc.Key, func(routes.Change) (routes.Document, error) { return doc, nil })
}

// Edit is Put of what change makes of the document that the file holds now.
func (s *Store) Edit(ctx context.Context, key routes.Key, change func(routes.Change) (routes.Document, error)) error {
	return s.write(ctx, func(files []*file) error {
		e := gather(files, s.serving()).entries[key]
		present := routes.Change{Key: key}
		if e != nil {
			present = e.file.document(key).Change()
		}
		doc, err := change(present)
		switch {
		case err != nil:
			return err
		case doc.Tenant == nil && doc.Vhost == nil:
			return fmt.Errorf("%s: no document to write", key)
		case e == nil:
			return s.create(files, doc)
		}
		return s.edit(e.file, func(source []byte) ([]byte, error) {
			out, err := replaceDocument(source, e.file.document(key), doc)
			if err == nil {
				err = verify(e.file.path, source, out, key, &doc)
			}
			return out, err
		})
	})
}

// Delete removes a document from every file that has it, and a file with it
// whose last document it was.
func (s *Store) Delete(ctx context.Context, key routes.Key) error {
	return s.write(ctx, func(files []*file) error {
		var in []*file
		for _, f := range files {
			if f.document(key) != nil {
				in = append(in, f)
			}
		}
		if len(in) > 1 {
			return fmt.Errorf("%s stands in %s and in %s: remove one of them by hand, so that no other site goes with it", key, in[0].path, in[1].path)
		}
		for _, f := range in {
			if err := s.edit(f, func(source []byte) ([]byte, error) {
				out, err := deleteDocument(source, key)
				if err == nil {
					err = verify(f.path, source, out, key, nil)
				}
				return out, err
			}); err != nil {
				return err
			}
		}
		if len(in) == 0 {
			return errors.Join(fmt.Errorf("%s: %w", key, routes.ErrNotFound), brokenErr(files))
		}
		return nil
	})
}

// write runs one change, again if somebody else changed the file at the same time.
func (s *Store) write(ctx context.Context, change func([]*file) error) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	err := errMoved
	for try := 0; try < 5 && errors.Is(err, errMoved); try++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		files, scanErr := s.scan()
		if scanErr != nil {
			return scanErr
		}
		err = change(files)
	}
	return err
}

// document returns the first form of a document in the file, or nil.
func (f *file) document(key routes.Key) *routes.Document {
	for i := range f.docs {
		if f.docs[i].Key == key {
			return &f.docs[i]
		}
	}
	return nil
}

// edit replaces a file by what change makes of it, or removes it if no document
// is left in it.
func (s *Store) edit(f *file, change func([]byte) ([]byte, error)) error {
	// A link stays a link: the file that it leads to is written.
	target, err := filepath.EvalSymlinks(f.path)
	if err != nil {
		return err
	}
	before, err := os.Stat(target)
	if err != nil {
		return err
	}
	source, err := routes.ReadFile(target, routes.MaxFile)
	if err != nil {
		return err
	}
	out, err := change(source)
	if err != nil {
		return fmt.Errorf("%s is not changed: %w", f.path, err)
	}
	now, err := os.Stat(target)
	if err != nil {
		return err
	}
	if !os.SameFile(before, now) || before.Size() != now.Size() || !before.ModTime().Equal(now.ModTime()) ||
		f.info == nil || !os.SameFile(f.info, now) || int64(len(source)) != now.Size() {
		return errMoved
	}
	if docs, problems := routes.ParseFile(f.path, out); len(docs) == 0 && len(problems) == 0 {
		return os.Remove(f.path)
	}
	return routes.WriteFile(target, before.Mode().Perm(), func(w *bufio.Writer) error {
		_, err := w.Write(out)
		return err
	})
}

// create writes a document to a file of its own.
func (s *Store) create(files []*file, doc routes.Document) error {
	if err := brokenErr(files); err != nil {
		return fmt.Errorf("%s is not written: it may stand in a file that cannot be read: %w", doc.Key, err)
	}
	source := newFile(doc)
	path, err := s.freeName(doc.Key)
	if err != nil {
		return err
	}
	if err := verify(path, nil, source, doc.Key, &doc); err != nil {
		return fmt.Errorf("%s is not written: %w", path, err)
	}
	return routes.WriteFile(path, 0o644, func(w *bufio.Writer) error {
		_, err := w.Write(source)
		return err
	})
}

// brokenErr names the files that are bad as a whole.
func brokenErr(files []*file) error {
	var out routes.Problems
	for _, f := range files {
		out = append(out, f.problems...)
	}
	return out.Err()
}

// freeName returns the path of a file that is not there yet: NAME.yaml,
// _wildcard.DOMAIN.yaml for a wildcard, _default.yaml for "*".
func (s *Store) freeName(key routes.Key) (string, error) {
	name := key.Name
	if name == "*" {
		name = "_default"
	} else if domain, ok := strings.CutPrefix(name, "*."); ok {
		name = "_wildcard." + domain
	}
	name = strings.Map(func(r rune) rune {
		if r == '.' || r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, name)
	if strings.HasPrefix(name, ".") {
		name = "_" + name[1:] // files that begin with a dot do not count
	}
	name = name[:min(len(name), 200)] // a file name has 255 bytes, a host 253
	for i, tail := 0, ""; i < 1000; i++ {
		if i > 0 {
			tail = "-" + strconv.Itoa(i+1)
		}
		path := filepath.Join(s.dir, name+tail+".yaml")
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			return path, nil
		} else if err != nil {
			return "", err
		}
	}
	return "", fmt.Errorf("%s: no free file name in %s", key, s.dir)
}

// verify makes sure that a changed file reads back as wanted (nil: without the
// document) and that all its other documents are as before.
func verify(path string, before, after []byte, key routes.Key, want *routes.Document) error {
	had, _ := routes.ParseFile(path, before)
	docs, problems := routes.ParseFile(path, after)
	if err := problems.Err(); err != nil {
		return err
	}
	is, others := map[routes.Key]string{}, 0
	for i := range docs {
		if _, twice := is[docs[i].Key]; !twice {
			is[docs[i].Key] = fingerprint(&docs[i])
		}
		if docs[i].Key != key {
			others++
		}
	}
	if want != nil && is[key] != fingerprint(want) {
		for i := range docs {
			if err := docs[i].Problems.Err(); err != nil && docs[i].Key == key {
				return err
			}
		}
		return fmt.Errorf("%s would not read back as it is wanted", key)
	}
	if _, there := is[key]; want == nil && there {
		return fmt.Errorf("%s would still be there", key)
	}
	for i := range had {
		if had[i].Key == key {
			continue
		}
		others--
		if _, there := is[had[i].Key]; !there {
			return fmt.Errorf("%s would be lost", had[i].Key)
		}
	}
	for i := range had {
		if k := had[i].Key; k != key && is[k] != fingerprint(firstOf(had, k)) {
			return fmt.Errorf("%s would be changed too", k)
		}
	}
	if others != 0 {
		return errors.New("another document would come up")
	}
	return nil
}

func firstOf(docs []routes.Document, key routes.Key) *routes.Document {
	return (&file{docs: docs}).document(key)
}

// fingerprint is equal for documents that mean the same.
func fingerprint(doc *routes.Document) string {
	switch {
	case doc.Tenant != nil:
		return marshal(doc.Tenant)
	case doc.Vhost != nil:
		return marshal(doc.Vhost)
	}
	return fmt.Sprintf("%d problems", len(doc.Problems))
}

func marshal(v any) string {
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(v); err != nil {
		return err.Error() // a value that cannot be read back equals nothing else
	}
	return b.String()
}
