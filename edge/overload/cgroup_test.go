package overload

import (
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
)

// machine makes a folder with the given files, as "path: content".
func machine(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		at := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestLimitIsTheSmallestOnTheWayUp(t *testing.T) {
	const groups = "proc/self/cgroup"
	for _, tc := range []struct {
		name  string
		files map[string]string
		want  int64
		at    string // the end of the file's name
	}{
		{"no Linux", nil, 0, ""},
		{"version 2, own group", map[string]string{
			groups: "0::/system.slice/gatehouse.service\n",
			"sys/fs/cgroup/system.slice/gatehouse.service/memory.max": "536870912\n",
			"sys/fs/cgroup/system.slice/memory.max":                   "max\n",
		}, 512 << 20, "gatehouse.service/memory.max"},
		{"version 2, the slice above is smaller", map[string]string{
			groups:                           "0::/a/b/c\n",
			"sys/fs/cgroup/a/b/c/memory.max": "1073741824\n",
			"sys/fs/cgroup/a/memory.max":     "268435456\n",
		}, 256 << 20, "cgroup/a/memory.max"},
		{"version 2 in a container", map[string]string{
			groups:                     "0::/\n",
			"sys/fs/cgroup/memory.max": "134217728\n",
		}, 128 << 20, "cgroup/memory.max"},
		{"version 2, moved beside the container's own group", map[string]string{
			groups:                     "0::/../other\n",
			"sys/fs/cgroup/memory.max": "134217728\n",
		}, 128 << 20, "cgroup/memory.max"},
		{"version 2 without a limit", map[string]string{groups: "0::/a\n", "sys/fs/cgroup/a/memory.max": "max\n"}, 0, ""},
		{"version 1", map[string]string{
			groups: "9:name=systemd:/\n4:cpu,memory:/job\n0::/\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes":     "9223372036854771712\n",
			"sys/fs/cgroup/memory/job/memory.limit_in_bytes": "67108864\n",
		}, 64 << 20, "job/memory.limit_in_bytes"},
		{"version 1 in a container that sees the host's path", map[string]string{
			groups: "4:memory:/docker/0123abcd\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "33554432\n",
		}, 32 << 20, "memory/memory.limit_in_bytes"},
		{"version 1 without a limit", map[string]string{
			groups: "4:memory:/\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
		}, 0, ""},
		{"both, the smaller counts", map[string]string{
			groups: "4:memory:/\n0::/\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "33554432\n",
			"sys/fs/cgroup/unified/memory.max":           "16777216\n",
		}, 16 << 20, "unified/memory.max"},
		{"odd lines", map[string]string{groups: "\nx\n::\n4:memory\n"}, 0, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, file, err := Limit(machine(t, tc.files))
			if err != nil || got != tc.want || !strings.HasSuffix(file, tc.at) || (file == "") != (tc.at == "") {
				t.Errorf("got %d from %q (%v), want %d from …%s", got, file, err, tc.want, tc.at)
			}
		})
	}
}

func TestLimitThatCannotBeUnderstoodIsAnError(t *testing.T) {
	root := machine(t, map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "lots\n"})
	if _, _, err := Limit(root); err == nil || !strings.Contains(err.Error(), `"lots"`) {
		t.Errorf("got %v", err)
	}
}

// keepLimit puts Go's memory limit back after the test.
func keepLimit(t *testing.T) {
	t.Helper()
	was := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(was) })
}

func TestGoGetsNineTenthsOfTheGroupsLimit(t *testing.T) {
	keepLimit(t)
	t.Setenv("GOMEMLIMIT", "")
	root := machine(t, map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1000000000\n"})
	var log strings.Builder
	b := SetGoLimit(root, slog.New(slog.NewTextHandler(&log, nil)))
	if b.Limit != 900_000_000 || debug.SetMemoryLimit(-1) != b.Limit || !strings.HasSuffix(b.Source, "memory.max") {
		t.Errorf("got %+v, Go has %d", b, debug.SetMemoryLimit(-1))
	}
	if !strings.Contains(log.String(), "bytes=900000000") {
		t.Errorf("log: %q", log.String())
	}
}

func TestTheUsersGOMEMLIMITCounts(t *testing.T) {
	keepLimit(t)
	root := machine(t, map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1000000000\n"})
	t.Setenv("GOMEMLIMIT", "2GiB") // the runtime has read it at start; here we say it
	debug.SetMemoryLimit(2 << 30)
	if b := SetGoLimit(root, nil); b != (Bound{2 << 30, "GOMEMLIMIT"}) {
		t.Errorf("got %+v", b)
	}
	t.Setenv("GOMEMLIMIT", "off")
	debug.SetMemoryLimit(math.MaxInt64)
	if b := SetGoLimit(root, nil); b != (Bound{}) || debug.SetMemoryLimit(-1) != math.MaxInt64 {
		t.Errorf("off: got %+v", b)
	}
}

func TestWithoutALimitNothingChanges(t *testing.T) {
	keepLimit(t)
	t.Setenv("GOMEMLIMIT", "")
	was := debug.SetMemoryLimit(-1)
	var log strings.Builder
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	for _, root := range []string{
		t.TempDir(),
		machine(t, map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "lots\n"}),
	} {
		if b := SetGoLimit(root, logger); b != (Bound{}) || debug.SetMemoryLimit(-1) != was {
			t.Errorf("got %+v", b)
		}
	}
	if strings.Count(log.String(), "memory has no limit") != 2 || strings.Count(log.String(), "level=WARN") != 1 {
		t.Errorf("log: %s", log.String())
	}
}

func FuzzLimit(f *testing.F) {
	f.Add("0::/a/b\n", "max")
	f.Add("4:memory:/\n0::/..\n", "9223372036854771712")
	f.Add(":memory,:\n", "-1")
	root := f.TempDir()
	for _, dir := range []string{"proc/self", "sys/fs/cgroup/memory"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o700); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, groups, value string) {
		for name, content := range map[string]string{
			"proc/self/cgroup": groups, "sys/fs/cgroup/memory.max": value, "sys/fs/cgroup/memory/memory.limit_in_bytes": value,
		} {
			if err := os.WriteFile(filepath.Join(root, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		n, file, err := Limit(root)
		if n < 0 || n >= unlimited || (n == 0) != (file == "") || err != nil && n != 0 {
			t.Errorf("%d %q %v", n, file, err)
		}
		if file != "" && !strings.HasPrefix(file, filepath.Join(root, "sys/fs/cgroup")) {
			t.Errorf("%q is outside the groups", file)
		}
	})
}
