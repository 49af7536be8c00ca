package events

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	// maxRead bounds a file that is read, in bytes: it is held whole. None of ours is
	// larger than a fourth of it by default.
	maxRead = 64 << 20
	// mtimeSlack is how late a file system's clock may be.
	mtimeSlack = 2 * time.Second
)

// Missing is what an answer does not have.
type Missing struct {
	// Unreadable is how many lines of the files a crash or a full disk has torn.
	Unreadable int
	// Problem says why files cannot be read; empty: they can.
	Problem string
}

func unreadableFiles(err error) string {
	return fmt.Sprintf("files of WAF events cannot be read: %v", err)
}

// A scan reads the files for one query, from the newest line to the oldest.
type scan struct {
	query   *Query
	need    func() time.Time // from when on events are wanted; it is asked for each line
	visit   func(*Event)
	needles [][]byte
	from    time.Time // what need said last, and how lines have it
	prefix  []byte
}

// scan shows visit the events of the files that match, the newest first: nearly so, for
// a process that drains may write an older file longer than a newer one. The error is
// the context's.
func (d *folder) scan(ctx context.Context, q *Query, need func() time.Time, visit func(*Event)) (miss Missing, err error) {
	files, err := d.list()
	if err != nil {
		return Missing{Problem: unreadableFiles(err)}, nil
	}
	s := &scan{query: q, need: need, visit: visit, needles: q.needles()}
	for _, f := range slices.Backward(files) {
		if f.modified.Add(mtimeSlack).Before(need()) {
			continue
		}
		text, err := d.read(f)
		if err != nil {
			miss.Problem = unreadableFiles(err)
			continue
		}
		torn := s.lines(ctx, text)
		if ctx.Err() != nil {
			return miss, ctx.Err()
		}
		if torn > 0 {
			d.tell(f.name, torn)
		}
		miss.Unreadable += torn
	}
	return miss, nil
}

// read returns what a file had when it was listed.
func (d *folder) read(f listed) ([]byte, error) {
	file, err := os.Open(filepath.Join(d.dir, f.name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // it was the oldest, and has just gone
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if f.size > maxRead {
		return nil, fmt.Errorf("%s has %d bytes, which is no file of ours", f.name, f.size)
	}
	text := make([]byte, f.size)
	n, err := io.ReadFull(file, text)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) { // somebody has cut it
		err = nil
	}
	return text[:n], err
}

// lines visits the lines of a file, the last one first, and returns how many are torn.
func (s *scan) lines(ctx context.Context, text []byte) (torn int) {
	if len(text) == 0 {
		return 0
	}
	end := bytes.LastIndexByte(text, '\n') + 1
	if end < len(text) {
		torn++
	}
	for end > 0 && ctx.Err() == nil {
		begin := bytes.LastIndexByte(text[:end-1], '\n') + 1
		line := text[begin : end-1]
		end = begin
		if len(line) == 0 || !s.wants(line) {
			continue
		}
		e := &Event{}
		if json.Unmarshal(line, e) != nil {
			torn++
		} else if s.query.match(e) {
			s.visit(e)
		}
	}
	return torn
}

const (
	lineBegin  = `{"time":"`
	lineSecond = "2006-01-02T15:04:05"
)

// wants reports whether a line may be of a wanted event: most need not be parsed.
func (s *scan) wants(line []byte) bool {
	if from := s.need(); !from.Equal(s.from) {
		s.from, s.prefix = from, from.UTC().AppendFormat([]byte(lineBegin), lineSecond)
	}
	if len(line) > len(s.prefix) && bytes.HasPrefix(line, []byte(lineBegin)) && bytes.Compare(line[:len(s.prefix)], s.prefix) < 0 {
		return false // it is older
	}
	for _, n := range s.needles {
		if !bytes.Contains(line, n) {
			return false
		}
	}
	return true
}
