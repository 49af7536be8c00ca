package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// kept is a cached page, fresh for ten minutes.
const kept = "/respond?Cache-Control=max-age%3D600&Etag=%22v1%22&body=kept"

// cached prepares a node with a cache, and its backend.
func cached(t *testing.T, settings string) (*node, *edgetest.Backend) {
	t.Helper()
	b := edgetest.NewBackend(t)
	return prepare(t, settings, map[string]string{"site.yaml": vhost("www.shop.test", b.URL, "cache: {enabled: true}", "waf: {responses: true}")}), b
}

// snapshots are the files of a kept cache in the data folder, whole or half.
func (n *node) snapshots() []string {
	n.t.Helper()
	whole, err := filepath.Glob(filepath.Join(n.dir, "data", "*cache.snapshot*"))
	if err != nil {
		n.t.Fatal(err)
	}
	half, err := filepath.Glob(filepath.Join(n.dir, "data", ".cache.snapshot*"))
	if err != nil {
		n.t.Fatal(err)
	}
	return append(whole, half...)
}

// asked is when a page was asked for the first time, and when its answer was there.
type asked struct{ begin, end time.Time }

// ask has kept stored.
func (n *node) ask() asked {
	begin := time.Now()
	n.get("www.shop.test", kept)
	return asked{begin, time.Now()}
}

// wantHitOf asks for kept and fails unless it comes from the cache, as old as it is.
func (n *node) wantHitOf(b *edgetest.Backend, page asked) {
	n.t.Helper()
	deliveries := b.Deliveries("/respond")
	least := int(time.Since(page.end) / time.Second)
	got := n.get("www.shop.test", kept)
	age, err := strconv.Atoi(got.Header.Get("Age"))
	most := int(time.Since(page.begin)/time.Second) + 1 // Date has no fractions
	if !strings.Contains(got.Header.Get("Cache-Status"), "; hit") || string(got.Body) != "kept" || err != nil || age < least || age > most {
		n.t.Errorf("%v %q, want a hit of age %d to %d", got.Header, got.Body, least, most)
	}
	if now := b.Deliveries("/respond"); now != deliveries {
		n.t.Errorf("the backend was asked %d times", now-deliveries)
	}
}

func TestRestartKeepsTheCache(t *testing.T) {
	t.Parallel()
	n, b := cached(t, "")
	n.start()
	page := n.ask()
	n.get("www.shop.test", kept)
	if files := n.snapshots(); len(files) > 0 {
		t.Errorf("a serving node has %v", files)
	}
	n.stop()
	info, err := os.Stat(filepath.Join(n.dir, "data", "cache.snapshot"))
	if err != nil || info.Mode() != 0o600 {
		t.Fatalf("%v %v", info, err)
	}
	if log := n.stderr.String(); !has(log, "cache kept", "entries=1", "left_out=0") {
		t.Errorf("the log does not say so: %s", tail(log, 1000))
	}
	edgetest.WaitFor(t, "the page to be a second old", func() bool { return time.Since(page.end) > 1100*time.Millisecond })

	n.start()
	n.wantHitOf(b, page)
	if log := n.stderr.String(); !has(log, "cache restored", "entries=1") {
		t.Errorf("the log does not say so: %s", tail(log, 1000))
	}
	if files := n.snapshots(); len(files) > 0 {
		t.Errorf("it may come back a second time: %v", files)
	}

	n.kill() // no drain, no snapshot: what was invalidated since the last one would be in it
	if files := n.snapshots(); len(files) > 0 {
		t.Errorf("a killed node leaves %v", files)
	}
	n.start()
	if got := n.get("www.shop.test", kept).Header.Get("Cache-Status"); !strings.Contains(got, "fwd=uri-miss") {
		t.Errorf("after a kill: %q", got)
	}
}

func TestRestartKeepsNothingThatWasInvalidated(t *testing.T) {
	t.Parallel()
	n, _ := cached(t, "")
	n.start()
	n.get("www.shop.test", kept)
	n.postForm("www.shop.test", kept, "a=b")
	n.stop()
	n.start()
	if got := n.get("www.shop.test", kept).Header.Get("Cache-Status"); !strings.Contains(got, "fwd=uri-miss") {
		t.Errorf("Cache-Status %q", got)
	}
}

func TestCacheIsNotKeptAgainstTheSetting(t *testing.T) {
	t.Parallel()
	n, _ := cached(t, "")
	n.start()
	n.get("www.shop.test", kept)
	n.stop()
	if len(n.snapshots()) != 1 {
		t.Fatal("no snapshot")
	}
	n.environ = []string{"GATEHOUSE_CACHE_SNAPSHOT=false"}
	n.start()
	if got := n.get("www.shop.test", kept).Header.Get("Cache-Status"); !strings.Contains(got, "fwd=uri-miss") {
		t.Errorf("Cache-Status %q", got)
	}
	if files := n.snapshots(); len(files) > 0 {
		t.Errorf("one of before lies about: %v", files)
	}
	n.stop()
	if files := n.snapshots(); len(files) > 0 || has(n.stderr.String(), "cache kept") {
		t.Errorf("kept all the same: %v", files)
	}
}

func TestKeptCacheThatIsDamagedIsIgnored(t *testing.T) {
	t.Parallel()
	n, _ := cached(t, "")
	n.start()
	n.get("www.shop.test", kept)
	n.stop()
	path := filepath.Join(n.dir, "data", "cache.snapshot")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	damaged := append([]byte(nil), good...)
	damaged[len(damaged)/2] ^= 1
	for why, damage := range map[string]func() error{
		"it ends early":         func() error { return os.WriteFile(path, good[:len(good)-3], 0o600) },
		"checksum does not fit": func() error { return os.WriteFile(path, damaged, 0o600) },
		"not a snapshot":        func() error { return os.WriteFile(path, []byte(strings.Repeat("rubbish ", 100)), 0o600) },
		"it is no regular file": func() error { return syscall.Mkfifo(path, 0o600) },
		"at most":               func() error { return errors.Join(os.WriteFile(path, good, 0o600), os.Truncate(path, 1<<30)) },
	} {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) { // what the node before has kept
			t.Fatal(err)
		}
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		half := filepath.Join(n.dir, "data", ".cache.snapshot.123") // of a node that was killed while it wrote
		if err := os.WriteFile(half, good, 0o600); err != nil {
			t.Fatal(err)
		}
		n.start()
		edgetest.WaitFor(t, "a warning: "+why, func() bool { return has(n.stderr.String(), why) })
		log := n.stderr.String()
		if strings.Count(log, "level=WARN") != 1 || !has(log, "the cache that was kept is not loaded", "data/cache.snapshot", why) || has(log, "cache restored") {
			t.Errorf("%s: %s", why, tail(log, 1500))
		}
		if got := n.get("www.shop.test", "/"); got.Status != 200 {
			t.Errorf("%s: status %d", why, got.Status)
		}
		if files := n.snapshots(); len(files) > 0 {
			t.Errorf("%s: left are %v", why, files)
		}
		n.kill()
	}
}

// The heir has its predecessor's cache once that has answered its last request.
func TestUpgradeHandsTheCacheOver(t *testing.T) {
	t.Parallel()
	n, b := cached(t, "")
	n.start()
	s := succeed(n)
	page := n.ask()
	n.get("www.shop.test", kept)
	for range 2 {
		was := s.pid
		s.upgrade()
		s.gone(was)
		edgetest.WaitFor(t, "the cache", func() bool { return strings.Count(n.stderr.String(), `"cache restored"`) > 0 })
		n.wantHitOf(b, page)
	}
	edgetest.WaitFor(t, "both caches", func() bool { return strings.Count(n.stderr.String(), `"cache restored"`) == 2 })
	if log := n.stderr.String(); strings.Count(log, `"cache kept"`) != 2 {
		t.Errorf("log: %s", tail(log, 2000))
	}
	if files := n.snapshots(); len(files) > 0 {
		t.Errorf("left are %v", files)
	}
	s.finish()
}

// With Redis the heir also has been told of all purges that its predecessor had been through.
func TestUpgradeWithPurgesOfAllNodesHandsTheCacheOver(t *testing.T) {
	t.Parallel()
	b, redis := edgetest.NewBackend(t), edgetest.Redis(t)
	redis.CLI("rpush", "frontend:www.shop.test", "shop", b.URL)
	redis.CLI("set", "vhost:www.shop.test", `{"cache": {"enabled": true}}`)
	n := prepare(t, "routes: "+redis.URL(), nil)
	n.start()
	s := succeed(n)
	page := n.ask()
	const tagged = kept + "&Surrogate-Key=news"
	n.get("www.shop.test", tagged)
	n.get("www.shop.test", kept+"&gone")
	n.must("cache", "purge", "--url", "http://www.shop.test"+kept+"&gone")
	was := s.pid
	s.upgrade()
	s.gone(was)
	edgetest.WaitFor(t, "the cache", func() bool { return has(n.stderr.String(), `"cache restored"`) })
	n.wantHitOf(b, page)
	status := func(page string) string { return n.get("www.shop.test", page).Header.Get("Cache-Status") }
	if got := status(kept + "&gone"); !strings.Contains(got, "fwd=uri-miss") {
		t.Errorf("of what was purged: %s", got)
	}
	if got := status(tagged); !strings.Contains(got, "; hit") {
		t.Errorf("of what has a tag: %s", got)
	}
	n.must("cache", "purge", "--host", "www.shop.test", "--tag", "news")
	if got := status(tagged); !strings.Contains(got, "fwd=uri-miss") {
		t.Errorf("of what was purged since: %s", got)
	}
	s.finish()
}

func TestUpgradeToANodeThatKeepsNoCache(t *testing.T) {
	t.Parallel()
	n, _ := cached(t, "")
	n.start()
	s := succeed(n)
	n.get("www.shop.test", kept)
	settings, err := os.ReadFile(filepath.Join(n.dir, "gatehouse.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	n.write("gatehouse.yaml", string(settings)+"cache: {snapshot: false}\n")
	was := s.pid
	s.upgrade()
	s.gone(was)
	if got := n.get("www.shop.test", kept).Header.Get("Cache-Status"); !strings.Contains(got, "fwd=uri-miss") {
		t.Errorf("Cache-Status %q", got)
	}
	was = s.pid
	s.upgrade()
	s.gone(was)
	if has(n.stderr.String(), "cache restored") {
		t.Error("a cache was handed over")
	}
	s.finish()
}
