//go:build unix

package loadtest

import (
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// TestTheLimitOfDescriptorsIsComparedWithThePlan runs itself once more under a limit.
func TestTheLimitOfDescriptorsIsComparedWithThePlan(t *testing.T) {
	const child = "GATEHOUSE_TEST_FEW_DESCRIPTORS"
	if os.Getenv(child) == "" {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", `ulimit -n 100 && exec "$0" -test.run '^`+t.Name()+`$'`, os.Args[0])
		cmd.Env = append(os.Environ(), child+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	s := serve(t, func(http.ResponseWriter, *http.Request) {})
	_, err := Run(t.Context(), &Plan{Targets: to(s.URL), Connections: 200, Requests: 1}, nil)
	if err == nil || !strings.Contains(err.Error(), "200 clients need 232 file descriptors, and this process may have 100") || !strings.Contains(err.Error(), "ulimit -n 232") {
		t.Errorf("got %v", err)
	}
	if _, err := Run(t.Context(), &Plan{Targets: to(s.URL), Connections: 4, Requests: 1}, nil); err != nil {
		t.Errorf("with few connections: %v", err)
	}
	limit := unix.Rlimit{Cur: 40, Max: 100}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), &Plan{Targets: to(s.URL), Connections: 20, Requests: 1}, nil); err != nil {
		t.Errorf("the limit could have been raised: %v", err)
	}
}

// TestTheGeneratorsOwnShortageIsNotTheServers: it is said, and not counted.
func TestTheGeneratorsOwnShortageIsNotTheServers(t *testing.T) {
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	restore := func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
			t.Error(err)
		}
	}
	defer restore()
	var once sync.Once
	s := serve(t, func(http.ResponseWriter, *http.Request) {
		once.Do(func() {
			if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: before.Max}); err != nil {
				t.Error(err)
			}
		})
	})
	r, err := Run(t.Context(), &Plan{Targets: to(s.URL), Connections: 1, NoKeepAlive: true}, nil)
	restore()
	if r != nil || err == nil || !strings.Contains(err.Error(), "the load generator has no file descriptor left") || !strings.Contains(err.Error(), "ulimit -n") {
		t.Errorf("got %+v, %v", r, err)
	}
}
