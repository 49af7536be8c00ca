package overload

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// unlimited is the value from which a version 1 group has no limit; the kernel
// writes the largest number of pages there, in bytes.
const unlimited = 1 << 62

// Limit returns the memory that the process may use according to its control
// groups, in bytes, and the file that says so. It is the smallest memory.max
// (version 2) or memory.limit_in_bytes (version 1) of the process's group and
// those above it, as far as they are visible. 0: there is none.
//
// In a container whose own group is mounted as the top, the path in
// /proc/self/cgroup may be that of the host and not exist here: what is absent on
// the way up is passed over, and the top is looked at in any case.
//
// root is the folder that holds proc and sys: "/" outside tests. An error means
// that a file is there and cannot be read or understood.
func Limit(root string) (bytes int64, file string, err error) {
	content, err := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	if errors.Is(err, fs.ErrNotExist) { // no Linux, or no control groups
		return 0, "", nil
	}
	if err != nil {
		return 0, "", fmt.Errorf("read the memory limit: %w", err)
	}
	for line := range strings.Lines(string(content)) {
		// hierarchy-ID:controllers:path, see cgroups(7); version 2 is "0::path".
		_, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		controllers, group, ok := strings.Cut(rest, ":")
		if !ok {
			continue
		}
		for _, p := range places(controllers) {
			n, at, err := smallest(filepath.Join(root, p.top), group, p.name)
			if err != nil {
				return 0, "", err
			}
			if n > 0 && (bytes == 0 || n < bytes) {
				bytes, file = n, at
			}
		}
	}
	return bytes, file, nil
}

// A place is where groups are mounted, and the file of each that has its limit.
type place struct{ top, name string }

// places returns where the groups of a hierarchy may be.
func places(controllers string) []place {
	if controllers == "" { // version 2, alone or beside version 1
		return []place{{"sys/fs/cgroup", "memory.max"}, {"sys/fs/cgroup/unified", "memory.max"}}
	}
	for c := range strings.SplitSeq(controllers, ",") {
		if c == "memory" {
			return []place{{"sys/fs/cgroup/memory", "memory.limit_in_bytes"}}
		}
	}
	return nil
}

// smallest returns the smallest limit of a group and those above it.
func smallest(top, group, name string) (bytes int64, file string, err error) {
	for group = path.Clean("/" + group); ; group = path.Dir(group) {
		at := filepath.Join(top, group, name)
		n, err := readLimit(at)
		if err != nil {
			return 0, "", err
		}
		if n > 0 && (bytes == 0 || n < bytes) {
			bytes, file = n, at
		}
		if group == "/" {
			return bytes, file, nil
		}
	}
}

// readLimit returns the limit in a file; 0: no limit, or no file.
func readLimit(file string) (int64, error) {
	content, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the memory limit: %w", err)
	}
	text := strings.TrimSpace(string(content))
	if text == "max" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read the memory limit: %s holds %.40q", file, text)
	}
	if n >= unlimited {
		return 0, nil
	}
	return int64(n), nil
}
