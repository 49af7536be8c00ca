package events

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// epoch is a time of whole seconds, not long ago.
var epoch = time.Now().UTC().Truncate(time.Second).Add(-time.Hour)

// refused is a blocked request of a tenant, one second after the one of n-1, so that
// no rate acts.
func refused(tenant string, n int) *Event {
	return &Event{
		Time: epoch.Add(time.Duration(n) * time.Second), ID: fmt.Sprintf("n1-%s%012x", "0000", n), Tenant: tenant, Vhost: tenant + ".test",
		Client: netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}), Method: "GET", Path: "/search", Phase: Request,
		Mode: "block", Verdict: Block, Score: 5, Threshold: 5,
		Rules: []Rule{{
			ID: 942100, Message: "SQL Injection Attack Detected via libinjection", Severity: "critical",
			Tags: []string{"attack-sqli", "paranoia-level/1"}, Target: "ARGS:q", Data: "1' OR '1'='1", Score: 5,
		}},
	}
}

func matched(tenant string, n int) *Event {
	e := refused(tenant, n)
	e.Verdict, e.Score = Pass, 3
	return e
}

func open(t testing.TB, opts Options) *Log {
	t.Helper()
	if opts.Node == "" {
		opts.Node = "n1"
	}
	l, err := Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func shut(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func find(t testing.TB, l *Log, q Query, most int) Found {
	t.Helper()
	out, err := l.Find(t.Context(), q, most)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func ids(events []*Event) string {
	var out []string
	for _, e := range events {
		out = append(out, strings.TrimLeft(strings.TrimPrefix(e.ID, "n1-"), "0"))
	}
	return strings.Join(out, " ")
}

func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// What comes back from a file is what went in, also what no text of JSON can hold as it is.
func TestEventsOutliveTheProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data", "events")
	l := open(t, Options{Dir: dir})
	first := refused("shop", 1)
	first.Path, first.Rules[0].Data = `/a"b\c<d>&é`, "line\nbreak\x00\u2028 <script>"
	l.Record(first)
	second := refused("blog", 2)
	second.Client = netip.MustParseAddr("2001:db8::7")
	l.Record(second)
	shut(t, l)

	l = open(t, Options{Dir: dir})
	defer shut(t, l)
	got := find(t, l, Query{}, 10)
	if len(got.Events) != 2 || got.More || got.Unreadable != 0 {
		t.Fatalf("found %+v", got)
	}
	for i, want := range []*Event{second, first} {
		if !reflect.DeepEqual(got.Events[i], want) {
			t.Errorf("event %d: got %+v, want %+v", i, got.Events[i], want)
		}
	}
	equal(t, "node", got.Events[0].Node, "n1")
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %d files", err, len(files))
	}
	info, err := files[0].Info()
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "mode of the file", info.Mode().Perm(), 0o600)
	if info, err = os.Stat(dir); err != nil {
		t.Fatal(err)
	}
	equal(t, "mode of the folder", info.Mode().Perm(), 0o700)
}

func TestQueriesSelect(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Options{Dir: dir})
	for n := range 9 {
		e := refused([]string{"shop", "blog", ""}[n%3], n)
		if n == 4 {
			e.Rules[0].ID, e.ID = 941100, "elsewhere<4>"
		}
		l.Record(e)
	}
	check := func(l *Log, where string) {
		t.Helper()
		for _, tt := range []struct {
			name string
			q    Query
			most int
			want string
			more bool
		}{
			{"all", Query{}, 20, "8 7 6 5 elsewhere<4> 3 2 1 ", false},
			{"the newest", Query{}, 2, "8 7", true},
			{"a tenant", Query{Tenant: "blog"}, 20, "7 elsewhere<4> 1", false},
			{"a tenant's newest", Query{Tenant: "blog"}, 3, "7 elsewhere<4> 1", false},
			{"a vhost", Query{Vhost: ".test"}, 20, "8 5 2", false},
			{"a rule", Query{Rule: 941100}, 20, "elsewhere<4>", false},
			{"an id", Query{ID: refused("", 5).ID}, 20, "5", false},
			{"an id that is escaped", Query{ID: "elsewhere<4>"}, 20, "elsewhere<4>", false},
			{"a time", Query{Since: epoch.Add(6 * time.Second)}, 20, "8 7 6", false},
			{"all of it", Query{Tenant: "shop", Rule: 942100, Since: epoch.Add(3 * time.Second)}, 20, "6 3", false},
			{"nobody", Query{Tenant: "sho"}, 20, "", false},
		} {
			got := find(t, l, tt.q, tt.most)
			if ids(got.Events) != tt.want || got.More != tt.more {
				t.Errorf("%s, %s: got %q, more %v, want %q, %v", where, tt.name, ids(got.Events), got.More, tt.want, tt.more)
			}
		}
	}
	check(l, "memory")
	shut(t, l)
	l = open(t, Options{Dir: dir})
	check(l, "files")
	shut(t, l)
}

// A crash tears the last line; what comes later is written into another file.
func TestLineThatACrashHasTornIsPassedOver(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Options{Dir: dir})
	l.Record(refused("shop", 1))
	l.Record(refused("shop", 2))
	shut(t, l)
	files, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil || len(files) != 1 {
		t.Fatal(err, files)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(files[0], int64(len(text)-20)); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	l = open(t, Options{Dir: dir, Logger: slog.New(slog.NewTextHandler(&said, nil))})
	l.Record(refused("shop", 3))
	shut(t, l)
	for range 2 {
		got := find(t, l, Query{Tenant: "shop"}, 10)
		equal(t, "events", ids(got.Events), "3 1")
		equal(t, "unreadable", got.Unreadable, 1)
	}
	equal(t, "words about it", strings.Count(said.String(), "torn are passed over"), 1)
}

// A line that is no event, or longer than any, hides none of the others.
func TestLinesThatAreNoEventsHideNothing(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Options{Dir: dir})
	l.Record(refused("shop", 1))
	shut(t, l)
	files, _ := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	f, err := os.OpenFile(files[0], os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(f, "\nnonsense\n[1]\n{\"id\":\"%s\"}\n", strings.Repeat("x", 1<<20))
	f.Close()
	if err := os.WriteFile(filepath.Join(dir, "README.jsonl"), []byte("not ours\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l = open(t, Options{Dir: dir})
	defer shut(t, l)
	got := find(t, l, Query{}, 10)
	equal(t, "events", ids(got.Events), "1")
	equal(t, "unreadable", got.Unreadable, 2)
}

func TestFilesAreBoundedByAgeAndSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l := open(t, Options{Dir: dir, MaxBytes: 20_000, FileBytes: 5_000, Share: 1 << 30})
		record := func(n int) {
			e := refused("shop", n)
			e.Time = time.Now()
			l.Record(e)
			time.Sleep(time.Second) // it is written
			synctest.Wait()
		}
		usage := func() (count int, total int64) {
			files, err := l.folder.list()
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range files {
				total += f.size
				if f.size > 5_000 {
					t.Errorf("%s has %d bytes", f.name, f.size)
				}
			}
			return len(files), total
		}
		for n := range 100 { // of some 450 bytes each
			record(n)
			if _, total := usage(); total > 20_000 {
				t.Fatalf("%d bytes after event %d", total, n)
			}
		}
		count, total := usage()
		if count < 4 || total < 12_000 {
			t.Errorf("%d files, %d bytes are left: more was removed than had to be", count, total)
		}
		time.Sleep(24 * time.Hour)
		record(100)
		if more, _ := usage(); more != count+1 && more != count {
			t.Errorf("%d files on the next day, %d before", more, count)
		}
		time.Sleep(7*24*time.Hour - 2*time.Hour)
		l.sweep(time.Now())
		if left, _ := usage(); left != 1 {
			t.Errorf("%d files are left of the week before, want the last day's", left)
		}
		equal(t, "found", ids(find(t, l, Query{}, 10).Events), "64")
		time.Sleep(3 * time.Hour)
		l.sweep(time.Now())
		if left, _ := usage(); left != 0 {
			t.Errorf("%d files are left when all are too old", left)
		}
		equal(t, "found when all is too old", ids(find(t, l, Query{}, 10).Events), "")
		record(101)
		equal(t, "found later", ids(find(t, l, Query{}, 10).Events), "65")
		shut(t, l)
	})
}

// Run does what sweep does, every hour.
func TestRunRemovesWhatIsOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l := open(t, Options{Dir: dir, MaxAge: 3 * time.Hour})
		e := refused("shop", 1)
		e.Time = time.Now()
		l.Record(e)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- l.Run(ctx) }()
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		files, _ := filepath.Glob(filepath.Join(dir, "*.jsonl"))
		equal(t, "files after two hours", len(files), 1)
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		files, _ = filepath.Glob(filepath.Join(dir, "*.jsonl"))
		equal(t, "files after five hours", len(files), 0)
		equal(t, "events in memory", l.memory.count, 0)
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		shut(t, l)
	})
}

func TestFolderThatCannotBeWrittenLosesNoRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		blocked := filepath.Join(dir, "events")
		if err := os.WriteFile(blocked, nil, 0o600); err != nil { // a file where the folder should be
			t.Fatal(err)
		}
		var said bytes.Buffer
		registry := prometheus.NewRegistry()
		l := open(t, Options{Dir: blocked, Logger: slog.New(slog.NewTextHandler(&said, nil)), Registerer: registry})
		for n := range 5 {
			l.Record(refused("shop", n+1))
			time.Sleep(time.Second)
		}
		synctest.Wait()
		got := find(t, l, Query{}, 10)
		equal(t, "in memory", ids(got.Events), "5 4 3 2 1")
		if !strings.Contains(got.Problem, "cannot be read: open") {
			t.Errorf("what is missing is not said: %q", got.Problem)
		}
		equal(t, "report", report(t, l, Query{Tenant: "shop"}).Events, 5)
		equal(t, "lost", lost(t, registry, "write"), 5)
		equal(t, "words about it", strings.Count(said.String(), "waf events cannot be written"), 1)
		if err := os.Remove(blocked); err != nil {
			t.Fatal(err)
		}
		l.Record(refused("shop", 6))
		shut(t, l)
		equal(t, "words about it", strings.Count(said.String(), "waf events are being written again"), 1)
		l = open(t, Options{Dir: blocked})
		equal(t, "in files", ids(find(t, l, Query{}, 10).Events), "6")
		shut(t, l)
	})
}

// /dev/full is a disk without room.
func TestFullDiskLosesEventsAndLeavesNoEmptyFiles(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		registry := prometheus.NewRegistry()
		l := open(t, Options{Dir: dir, Registerer: registry})
		l.folder.file, l.folder.begun = full, time.Now()
		for n := range 3 {
			l.Record(refused("shop", n+1))
			time.Sleep(24 * time.Hour)
		}
		synctest.Wait()
		equal(t, "lost", lost(t, registry, "write"), 3)
		files, err := l.folder.list()
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "files", len(files), 0)
		shut(t, l)
	})
}

func TestRemovedFolderIsMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "events")
		l := open(t, Options{Dir: dir})
		l.Record(refused("shop", 1))
		time.Sleep(time.Second)
		synctest.Wait()
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		l.sweep(time.Now())
		l.Record(refused("shop", 2))
		shut(t, l)
		l = open(t, Options{Dir: dir})
		equal(t, "found", ids(find(t, l, Query{}, 10).Events), "2")
		shut(t, l)
	})
}

// lost reads a counter as Prometheus does.
func lost(t *testing.T, g prometheus.Gatherer, reason string) int {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "gatehouse_waf_events_lost_total" && m.GetLabel()[0].GetValue() == reason {
				return int(m.GetCounter().GetValue())
			}
		}
	}
	t.Fatalf("no counter for %s", reason)
	return 0
}

func TestManyAtOnce(t *testing.T) {
	l := open(t, Options{Dir: t.TempDir(), MemoryEvents: 100, MaxBytes: 200_000, FileBytes: 20_000})
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			for n := range 300 {
				l.Record(refused(fmt.Sprintf("t%d", w), n))
			}
		})
	}
	for range 2 {
		all.Go(func() {
			for range 20 {
				if _, err := l.Find(t.Context(), Query{Tenant: "t1"}, 50); err != nil {
					t.Error(err)
				}
				if _, err := l.Report(t.Context(), Query{Tenant: "t2"}); err != nil {
					t.Error(err)
				}
				l.sweep(time.Now())
			}
		})
	}
	all.Wait()
	shut(t, l)
	equal(t, "in memory", l.memory.count, 100)
}
