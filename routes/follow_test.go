package routes

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// script is a source that yields what the test says.
type script struct {
	batches chan Batch
	up      error
}

func (s *script) Load(context.Context) (Batch, error) { return Batch{}, errors.New("not asked for") }
func (s *script) Up() error                           { return s.up }

func (s *script) Watch(ctx context.Context, yield func(Batch)) error {
	for {
		select {
		case b := <-s.batches:
			yield(b)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// followed is a follower of a script; each batch is applied when send returns.
type followed struct {
	*Follower
	t       *testing.T
	source  *script
	applied chan []Replaced
	stop    func()
}

func follow(t *testing.T, lastGood string) *followed {
	t.Helper()
	f := &followed{t: t, source: &script{batches: make(chan Batch)}, applied: make(chan []Replaced, 1)}
	var err error
	f.Follower, err = NewFollower(FollowerOptions{
		Source: f.source, LastGood: lastGood,
		Apply: func(_ *Table, replaced []Replaced) { f.applied <- replaced },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	if f.Table().Len() > 0 {
		defer func() { <-f.applied }()
	}
	go func() { done <- f.Run(ctx) }()
	stopped := false
	f.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("run ended with %v", err)
		}
	}
	t.Cleanup(f.stop)
	return f
}

func (f *followed) send(b Batch) []Replaced {
	f.source.batches <- b
	return <-f.applied
}

// sites makes n vhosts of one tenant, and its document.
func sites(n int) []Change {
	out := []Change{tenantChange("shop", "block")}
	for i := range n {
		out = append(out, vhostChange(fmt.Sprintf("h%d.test", i), "shop"))
	}
	return out
}

func (f *followed) expect(what string, vhosts, held int) {
	f.t.Helper()
	if n, s := f.Table().Len(), f.Status(); n != vhosts || s.Held != held {
		f.t.Errorf("%s: %d vhosts, %d held, want %d and %d", what, n, s.Held, vhosts, held)
	}
}

func TestAbsenceOfMostIsHeldUntilItIsTrusted(t *testing.T) {
	f := follow(t, "")
	f.send(Batch{Full: true, Changes: sites(10)})
	f.expect("at first", 10, 0)
	f.send(Batch{Full: true, Changes: sites(5)})
	f.expect("half is believed", 5, 0)
	f.send(Batch{Full: true, Changes: sites(2)})
	f.expect("more than half is not", 5, 3)
	f.send(Batch{Full: true, Changes: sites(2)})
	f.expect("nor at the second reconnect", 5, 3)
	// More sites than are held come up: the held ones stay held.
	f.send(Batch{Changes: []Change{vhostChange("n1.test", ""), vhostChange("n2.test", ""), vhostChange("n3.test", "")}})
	f.send(Batch{Full: true, Changes: append(sites(2), vhostChange("n1.test", ""), vhostChange("n2.test", ""), vhostChange("n3.test", ""))})
	f.expect("held stays held", 8, 3)
	f.send(Batch{Changes: []Change{vhostChange("h4.test", "shop")}})
	f.expect("what comes back is held no more", 8, 2)
	f.send(Batch{Changes: []Change{gone(KindVhost, "h3.test")}})
	f.expect("a removal that was seen acts", 7, 1)
	f.send(Batch{Full: true, Trusted: true, Changes: sites(2)})
	f.expect("loss was accepted", 2, 0)
	f.send(Batch{Full: true, Changes: sites(2)[:2]})
	f.expect("one of two is believed", 1, 0)
	f.send(Batch{Full: true, Changes: nil})
	f.expect("one site and one tenant are not most", 0, 0)
}

func TestHeldDocumentsNameTheKeyOfThisPrefix(t *testing.T) {
	for key, want := range map[string]string{
		"edge-1:gatehouse:accept-loss": `"SET edge-1:gatehouse:accept-loss 1"`,
		"":                             `"restart; documents that come back act at once"`,
	} {
		var log bytes.Buffer
		f, err := NewFollower(FollowerOptions{
			Source: &script{}, AcceptLoss: key, Apply: func(*Table, []Replaced) {},
			Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		f.take(Batch{Full: true, Changes: sites(4)})
		f.take(Batch{Full: true})
		if got := f.Status(); got.Held == 0 || got.AcceptLoss != key {
			t.Errorf("got %+v, want the key %s", got, key)
		}
		if !strings.Contains(log.String(), want) {
			t.Errorf("%s is not in the log: %s", want, &log)
		}
	}
}

func TestProblemsAreLoggedOnceNotWithEveryBatch(t *testing.T) {
	var log bytes.Buffer
	f, err := NewFollower(FollowerOptions{
		Source: &script{}, Apply: func(*Table, []Replaced) {}, Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	file := func(reason string) Problems { return Problems{{File: "a.yaml", Reason: reason}} }
	bad := []Change{badChange(KindVhost, "a.test", "broken"), badChange(KindTenant, "shop", "broken")}
	expect := func(what string, files, documents int) {
		t.Helper()
		got := log.String()
		if n, m := strings.Count(got, "bad routes"), strings.Count(got, "bad document"); n != files || m != documents {
			t.Errorf("%s: %d and %d lines, want %d and %d: %s", what, n, m, files, documents, got)
		}
		log.Reset()
	}
	f.take(Batch{Full: true, Changes: bad, Problems: file("not YAML")})
	expect("at first", 1, 2)
	f.take(Batch{Changes: []Change{vhostChange("b.test", "")}, Problems: file("not YAML")})
	f.take(Batch{Full: true, Changes: append(bad, vhostChange("b.test", "")), Problems: file("not YAML")})
	expect("unchanged", 0, 0)
	f.take(Batch{Changes: []Change{badChange(KindVhost, "a.test", "broken otherwise")}, Problems: append(file("not YAML"), file("a second one")...)})
	expect("one more each", 1, 1)
	f.take(Batch{Changes: []Change{vhostChange("a.test", "")}})
	f.take(Batch{Changes: []Change{badChange(KindVhost, "a.test", "broken")}, Problems: file("not YAML")})
	expect("mended and broken again", 1, 1)
}

func TestHeldSitesKeepTheirTenant(t *testing.T) {
	f := follow(t, "")
	f.send(Batch{Full: true, Changes: sites(4)})
	f.send(Batch{Full: true})
	f.expect("all is held", 4, 5)
	if r := f.Table().Match("h1.test"); r.Tenant == nil || r.Tenant.WAF.Mode != "block" {
		t.Error("a held site is served without its tenant's rules")
	}
}

func TestIncompleteBatchTakesNothingAway(t *testing.T) {
	f := follow(t, "")
	f.send(Batch{Full: true, Trusted: true, Changes: sites(4)})
	bad := Problems{{File: "a.yaml", Reason: "not YAML"}}
	f.send(Batch{Full: true, Trusted: true, Incomplete: true, Changes: sites(1), Problems: bad})
	f.expect("a file cannot be read", 4, 0)
	if got := f.Status().Problems.Error(); got != "a.yaml: not YAML" {
		t.Errorf("got %q", got)
	}
	f.send(Batch{Full: true, Trusted: true, Changes: sites(1)})
	f.expect("it is mended", 1, 0)
	if len(f.Status().Problems) != 0 {
		t.Error("the problem stays")
	}
}

func TestUnchangedDocumentsAreNotAppliedAgain(t *testing.T) {
	f := follow(t, "")
	if n := len(f.send(Batch{Full: true, Changes: sites(3)})); n != 3 {
		t.Errorf("%d routes are new, want 3", n)
	}
	select {
	case <-f.First():
	case <-time.After(20 * time.Second): // it is closed after the table was given on
		t.Error("the first batch was applied, but First is open")
	}
	if n := len(f.send(Batch{Full: true, Changes: sites(3)})); n != 0 {
		t.Errorf("%d routes were replaced by a reconnect", n)
	}
	f.source.up = errors.New("lost")
	if s := f.Status(); !s.Synced || s.Up == nil {
		t.Errorf("got %+v", s)
	}
}

func TestRestartServesTheLastGoodState(t *testing.T) {
	file := filepath.Join(t.TempDir(), "routes")
	f := follow(t, file)
	f.send(Batch{Full: true, Changes: append(sites(4), vhostChange("x.test", "", "alias.test"), vhostChange("a.test", "", "alias.test"))})
	f.send(Batch{Changes: []Change{badChange(KindVhost, "h1.test", "broken"), badChange(KindVhost, "never.test", "broken")}})
	f.send(Batch{Full: true, Changes: nil})
	f.expect("most is held, the bad one too", 7, 8)
	f.stop()
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}

	f = follow(t, file)
	// never.test was never good: there is nothing to serve.
	f.expect("after a restart", 6, 7)
	if f.Status().Synced {
		t.Error("synced without the source")
	}
	if r := f.Table().Match("h1.test"); r == nil || r.Tenant == nil || r.Tenant.WAF.Mode != "block" {
		t.Errorf("h1.test: %+v", r)
	}
	if got := owner(f.Table(), "alias.test"); got != "x.test" {
		t.Errorf("the alias went to %s over a restart", got)
	}
	f.send(Batch{Full: true, Changes: []Change{badChange(KindVhost, "h1.test", "still broken")}})
	if r := f.Table().Match("h1.test"); r == nil || r.Problems().Error() != "f: still broken" {
		t.Error("a document that is bad at the start is not served from its last good form")
	}
	f.expect("held stays held over a restart", 6, 6)
	f.send(Batch{Full: true, Trusted: true, Changes: []Change{badChange(KindVhost, "h1.test", "still broken")}})
	f.expect("loss was accepted", 1, 0)
}

func TestLastGoodFileIsWrittenBehindTheChangesAndWhole(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "routes")
	f := follow(t, file)
	f.send(Batch{Full: true, Changes: sites(50)})
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for {
		if changes, _, err := loadLastGood(file); err == nil && len(changes) == 51 {
			break
		} else if err != nil {
			t.Fatalf("half a file: %v", err)
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it is not written while the follower runs")
		}
	}
	f.stop()
	if names, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(names) > 0 {
		t.Errorf("left behind: %v, %v", names, err)
	}
}

func TestDamagedLastGoodFileIsNoReasonNotToStart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "routes")
	f := follow(t, file)
	f.send(Batch{Full: true, Changes: sites(3)})
	f.stop()
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		text   string
		vhosts int
	}{
		"empty":             {"", 0},
		"another file":      {"hello\n", 0},
		"another version":   {strings.Replace(string(good), `"version":2`, `"version":9`, 1), 0},
		"cut off":           {string(good[:len(good)-10]), 2},
		"a record is bad":   {strings.Replace(string(good), `"backends"`, `"frontends"`, 1), 2},
		"binary":            {lastGoodFirst + "\n\x00\x01", 0},
		"a record is empty": {string(good) + "{}\n", 3},
	} {
		if err := os.WriteFile(file, []byte(test.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := loadLastGood(file); err == nil {
			t.Errorf("%s: no error for the log", name)
		}
		f := follow(t, file)
		f.expect(name, test.vhosts, 0)
		f.send(Batch{Full: true, Trusted: true, Changes: sites(2)})
		f.expect(name+", then the source", 2, 0)
		f.stop()
	}
}

func TestFollowerNeedsASourceAndAnApply(t *testing.T) {
	if _, err := NewFollower(FollowerOptions{}); err == nil {
		t.Error("no error")
	}
}

func TestWriteFileLeavesTheOldFileWhenItFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	bad := vhostChange("a.test", "")
	table, _ := with(&Table{}, bad)
	if err := saveLastGood(filepath.Join(dir, "missing", "f"), "1", table, nil); err == nil {
		t.Error("a file in a folder that is not there")
	}
	failed := errors.New("no")
	if err := WriteFile(path, 0o600, func(w *bufio.Writer) error {
		_, err := w.WriteString("half")
		return errors.Join(err, failed)
	}); !errors.Is(err, failed) {
		t.Errorf("got %v", err)
	}
	names, err := os.ReadDir(dir)
	text, _ := os.ReadFile(path)
	if err != nil || len(names) != 1 || string(text) != "old" {
		t.Errorf("%v, %q, %v", names, text, err)
	}
}

func FuzzLastGood(f *testing.F) {
	f.Add([]byte(lastGoodFirst + "\n" + `{"vhost":"a.test","held":true,"document":{"backends":["http://a"]}}` + "\n"))
	f.Add([]byte(lastGoodFirst + "\n" + `{"tenant":"x","document":{}}{"vhost":"","document":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		changes, _, _ := loadLastGood(path)
		table, _ := (&Table{}).With(changes)
		if slices.ContainsFunc(changes, func(c Change) bool { return c.Gone() || c.Key.Name == "" }) {
			t.Errorf("got %v", changes)
		}
		_ = table.Match("a.test")
	})
}
