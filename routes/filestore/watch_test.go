package filestore

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatehouse/routes"
	"gatehouse/routes/routestest"
)

func siteText(host, url string) string {
	return fmt.Sprintf("vhosts:\n  %s:\n    backends: [%s]\n", host, url)
}

func TestFolderThatCannotBeReadIsNamedWithTheFix(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "conf.d")
	_, err := Open(dir, Options{})
	if err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "mkdir") {
		t.Errorf("got %v", err)
	}
	file := filepath.Join(t.TempDir(), "f")
	write(t, file, "")
	if _, err := Open(file, Options{}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v", err)
	}
}

func TestOnlyYAMLFilesOfTheFolderCount(t *testing.T) {
	s, dir := open(t)
	for _, name := range []string{"a.yaml", "b.yml", ".hidden.yaml", "c.yaml~", "d.yaml.bak", "README", "#e.yaml#"} {
		write(t, filepath.Join(dir, name), siteText(strings.Trim(strings.ToLower(name[:2]), ".#")+"x.test", "http://b"))
	}
	if err := os.MkdirAll(filepath.Join(dir, "folder.yaml"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "empty.yaml"), "# nothing\n")
	b, err := s.Load(context.Background())
	if err != nil || len(b.Changes) != 2 || b.Incomplete || !b.Trusted {
		t.Errorf("got %+v, %v", b, err)
	}
}

func TestDocumentInTwoFilesIsTakenFromTheFirst(t *testing.T) {
	s, dir := open(t)
	write(t, filepath.Join(dir, "b.yaml"), siteText("a.test", "http://second"))
	write(t, filepath.Join(dir, "a.yaml"), "\n"+siteText("a.test", "http://first"))
	w := routestest.Follow(t, s, "")
	w.UntilBackend("a.test", "http://first")
	r := w.UntilProblem("a.test", filepath.Join(dir, "a.yaml")+":3 too")
	if p := r.Problems()[0]; p.File != filepath.Join(dir, "b.yaml") || p.Line != 2 {
		t.Errorf("the problem names %s:%d", p.File, p.Line)
	}
	if err := os.Remove(filepath.Join(dir, "a.yaml")); err != nil {
		t.Fatal(err)
	}
	w.UntilBackend("a.test", "http://second")
	w.Until("no problem is left", func(t *routes.Table) bool { return len(t.Vhost("a.test").Problems()) == 0 })
}

func TestFileThatIsNotYAMLTakesNothingAway(t *testing.T) {
	s, dir := open(t)
	path := filepath.Join(dir, "a.yaml")
	write(t, path, siteText("a.test", "http://b")+"  b.test: {backends: [http://b]}\n")
	write(t, filepath.Join(dir, "z.yaml"), siteText("z.test", "http://b"))
	w := routestest.Follow(t, s, "")
	for _, broken := range []string{"vhosts:\n  a.test:\n    backends: [http://c\n", "vhost:\n  a.test: {backends: [http://c]}\n", "vhosts: []\n", "just text\n"} {
		write(t, path, broken)
		w.Until("the file is reported", func(*routes.Table) bool { return len(w.Status().Problems) == 1 })
		w.UntilProblem("a.test", path)
		w.UntilProblem("b.test", path)
		if w.Table().Match("a.test") == nil || w.Table().Match("b.test") == nil {
			t.Fatalf("%q took sites away", broken)
		}
		write(t, path, siteText("a.test", "http://b")+"  b.test: {backends: [http://b]}\n")
		w.Until("it is mended", func(t *routes.Table) bool {
			return len(w.Status().Problems) == 0 && len(t.Vhost("a.test").Problems()) == 0 && len(t.Vhost("b.test").Problems()) == 0
		})
	}
	write(t, path, siteText("a.test", "http://c"))
	w.UntilBackend("b.test", "")
	w.UntilBackend("a.test", "http://c")
}

func TestRestartWithAFileThatIsNotYAMLServesTheLastGoodForm(t *testing.T) {
	s, dir := open(t)
	lastGood := filepath.Join(t.TempDir(), "routes")
	path := filepath.Join(dir, "a.yaml")
	write(t, path, siteText("a.test", "http://b"))
	write(t, filepath.Join(dir, "b.yaml"), siteText("b.test", "http://b"))
	w := routestest.Follow(t, s, lastGood)
	w.UntilBackend("a.test", "http://b")
	w.Stop()

	write(t, path, "vhosts: [\n")
	if err := os.Remove(filepath.Join(dir, "b.yaml")); err != nil {
		t.Fatal(err)
	}
	w = routestest.Follow(t, s, lastGood)
	if w.Table().Match("a.test") == nil {
		t.Error("a.test is gone with its file's syntax")
	}
	// Who knows what the file holds; once it can be read, b.test is really gone.
	if w.Table().Match("b.test") == nil {
		t.Error("b.test may be in the file that cannot be read")
	}
	write(t, path, siteText("a.test", "http://c"))
	w.UntilBackend("a.test", "http://c")
	w.UntilBackend("b.test", "")
}

// TestFileThatIsEmptyForAMomentTakesNothingAway steps the watcher by hand: what
// it shows happens within microseconds in an editor.
func TestFileThatIsEmptyForAMomentTakesNothingAway(t *testing.T) {
	s, dir := open(t)
	path := filepath.Join(dir, "a.yaml")
	write(t, path, siteText("a.test", "http://b"))
	var batches []routes.Batch
	w := &watcher{
		store: s, known: map[routes.Key]*entry{}, missing: map[routes.Key]time.Time{},
		yield: func(b routes.Batch) { batches = append(batches, b) },
	}
	w.read()
	write(t, path, "")
	w.read()
	write(t, path, siteText("a.test", "http://c"))
	w.read()
	if len(batches) != 2 || len(batches[1].Changes) != 1 || batches[1].Changes[0].Gone() {
		t.Fatalf("got %+v", batches)
	}
	write(t, path, "")
	w.read()
	w.missing[routestest.Vhost("a.test")] = time.Now().Add(-goneAfter)
	w.read()
	if len(batches) != 3 || !batches[2].Changes[0].Gone() {
		t.Errorf("an empty file that stays empty still serves: %+v", batches[2:])
	}
	w.read()
	if len(batches) != 3 {
		t.Errorf("nothing changed, yet: %+v", batches[3:])
	}
}

func TestOnlyWhatChangedIsYielded(t *testing.T) {
	s, dir := open(t)
	var text strings.Builder
	text.WriteString("vhosts:\n")
	for i := range 50 {
		fmt.Fprintf(&text, "  h%d.test: {backends: [http://b]}\n", i)
	}
	path := filepath.Join(dir, "a.yaml")
	write(t, path, text.String())
	var batches []routes.Batch
	w := &watcher{
		store: s, known: map[routes.Key]*entry{}, missing: map[routes.Key]time.Time{},
		yield: func(b routes.Batch) { batches = append(batches, b) },
	}
	w.read()
	write(t, path, strings.Replace(text.String(), "h7.test: {backends: [http://b]", "h7.test: {backends: [http://c]", 1))
	w.read()
	if len(batches) != 2 || !batches[0].Full || len(batches[0].Changes) != 50 || batches[1].Full || len(batches[1].Changes) != 1 {
		t.Errorf("got %d batches, the last with %d changes", len(batches), len(batches[len(batches)-1].Changes))
	}
}

func TestEveryWayToSaveIsSeen(t *testing.T) {
	s, dir := open(t)
	path := filepath.Join(dir, "a.yaml")
	write(t, path, siteText("a.test", "http://b0"))
	w := routestest.Follow(t, s, "")
	w.UntilBackend("a.test", "http://b0")

	// Rename over, as vim and most deployments do.
	write(t, filepath.Join(dir, ".a.yaml.swp"), siteText("a.test", "http://b1"))
	if err := os.Rename(filepath.Join(dir, ".a.yaml.swp"), path); err != nil {
		t.Fatal(err)
	}
	w.UntilBackend("a.test", "http://b1")
	// The same size within the clock tick of the file system.
	write(t, path, siteText("a.test", "http://b2"))
	w.UntilBackend("a.test", "http://b2")
	// Another name for the file.
	if err := os.Rename(path, filepath.Join(dir, "b.yml")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "c.yaml"), siteText("c.test", "http://b3"))
	w.UntilBackend("c.test", "http://b3")
	w.UntilBackend("a.test", "http://b2")
}

func TestLinkedConfigurationOfKubernetesIsFollowed(t *testing.T) {
	dir := t.TempDir()
	for i, url := range []string{"http://v0", "http://v1"} {
		version := filepath.Join(dir, fmt.Sprintf("..v%d", i))
		if err := os.Mkdir(version, 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(version, "a.yaml"), siteText("a.test", url))
	}
	link(t, "..v0", filepath.Join(dir, "..data"))
	link(t, "..data/a.yaml", filepath.Join(dir, "a.yaml"))
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := routestest.Follow(t, s, "")
	w.UntilBackend("a.test", "http://v0")
	link(t, "..v1", filepath.Join(dir, "..data"))
	w.UntilBackend("a.test", "http://v1")
}

// link makes a link, in place of what is there.
func link(t *testing.T, to, path string) {
	t.Helper()
	if err := os.Symlink(to, path+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func TestFolderThatIsSwappedOrLostIsFoundAgain(t *testing.T) {
	root := t.TempDir()
	for i := range 2 {
		release := filepath.Join(root, fmt.Sprintf("v%d", i))
		if err := os.Mkdir(release, 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(release, "a.yaml"), siteText("a.test", fmt.Sprintf("http://v%d", i)))
	}
	dir := filepath.Join(root, "conf.d")
	link(t, "v0", dir)
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := routestest.Follow(t, s, "")
	w.UntilBackend("a.test", "http://v0")
	link(t, "v1", dir)
	w.UntilBackend("a.test", "http://v1")
	write(t, filepath.Join(root, "v1", "a.yaml"), siteText("a.test", "http://v2"))
	w.UntilBackend("a.test", "http://v2")

	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	w.Until("the loss is told", func(*routes.Table) bool { return s.Up() != nil })
	if w.Table().Match("a.test") == nil {
		t.Error("a site is lost with the folder")
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "a.yaml"), siteText("a.test", "http://v3"))
	w.UntilBackend("a.test", "http://v3")
	if err := s.Up(); err != nil {
		t.Error(err)
	}
	write(t, filepath.Join(dir, "a.yaml"), siteText("a.test", "http://v4"))
	w.UntilBackend("a.test", "http://v4")
}

func TestUnreadableFileTakesNothingAway(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root reads every file")
	}
	s, dir := open(t)
	path := filepath.Join(dir, "a.yaml")
	write(t, path, siteText("a.test", "http://b"))
	w := routestest.Follow(t, s, "")
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	w.UntilProblem("a.test", "cannot be read")
	if w.Table().Match("a.test") == nil {
		t.Error("a site is lost with its file's mode")
	}
}
