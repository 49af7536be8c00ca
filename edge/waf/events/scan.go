package events

import (
	"bufio"
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

// maxLine bounds a line that is read, in bytes: more than an event of the most rules
// can take, each of its characters escaped.
const maxLine = 256 << 10

// mtimeSlack is how late a file system's clock may be.
const mtimeSlack = 2 * time.Second

// scan shows visit the matching events of the files, the newest file first, but within
// a file in the order of time. need says from when on events are still wanted: it is
// asked before each file, and older files are passed over. The error is the context's.
func (d *folder) scan(ctx context.Context, q *Query, need func() time.Time, visit func(*Event)) (miss missing, err error) {
	files, err := d.list()
	if err != nil {
		return missing{Problem: unreadableFiles(err)}, nil
	}
	needles := q.needles()
	lines := bufio.NewReaderSize(nil, maxLine)
	for _, f := range slices.Backward(files) {
		if f.modified.Add(mtimeSlack).Before(need()) {
			continue // a process that drains may write an older file longer than a newer one
		}
		torn, err := d.scanFile(ctx, f, lines, needles, func(e *Event) {
			if q.match(e) {
				visit(e)
			}
		})
		if ctx.Err() != nil {
			return miss, ctx.Err()
		}
		if err != nil {
			miss.Problem = unreadableFiles(err)
		}
		if torn > 0 {
			d.tell(f.name, torn)
		}
		miss.Unreadable += torn
	}
	return miss, nil
}

// missing is what an answer does not have.
type missing struct {
	// Unreadable is how many lines of the files a crash or a full disk has torn.
	Unreadable int
	// Problem says why files cannot be read; empty: they can.
	Problem string
}

func unreadableFiles(err error) string {
	return fmt.Sprintf("files of WAF events cannot be read: %v", err)
}

func (d *folder) scanFile(ctx context.Context, f listed, r *bufio.Reader, needles [][]byte, visit func(*Event)) (torn int, err error) {
	file, err := os.Open(filepath.Join(d.dir, f.name))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil // it was the oldest, and has just gone
	}
	if err != nil {
		return 0, err
	}
	defer file.Close()
	r.Reset(io.LimitReader(file, f.size))
	for ctx.Err() == nil {
		line, err := r.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF):
			if len(line) > 0 {
				torn++
			}
			return torn, nil
		case errors.Is(err, bufio.ErrBufferFull):
			torn++
			if err := skipLine(r); err != nil {
				return torn, nil //nolint:nilerr // the file ends within the line
			}
			continue
		case err != nil:
			return torn, err
		}
		if line = bytes.TrimSpace(line); len(line) == 0 || !contains(line, needles) {
			continue
		}
		e := &Event{}
		if json.Unmarshal(line, e) != nil {
			torn++
			continue
		}
		visit(e)
	}
	return torn, nil
}

func skipLine(r *bufio.Reader) error {
	for {
		if _, err := r.ReadSlice('\n'); !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}

// contains reports whether the line has all needles: most lines need not be parsed.
func contains(line []byte, needles [][]byte) bool {
	for _, n := range needles {
		if !bytes.Contains(line, n) {
			return false
		}
	}
	return true
}
