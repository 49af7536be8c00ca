package wafrules

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing/fstest"
)

// The bounds of a directory. A release of the CRS has 60 files and 1 MB.
const (
	maxFiles    = 500
	maxIncludes = 90       // of *.conf: the engine includes 100
	maxBytes    = 32 << 20 // in all
	maxFile     = 8 << 20
	maxEntries  = 10_000 // of a folder
)

// FromDir reads a directory that holds a release of the CRS, unpacked: crs-setup.conf (else
// crs-setup.conf.example), rules/*.conf and *.data, and plugins/*-config.conf, *-before.conf and
// *-after.conf, which are read in the CRS's order: setup, plugins' config and before, rules,
// plugins' after. base.conf stays ours and comes first.
//
// All of it is in memory when it returns: what happens to the files later changes nothing. It refuses
// what is no release, and what would take from tenants what they rely on; the error then
// names the file and line, and wraps a *[Problem].
func FromDir(dir string) (set *Set, err error) {
	defer func() {
		if p := recover(); p != nil { // in text of whatever kind
			set, err = nil, fmt.Errorf("rule set in %s: panic: %v", dir, p)
		}
	}()
	if set, err = fromDir(dir); err != nil {
		return nil, fmt.Errorf("rule set in %s: %w", dir, err)
	}
	return set, nil
}

func fromDir(dir string) (*Set, error) {
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, bare(err)
	}
	if root, err = filepath.Abs(root); err != nil {
		return nil, err
	}
	names, err := list(root)
	if err != nil {
		return nil, err
	}
	base, err := own.ReadFile(baseFile)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{baseFile: base}
	tree := fstest.MapFS{baseFile: {Data: base}}
	total := 0
	for _, name := range names {
		text, err := readFile(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil {
			return nil, &Problem{File: name, Reason: bare(err).Error()}
		}
		if total += len(text); total > maxBytes {
			return nil, &Problem{Reason: fmt.Sprintf("it holds more than %d MiB", maxBytes>>20)}
		}
		files[name], tree[name] = text, &fstest.MapFile{Data: text, Mode: 0o444}
	}
	if err := judgeAll(tree, files, names); err != nil {
		return nil, err
	}
	var order strings.Builder
	order.WriteString("Include " + baseFile + "\n")
	for _, name := range names {
		if path.Ext(name) != ".data" {
			order.WriteString("Include " + name + "\n")
		}
	}
	return newSet(root, tree, files, order.String()), nil
}

// judgeAll returns the first problem, and how many more there are.
func judgeAll(tree fs.FS, files map[string][]byte, names []string) error {
	j := &judge{files: tree, rules: map[string]*statement{}, markers: map[string]bool{}}
	j.file(baseFile, files[baseFile])
	for _, name := range names {
		if path.Ext(name) != ".data" {
			j.file(name, files[name])
		}
	}
	j.end()
	problems := append(release(files, names), j.problems...)
	switch len(problems) {
	case 0:
		return nil
	case 1:
		return problems[0]
	}
	return fmt.Errorf("%w (and %d more)", problems[0], len(problems)-1)
}

// release says what keeps files from being a release of the CRS.
func release(files map[string][]byte, names []string) (out []*Problem) {
	for _, want := range []string{"REQUEST-901-INITIALIZATION.conf", "REQUEST-949-BLOCKING-EVALUATION.conf", "RESPONSE-959-BLOCKING-EVALUATION.conf"} {
		name := "rules/" + want
		if !slices.Contains(names, name) {
			return []*Problem{{File: name, Reason: "is missing, without which no rule acts: it is not a whole release of the CRS"}}
		}
	}
	const initial = "rules/REQUEST-901-INITIALIZATION.conf"
	version := versionOf(files[initial])
	major, _, _ := strings.Cut(version, ".")
	switch n, err := strconv.Atoi(major); {
	case version == "":
		out = append(out, &Problem{File: initial, Reason: `does not say which CRS it is of (SecComponentSignature "OWASP_CRS/…")`})
	case err != nil || n < 4:
		out = append(out, &Problem{File: initial, Reason: fmt.Sprintf("is of CRS %s: 4.0.0 or newer is needed, whose variables tenants' settings set", version)})
	}
	return out
}

// list returns the names of the files of a set, "/" between folder and name, in the order in
// which they are included.
func list(root string) ([]string, error) {
	setup := ""
	for _, name := range []string{"crs-setup.conf", "crs-setup.conf.example"} {
		_, err := os.Stat(filepath.Join(root, name))
		if err == nil {
			setup = name
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, &Problem{File: name, Reason: bare(err).Error()}
		}
	}
	rules, err := entries(root, "rules")
	if err != nil {
		return nil, err
	}
	plugins, err := entries(root, "plugins")
	if err != nil {
		return nil, err
	}
	if setup == "" || len(rules) == 0 {
		return nil, &Problem{Reason: "is no release of the CRS: it has no " + missing(setup) + within(root)}
	}
	ending := func(all []string, suffix string) []string {
		return slices.DeleteFunc(slices.Clone(all), func(name string) bool { return !strings.HasSuffix(name, suffix) })
	}
	names := slices.Concat([]string{setup}, ending(plugins, "-config.conf"), ending(plugins, "-before.conf"),
		ending(rules, ".conf"), ending(plugins, "-after.conf"))
	if len(names) > maxIncludes {
		return nil, &Problem{Reason: fmt.Sprintf("has %d files of rules; at most %d are read", len(names), maxIncludes)}
	}
	names = slices.Concat(names, ending(rules, ".data"), ending(plugins, ".data"))
	if len(names) > maxFiles {
		return nil, &Problem{Reason: fmt.Sprintf("has %d files; at most %d are read", len(names), maxFiles)}
	}
	return names, nil
}

func missing(setup string) string {
	if setup == "" {
		return "crs-setup.conf and no crs-setup.conf.example"
	}
	return "rules/*.conf"
}

// within names the folder that was probably meant: an archive unpacks into one.
func within(root string) string {
	found, err := filepath.Glob(filepath.Join(root, "*", "rules"))
	if err != nil || len(found) != 1 {
		return ""
	}
	return fmt.Sprintf(" (did you mean %s?)", filepath.Dir(found[0]))
}

// entries lists the files of a folder that may be part of a set, sorted; none if there is no such folder.
func entries(root, folder string) ([]string, error) {
	f, err := os.OpenFile(filepath.Join(root, folder), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, &Problem{File: folder, Reason: bare(err).Error()}
	}
	defer f.Close()
	all, err := f.Readdirnames(maxEntries)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return nil, &Problem{File: folder, Reason: bare(err).Error()}
	case len(all) == maxEntries:
		return nil, &Problem{File: folder, Reason: fmt.Sprintf("has %d entries or more: it is not of a release of the CRS", maxEntries)}
	}
	var out []string
	for _, name := range all {
		ext := path.Ext(name)
		if !strings.HasPrefix(name, ".") && (ext == ".conf" || ext == ".data") {
			out = append(out, folder+"/"+name)
		}
	}
	slices.Sort(out)
	return out, nil
}

// readFile reads a regular file, following links, up to the bound. A pipe would block whoever opens it.
func readFile(name string) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("is not a regular file")
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("is larger than %d MiB", maxFile>>20)
	}
	return text, nil
}

// bare takes the path off an error, which stands beside it.
func bare(err error) error {
	if pathError, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("cannot be read: %w", pathError.Err)
	}
	return err
}

// Fingerprint says what a directory looks like from outside: where its path leads, and the names, sizes
// and times of the files that [FromDir] would read. It differs after any change that a release, a
// checkout or an editor makes, reads no file, and never fails: what keeps the directory from being
// listed is part of it.
func Fingerprint(dir string) string {
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "unreadable: " + err.Error()
	}
	names, err := list(root)
	if err != nil {
		return "unreadable: " + err.Error()
	}
	var out strings.Builder
	out.WriteString(root)
	for _, name := range names {
		fmt.Fprintf(&out, "\n%s ", name)
		info, err := os.Stat(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil {
			out.WriteString(err.Error())
			continue
		}
		var inode uint64
		if s, ok := info.Sys().(*syscall.Stat_t); ok {
			inode = uint64(s.Ino)
		}
		fmt.Fprint(&out, info.Size(), info.ModTime().UnixNano(), info.Mode(), inode)
	}
	return out.String()
}
