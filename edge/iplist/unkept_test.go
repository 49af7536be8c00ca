package iplist

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
	"gatehouse/routes"
)

// A list that a full disk did not take is written when it can be, whatever its server says of its ETag: a restart would else begin with
// an older one, or none.
func TestAListThatCouldNotBeKeptIsWrittenLater(t *testing.T) {
	t.Parallel()
	server := newListServer(t, "192.0.2.1")
	file := filepath.Join(t.TempDir(), "list.txt")
	if err := os.WriteFile(file, []byte("192.0.2.2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, entry := range []string{server.URL, "file:" + file} {
		dir := filepath.Join(t.TempDir(), "lists")
		l := newLists(t, Options{Dir: dir, TLS: server.tls(), Refresh: 10 * time.Millisecond})
		if err := os.Remove(dir); err != nil { // as if the disk were full
			t.Fatal(err)
		}
		r := l.Open("", &routes.Addresses{Deny: []string{entry}})
		if judge(r, "192.0.2.1") != Denied && judge(r, "192.0.2.2") != Denied {
			t.Error(entry, "is not in force")
		}
		l.run(t)
		if entry == server.URL {
			asked := server.asked.Load()
			edgetest.WaitFor(t, "another request", func() bool { return server.asked.Load() >= asked+2 })
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		edgetest.WaitFor(t, entry+" to be kept", func() bool {
			kept, err := filepath.Glob(filepath.Join(dir, "*.txt"))
			if err != nil || len(kept) != 1 {
				return false
			}
			text, err := os.ReadFile(kept[0])
			return err == nil && strings.HasPrefix(string(text), "192.0.2.")
		})
	}
}
