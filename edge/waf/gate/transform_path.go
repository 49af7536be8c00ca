package gate

import (
	"path/filepath"
	"strings"
)

// normalizePath is its namesake: filepath.Clean, but a path that ends with a slash gets one at its end, even
// where it is nothing but that, and the present directory is nothing.
func normalizePath(s string) string {
	if isClean(s) {
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

// isClean reports whether a path has nothing to be cleaned. It is for most texts, and may say no to a clean one.
func isClean(s string) bool {
	if s == "" {
		return true
	}
	if s[0] == '.' || s == "/" {
		return false
	}
	for {
		slash := strings.IndexByte(s, '/')
		if slash < 0 || slash == len(s)-1 {
			return true
		}
		if s = s[slash+1:]; s[0] == '/' || s[0] == '.' {
			return false
		}
	}
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
	for more := true; more; {
		var name string
		name, path, more = strings.Cut(path, "/")
		if n := len(name); n > 0 && (name[n-1] == ' ' || name[n-1] == '.' && !onlyDots(name)) {
			return true
		}
	}
	return false
}

func onlyDots(s string) bool { return strings.Trim(s, ".") == "" }
