package filestore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gatehouse/routes"
)

// raceWindow is how old a change must be for time and size to tell it from a
// later one: file systems count time in steps, of up to 2 s.
const raceWindow = 2 * time.Second

// A file is one file of the folder as it was read.
type file struct {
	name     string // within the folder
	path     string // the folder's path as given, and the name
	info     fs.FileInfo
	readAt   time.Time
	docs     []routes.Document
	problems routes.Problems // of the file as a whole
}

// same reports whether the file on disk is surely still the one that was read.
func (f *file) same(info fs.FileInfo) bool {
	return os.SameFile(f.info, info) && f.info.Size() == info.Size() &&
		f.info.ModTime().Equal(info.ModTime()) && f.readAt.Sub(info.ModTime()) > raceWindow
}

// counts reports whether a name is that of a file of documents.
func counts(name string) bool {
	ext := filepath.Ext(name)
	return !strings.HasPrefix(name, ".") && (ext == ".yaml" || ext == ".yml")
}

// scan returns the files of the folder in the order of their names, reading
// those that may have changed.
func (s *Store) scan() ([]*file, error) {
	files, _, err := s.scanFolder()
	return files, err
}

// scanFolder is scan; it also tells which folder it was.
func (s *Store) scanFolder() ([]*file, fs.FileInfo, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	folder, entries, err := list(s.dir)
	if err != nil {
		return nil, nil, s.folderError(err)
	}
	now := make(map[string]*file, len(entries))
	var out []*file
	for _, entry := range entries { // sorted by name
		if !counts(entry.Name()) {
			continue
		}
		if f := s.look(entry.Name()); f != nil {
			now[f.name] = f
			out = append(out, f)
		}
	}
	s.files = now
	return out, folder, nil
}

// list is os.ReadDir that also tells which folder it was.
func list(dir string) (fs.FileInfo, []fs.DirEntry, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	entries, err := f.ReadDir(-1)
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return info, entries, err
}

func (s *Store) folderError(err error) error {
	fix := "make it readable for this user"
	if errors.Is(err, fs.ErrNotExist) {
		fix = fmt.Sprintf("create it (mkdir %s) or name another one in routes: file:DIR", s.dir)
	}
	return fmt.Errorf("routes folder %q cannot be read: %w: %s", s.dir, errors.Unwrap(err), fix)
}

// look returns the file of that name, read anew if it may have changed; nil if
// it is no file (any more). It follows symbolic links, as configuration mounted
// by Kubernetes consists of them.
func (s *Store) look(name string) *file {
	path := filepath.Join(s.dir, name)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && !info.Mode().IsRegular() {
		return nil // a folder; or a pipe, on which reading would hang
	}
	old := s.files[name]
	if err == nil && old != nil && old.info != nil && old.same(info) {
		return old
	}
	f := &file{name: name, path: path, info: info, readAt: time.Now()}
	var source []byte
	if err == nil {
		source, err = routes.ReadFile(path, routes.MaxFile)
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, routes.ErrNotRegular) {
		return nil
	}
	if err != nil {
		f.info = nil // read it again next time
		f.problems = routes.Problems{{File: path, Reason: "cannot be read: " + err.Error()}}
		return f
	}
	f.docs, f.problems = routes.ParseFile(path, source)
	return f
}

// An entry is a document of the folder, and where the one in force stands.
type entry struct {
	change routes.Change
	file   *file
	line   int
	place  string // FILE:LINE
}

// A view is what all files say together.
type view struct {
	entries  map[routes.Key]*entry
	order    []routes.Key // as they stand in the files
	problems routes.Problems
	broken   map[string]*file // files with problems as a whole, by name
	serving  map[routes.Key]string
}

// inForce returns the file of each document that is in force.
func (v *view) inForce() map[routes.Key]string {
	out := make(map[routes.Key]string, len(v.entries))
	for key, e := range v.entries {
		out[key] = e.file.name
	}
	return out
}

// gather puts the files together. Of a document that stands in several, the one
// that has been in force stays it (serving, by file name); else the first is.
func gather(files []*file, serving map[routes.Key]string) *view {
	v := &view{entries: map[routes.Key]*entry{}, broken: map[string]*file{}, serving: serving}
	for _, f := range files {
		if len(f.problems) > 0 {
			v.problems = append(v.problems, f.problems...)
			v.broken[f.name] = f
		}
		for i := range f.docs {
			v.add(f, &f.docs[i])
		}
	}
	return v
}

func (v *view) add(f *file, doc *routes.Document) {
	e := v.entries[doc.Key]
	if e == nil {
		v.entries[doc.Key] = &entry{
			change: doc.Change(), file: f, line: doc.Line, place: placeOf(f, doc),
		}
		v.order = append(v.order, doc.Key)
		return
	}
	other := routes.Problem{File: f.path, Line: doc.Line, Column: 1}
	if v.serving[doc.Key] == f.name && e.file != f {
		other = routes.Problem{File: e.file.path, Line: e.line, Column: 1}
		e.change, e.file, e.line, e.place = doc.Change(), f, doc.Line, placeOf(f, doc)
	}
	other.Reason = fmt.Sprintf("%s stands in %s too, and that one is in force: remove one of them", doc.Key, e.place)
	// The slice of a document's problems belongs to its file.
	e.change.Problems = append(slices.Clone(e.change.Problems), &other)
}

func placeOf(f *file, doc *routes.Document) string { return fmt.Sprintf("%s:%d", f.path, doc.Line) }

// full returns everything as a batch.
func (v *view) full() routes.Batch {
	b := routes.Batch{
		Full: true, Trusted: true, Incomplete: len(v.broken) > 0, Problems: v.problems,
		Changes: make([]routes.Change, 0, len(v.order)),
	}
	for _, key := range v.order {
		b.Changes = append(b.Changes, v.entries[key].change)
	}
	return b
}
