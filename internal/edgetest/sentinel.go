package edgetest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A SentinelServer is a real Sentinel process on a loopback port.
type SentinelServer struct{ port string }

// Sentinel starts a Sentinel that watches the Redis on a loopback port as the master "main", and stops it after the test. Nothing waits until
// it answers.
func Sentinel(t testing.TB, masterPort string) *SentinelServer {
	t.Helper()
	s := &SentinelServer{port: freePort(t)}
	conf := filepath.Join(t.TempDir(), "sentinel.conf")
	text := fmt.Sprintf("port %s\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 %s 1\n"+
		"sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 20000\n", s.port, masterPort)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("redis-server", conf, "--sentinel")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait() // killed
	})
	return s
}

// Addr is the Sentinel's host:port.
func (s *SentinelServer) Addr() string { return net.JoinHostPort("127.0.0.1", s.port) }

// CLI runs redis-cli against the Sentinel and returns what it prints in one line, errors as well.
func (s *SentinelServer) CLI(args ...string) string {
	out, err := exec.Command("redis-cli", append([]string{"-p", s.port}, args...)...).CombinedOutput()
	if err != nil {
		return err.Error()
	}
	return strings.ReplaceAll(string(out), "\n", " ")
}
