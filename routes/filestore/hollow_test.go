package filestore

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatehouse/routes"
	"gatehouse/routes/routestest"
)

// release makes a folder with n sites.
func release(t *testing.T, dir string, n int) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		write(t, filepath.Join(dir, fmt.Sprintf("h%d.yaml", i)), siteText(fmt.Sprintf("h%d.test", i), "http://b"))
	}
}

// held starts with a folder of 5 sites and puts an empty one in its place.
func held(t *testing.T, lastGood string) (w *routestest.Followed, s *Store, root string) {
	t.Helper()
	root = t.TempDir()
	release(t, filepath.Join(root, "v0"), 5)
	release(t, filepath.Join(root, "empty"), 0)
	link(t, "v0", filepath.Join(root, "conf.d"))
	s, err := Open(filepath.Join(root, "conf.d"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	w = routestest.Follow(t, s, lastGood)
	w.UntilBackend("h4.test", "http://b")
	link(t, "empty", filepath.Join(root, "conf.d"))
	w.Until("all are held", func(*routes.Table) bool { return w.Status().Held == 5 })
	if w.Table().Len() != 5 {
		t.Fatalf("%d sites are left", w.Table().Len())
	}
	return w, s, root
}

func TestEmptyFolderInTheOnesPlaceDropsNoSites(t *testing.T) {
	w, _, root := held(t, "")
	// One that comes back acts at once, also if nothing has changed in it.
	write(t, filepath.Join(root, "empty", "x.yaml"), siteText("h0.test", "http://b"))
	w.Until("one is held no more", func(*routes.Table) bool { return w.Status().Held == 4 })
	write(t, filepath.Join(root, "empty", "x.yaml"), siteText("h1.test", "http://c"))
	w.UntilBackend("h1.test", "http://c")
	w.UntilBackend("h0.test", "") // its removal was seen
	if n := w.Status().Held; n != 3 || w.Table().Len() != 4 {
		t.Errorf("%d are held, of %d", n, w.Table().Len())
	}
	// The one that was seen to come is held too when yet another empty folder comes.
	if err := os.Rename(filepath.Join(root, "empty"), filepath.Join(root, "gone")); err != nil {
		t.Fatal(err)
	}
	release(t, filepath.Join(root, "empty"), 0)
	w.Until("four are held", func(t *routes.Table) bool { return w.Status().Held == 4 && t.Len() == 4 })
	// The mount is there again, less one site, and with the one that was removed.
	if err := os.Remove(filepath.Join(root, "v0", "h3.yaml")); err != nil {
		t.Fatal(err)
	}
	link(t, "v0", filepath.Join(root, "conf.d"))
	w.Until("none is held", func(t *routes.Table) bool { return w.Status().Held == 0 && t.Len() == 4 && t.Vhost("h0.test") != nil })
	w.UntilBackend("h3.test", "")
}

func TestRestartAcceptsAnEmptyFolder(t *testing.T) {
	lastGood := filepath.Join(t.TempDir(), "routes")
	w, s, _ := held(t, lastGood)
	w.Stop()
	w = routestest.Follow(t, s, lastGood)
	w.Until("they are gone", func(t *routes.Table) bool { return t.Len() == 0 && w.Status().Held == 0 })
}

func TestSwappedFolderWithDocumentsIsTrusted(t *testing.T) {
	root := t.TempDir()
	release(t, filepath.Join(root, "v0"), 5)
	release(t, filepath.Join(root, "v1"), 1)
	link(t, "v0", filepath.Join(root, "conf.d"))
	s, err := Open(filepath.Join(root, "conf.d"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := routestest.Follow(t, s, "")
	w.UntilBackend("h4.test", "http://b")
	link(t, "v1", filepath.Join(root, "conf.d"))
	w.Until("the deploy is believed", func(t *routes.Table) bool { return t.Len() == 1 })
	if w.Status().Held != 0 {
		t.Errorf("%d are held", w.Status().Held)
	}
}

func TestFilesRemovedFromTheSameFolderAreGone(t *testing.T) {
	dir := t.TempDir()
	release(t, dir, 5)
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := routestest.Follow(t, s, "")
	w.UntilBackend("h4.test", "http://b")
	for i := range 5 {
		if err := os.Remove(filepath.Join(dir, fmt.Sprintf("h%d.yaml", i))); err != nil {
			t.Fatal(err)
		}
	}
	w.Until("they are gone", func(t *routes.Table) bool { return t.Len() == 0 })
}

// TestFolderThatComesBackUnderTheSameInodeIsAnother steps the watcher by hand: a
// file system may give a new folder the number of the one that was removed.
func TestFolderThatComesBackUnderTheSameInodeIsAnother(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "conf.d")
	release(t, dir, 3)
	var log bytes.Buffer
	s, err := Open(dir, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	var batches []routes.Batch
	w := &watcher{
		store: s, known: map[routes.Key]*entry{}, missing: map[routes.Key]time.Time{},
		yield: func(b routes.Batch) { batches = append(batches, b) },
	}
	w.read()
	away := dir + ".away"
	if err := os.Rename(dir, away); err != nil {
		t.Fatal(err)
	}
	w.read() // it is lost
	for i := range 3 {
		if err := os.Remove(filepath.Join(away, fmt.Sprintf("h%d.yaml", i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(away, dir); err != nil {
		t.Fatal(err)
	}
	w.read()
	if len(batches) != 1 {
		t.Fatalf("no time is left for the documents to come: %+v", batches[1:])
	}
	for key := range w.missing {
		w.missing[key] = time.Now().Add(-goneAfter)
	}
	w.read()
	if len(batches) != 2 || !batches[1].Full || batches[1].Trusted || len(batches[1].Changes) != 0 {
		t.Fatalf("got %+v", batches[1:])
	}
	// A file that is not YAML, and is mended, in the hollow folder: still not believed.
	write(t, filepath.Join(dir, "h0.yaml"), "vhosts: [\n")
	w.read()
	write(t, filepath.Join(dir, "h0.yaml"), siteText("h0.test", "http://b"))
	w.read()
	for _, b := range batches[2:] {
		if b.Full && b.Trusted {
			t.Errorf("got %+v", b)
		}
	}
	if !strings.Contains(log.String(), "is not followed") {
		t.Errorf("the loss is not told: %s", &log)
	}
}

func TestBadFileThatIsGoneWithItsFolderTakesNothingAway(t *testing.T) {
	root, lastGood := t.TempDir(), filepath.Join(t.TempDir(), "routes")
	release(t, filepath.Join(root, "v0"), 5)
	release(t, filepath.Join(root, "empty"), 0)
	link(t, "v0", filepath.Join(root, "conf.d"))
	s, err := Open(filepath.Join(root, "conf.d"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := routestest.Follow(t, s, lastGood)
	w.UntilBackend("h4.test", "http://b")
	w.Stop()
	for i := range 5 {
		write(t, filepath.Join(root, "v0", fmt.Sprintf("h%d.yaml", i)), "vhosts: [\n")
	}
	w = routestest.Follow(t, s, lastGood)
	link(t, "empty", filepath.Join(root, "conf.d"))
	w.Until("all are held", func(t *routes.Table) bool { return w.Status().Held == 5 && t.Len() == 5 })
}

func TestPipeInTheFolderIsSkipped(t *testing.T) {
	dir := t.TempDir()
	release(t, dir, 1)
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe.yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	link(t, "/dev/zero", filepath.Join(dir, "zero.yaml"))
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.Load(t.Context())
	if err != nil || len(b.Changes) != 1 || b.Incomplete {
		t.Errorf("got %+v, %v", b, err)
	}
}
