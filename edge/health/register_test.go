package health

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"gatehouse/internal/edgetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A node is a register and what it was told.
type node struct {
	*Register
	applied [][]Drain
	keys    []Key
}

func open(t *testing.T, o Options) *node {
	t.Helper()
	n := &node{}
	o.Apply = func(d []Drain) { n.applied = append(n.applied, d) }
	o.UseKey = func(k Key) { n.keys = append(n.keys, k) }
	n.Register = Open(o)
	return n
}

func TestDrainsSurviveARestart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "backends.json")
	n := open(t, Options{File: file})
	a, b := Drain{URL: "http://a", By: "ops", Since: time.Now()}, Drain{URL: "http://a", Tenant: "shop", Since: time.Now()}
	for _, d := range []Drain{b, a, a} {
		if err := n.Set(t.Context(), d, true); err != nil {
			t.Fatal(err)
		}
	}
	again := open(t, Options{File: file})
	got := again.applied[0]
	if len(got) != 2 || got[0].Key() != "http://a" || got[0].By != "ops" || got[1].Key() != "shop http://a" {
		t.Errorf("after a restart: %+v", got)
	}
	if again.keys[0] != n.keys[0] || n.keys[0] == (Key{}) {
		t.Error("the key is another one, or none")
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if err := again.Set(t.Context(), a, false); err != nil {
		t.Fatal(err)
	}
	if got := again.Drains(); len(got) != 1 || ByKey(got).Find("http://a", "rival") != nil || ByKey(got).Find("http://a", "shop") == nil {
		t.Errorf("after an undrain: %+v", got)
	}
}

// A file that is damaged, as after a full disk, keeps nobody from being served: it is put aside, and the next one is good.
func TestADamagedFileIsPutAside(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "backends.json")
	for _, text := range []string{"", "{", `{"sticky_key": "ab`, `{"sticky_key": "12"}`, `{"drains": 1}`} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var log edgetest.Output
		n := open(t, Options{File: file, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if kept, err := os.ReadFile(file + aside); err != nil || string(kept) != text {
			t.Errorf("%q: kept is %q, %v", text, kept, err)
		}
		if said := log.String(); !strings.Contains(said, "drained backends lost") || !strings.Contains(said, file+aside) {
			t.Errorf("%q: said is %s", text, said)
		}
		if err := n.Set(t.Context(), Drain{URL: "http://a"}, true); err != nil {
			t.Error(err)
		}
		if again := open(t, Options{File: file}); len(again.Drains()) != 1 || again.keys[0] != n.keys[0] || n.keys[0] == (Key{}) {
			t.Errorf("%q: the next process knows %v", text, again.Drains())
		}
	}
}

// Nor does a disk that is full at start.
func TestAFileThatCannotBeWrittenAtStartIsWrittenLater(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	n := open(t, Options{File: filepath.Join(dir, "backends.json")})
	if err := n.Set(t.Context(), Drain{URL: "http://a"}, true); err == nil {
		t.Error("drained, and the next process would not know")
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := n.Set(t.Context(), Drain{URL: "http://a"}, true); err != nil {
		t.Error(err)
	}
	if again := open(t, n.opts); again.keys[0] != n.keys[0] || len(again.Drains()) != 1 {
		t.Error("it is not written when it can be")
	}
}

// What cannot be written is not done: the next process would not know.
func TestADrainThatCannotBeKeptIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	n := open(t, Options{File: filepath.Join(dir, "backends.json")})
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := n.Set(t.Context(), Drain{URL: "http://a"}, true); err == nil || len(n.Drains()) != 0 || len(n.applied) != 1 {
		t.Errorf("error %v, drains %v, told %d times", err, n.Drains(), len(n.applied))
	}
}

// A node that follows what another has found acts by it on when all is lost, and so do those who read what it brings back.
func TestAFlushMakesNoBackendUp(t *testing.T) {
	t.Parallel()
	shared := &memory{}
	follower := NewProber(ProberOptions{Found: func(Target, *Finding) {}})
	follower.Add(target("http://a"))
	n := open(t, Options{Shared: shared, Prober: follower})
	id := target("http://a").place().String()
	if _, err := shared.Restore(t.Context(), nil, map[string]Finding{id: {Reason: "sick"}}); err != nil {
		t.Fatal(err)
	}
	for _, when := range []string{"at first", "after a flush", "once more after it"} {
		if when == "after a flush" {
			shared.empty()
		}
		if err := n.follow(t.Context()); err != nil {
			t.Fatal(err)
		}
		if follower.Down() != 1 || len(shared.down) != 1 {
			t.Errorf("%s %d backends are down here, and %d for all", when, follower.Down(), len(shared.down))
		}
	}
}

// A node whose disk is full acts by what others drain, or it would send requests to what is being repaired.
func TestAFullDiskDoesNotKeepTheDrainsOfOthersAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "data")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		shared := &memory{}
		o := Options{File: filepath.Join(dir, "backends.json"), Shared: shared, Node: "full"}
		n := open(t, o)
		follow := func() {
			t.Helper()
			if err := n.follow(t.Context()); err != nil {
				t.Error(err)
			}
		}
		follow()
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		version, err := shared.Change(t.Context(), Drain{URL: "http://a"}, true)
		if err != nil {
			t.Fatal(err)
		}
		shared.keys = []Key{{1}}
		follow()
		if last := n.applied[len(n.applied)-1]; len(last) != 1 || shared.reports[n.process].Version != version || n.keys[len(n.keys)-1] != (Key{1}) {
			t.Errorf("drained %v, reported %+v", last, shared.reports[n.process])
		}
		if err := n.Set(t.Context(), Drain{URL: "http://b"}, true); !errors.Is(err, ErrUnsaved) || len(n.Drains()) != 2 {
			t.Errorf("a drain of its own: error %v, drained %v", err, n.Drains())
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		time.Sleep(readEvery)
		follow()
		if again := open(t, o); len(again.Drains()) != 2 || again.keys[0] != (Key{1}) {
			t.Errorf("in the file once that can be written: %v", again.Drains())
		}
	})
}
