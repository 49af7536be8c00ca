package filestore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

// leftover matches the temporary files of routes.WriteFile: a dot, the name, a
// dot and a random number of 32 bits.
var leftover = regexp.MustCompile(`^\.(.+)\.[0-9]{1,10}$`)

// leftoverAge is how old a temporary file is that nobody is writing any more.
const leftoverAge = time.Minute

// sweep removes the temporary files that a writer left behind when it was killed.
// One that cannot be removed does no harm, as its name begins with a dot.
func (s *Store) sweep() {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		s.log.Warn("routes folder: temporary files are not looked for", "dir", s.dir, "err", err)
		return
	}
	for _, entry := range entries {
		match := leftover.FindStringSubmatch(entry.Name())
		if match == nil || !counts(match[1]) || !entry.Type().IsRegular() {
			continue
		}
		info, err := entry.Info()
		if err == nil && time.Since(info.ModTime()) < leftoverAge {
			continue
		}
		if err == nil {
			err = os.Remove(filepath.Join(s.dir, entry.Name()))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.log.Warn("routes folder: a temporary file cannot be removed", "file", entry.Name(), "err", err)
		}
	}
}
