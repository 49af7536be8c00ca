package gate

import (
	"path/filepath"
	"strings"
)

// normalizePath is its namesake: filepath.Clean, but a path that ends with a slash gets one at its end, even
// where it is nothing but that, and the present directory is nothing.
func normalizePath(s string) string {
	if s == "" {
		return s
	}
	clean := filepath.Clean(s)
	switch {
	case clean == ".":
		return ""
	case s[len(s)-1] != '/':
		return clean
	case len(s) == len(clean)+1 && s[:len(clean)] == clean:
		return s
	}
	return clean + "/"
}

// normalizeWindowsPath is normalizePathWin: of a path with slashes of either kind, what Windows would
// open; without the name of a stream, and without the dots and spaces that it ignores at the end of a name.
func normalizeWindowsPath(s string) string {
	return trimNames(withoutStream(normalizePath(strings.ReplaceAll(s, `\`, "/"))))
}

// withoutStream cuts the last name of a path at its first colon: "file::$DATA" is the file. The colon of
// a drive stays.
func withoutStream(path string) string {
	from, end := 0, len(path)
	if len(path) >= 2 && path[1] == ':' && 'a' <= path[0]|0x20 && path[0]|0x20 <= 'z' {
		from = 2
	}
	if end > from && path[end-1] == '/' {
		end--
	}
	from += strings.LastIndexByte(path[from:end], '/') + 1
	colon := strings.IndexByte(path[from:end], ':')
	switch {
	case colon < 0:
		return path
	case end < len(path):
		return path[:from+colon] + "/"
	}
	return path[:from+colon]
}

// trimNames drops the dots and spaces at the end of each name, and a name that is nothing else; one of dots
// alone is no name, and neither is an empty one.
func trimNames(path string) string {
	if !ignoresEnds(path) {
		return path
	}
	var names []string
	for name := range strings.SplitSeq(path, "/") {
		if !onlyDots(name) {
			if name = strings.TrimRight(name, ". "); name == "" {
				continue
			}
		}
		names = append(names, name)
	}
	return strings.Join(names, "/")
}

// ignoresEnds reports whether a name has something at its end that Windows ignores.
func ignoresEnds(path string) bool {
	for name := range strings.SplitSeq(path, "/") {
		if !onlyDots(name) && strings.HasSuffix(name, ".") || strings.HasSuffix(name, " ") {
			return true
		}
	}
	return false
}

func onlyDots(s string) bool { return strings.Trim(s, ".") == "" }
