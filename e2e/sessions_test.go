package e2e

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// A hopper is a client with a session that it offers to whatever node and name comes next.
type hopper struct {
	t       testing.TB
	version uint16

	mu      sync.Mutex
	session *tls.ClientSessionState
}

func newHopper(t testing.TB, version uint16) *hopper { return &hopper{t: t, version: version} }

// Get and Put are those of tls.ClientSessionCache.
func (h *hopper) Get(string) (*tls.ClientSessionState, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.session, h.session != nil
}

func (h *hopper) Put(_ string, session *tls.ClientSessionState) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.session = session
}

// resumes makes a connection with a request, and reports whether the session was resumed.
func (h *hopper) resumes(n *node, host string) (bool, error) {
	config := &tls.Config{ServerName: host, ClientSessionCache: h, MinVersion: h.version, MaxVersion: h.version, InsecureSkipVerify: true} //nolint:gosec // each node has a CA of its own, and this is about sessions
	conn, err := tls.Dial("tcp", n.https, config)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(edgetest.Patience)); err != nil {
		return false, err
	}
	if _, err := conn.Write([]byte("GET / HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n")); err != nil {
		return false, err
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil { // the ticket comes before it
		return false, err
	}
	return conn.ConnectionState().DidResume, nil
}

// offers makes a connection that offers this very session. A refused handshake makes a client forget it.
func (h *hopper) offers(session *tls.ClientSessionState, n *node, host string) (resumed bool, err error) {
	h.t.Helper()
	if session == nil {
		h.t.Fatal("there is no session to offer")
	}
	h.Put("", session)
	return h.resumes(n, host)
}

// hop goes around the nodes and wants each connection resumed.
func (h *hopper) hop(f *fleet, rounds int, when string) {
	h.t.Helper()
	for i := range rounds * len(f.nodes) {
		resumed, err := h.resumes(f.nodes[i%len(f.nodes)], "a.shop.test")
		if err != nil || !resumed {
			h.t.Errorf("%s, %s: connection %d, on node %d: resumed is %v, %v", tls.VersionName(h.version), when, i, i%len(f.nodes)+1, resumed, err)
		}
	}
}

// startSessions starts a fleet that serves two names of one tenant, and one of another, and waits until they agree on ticket keys.
func startSessions(t *testing.T, f *fleet) {
	t.Helper()
	b := edgetest.NewBackend(t)
	for host, tenant := range map[string]string{"a.shop.test": "shop", "b.shop.test": "shop", "blog.test": "blog"} {
		f.redis.CLI("rpush", "frontend:"+host, tenant, b.URL)
	}
	for _, n := range f.nodes {
		n.start()
	}
	for _, n := range f.nodes {
		edgetest.WaitFor(t, "sites and common keys", func() bool {
			h := newHopper(t, tls.VersionTLS13)
			_, err := h.resumes(f.nodes[0], "a.shop.test")
			if err != nil {
				return false
			}
			resumed, err := h.resumes(n, "a.shop.test")
			return err == nil && resumed
		})
	}
}

// Four processes, a client that goes from one to the other: each connection is resumed, also over a restart, while Redis hangs, while it is away, and
// over a restart meanwhile. Nothing is resumed under another name, or of a vhost that is gone, though it come back as another tenant's.
func TestSessionsResumeOnEveryNodeAndUnderTheirOwnNameAlone(t *testing.T) {
	t.Parallel()
	f := prepareFleet(t, 4)
	startSessions(t, f)
	clients := []*hopper{newHopper(t, tls.VersionTLS12), newHopper(t, tls.VersionTLS13)}
	all := func(when string) {
		t.Helper()
		for _, h := range clients {
			h.hop(f, 3, when)
		}
	}
	for _, h := range clients {
		if _, err := h.resumes(f.nodes[0], "a.shop.test"); err != nil {
			t.Fatal(err)
		}
	}
	all("at first")
	for _, h := range clients {
		session, _ := h.Get("")
		for _, host := range []string{"b.shop.test", "blog.test"} {
			for i, n := range f.nodes {
				if resumed, err := h.offers(session, n, host); resumed || err != nil {
					t.Errorf("%s, node %d: resumed under %s is %v, %v", tls.VersionName(h.version), i+1, host, resumed, err)
				}
			}
		}
		h.Put("", session)
	}
	f.nodes[1].stop()
	f.nodes[1].start()
	all("after a restart")
	f.redis.Suspend()
	all("while Redis hangs")
	f.redis.Resume()
	f.redis.Stop()
	all("while Redis is away")
	f.nodes[2].stop()
	f.nodes[2].start()
	all("after a restart while Redis is away")
	f.redis.Restart(false)
	all("when Redis is back")
	f.goesAndComesBack(clients)
}

// goesAndComesBack deletes the vhost of the clients' sessions, and makes it again for another tenant.
func (f *fleet) goesAndComesBack(clients []*hopper) {
	f.t.Helper()
	sessions := make([]*tls.ClientSessionState, len(clients))
	for i, h := range clients {
		sessions[i], _ = h.Get("")
	}
	begin := time.Now()
	f.redis.CLI("del", "frontend:a.shop.test")
	for i, n := range f.nodes {
		edgetest.WaitFor(f.t, "the vhost to be gone", func() bool {
			_, err := newHopper(f.t, tls.VersionTLS13).resumes(n, "a.shop.test")
			return err != nil
		})
		for k, h := range clients {
			if resumed, err := h.offers(sessions[k], n, "a.shop.test"); resumed || err == nil {
				f.t.Errorf("%s, node %d: a session of a vhost that is gone: resumed is %v", tls.VersionName(h.version), i+1, resumed)
			}
		}
	}
	took := time.Since(begin)
	f.t.Logf("no session of a deleted vhost on any node %v after the deletion", took.Round(time.Millisecond))
	if took > time.Second+slack {
		f.t.Errorf("sessions of a deleted vhost end after %v, want 1 s", took)
	}
	f.redis.CLI("rpush", "frontend:a.shop.test", "blog", edgetest.NewBackend(f.t).URL)
	for i, n := range f.nodes {
		edgetest.WaitFor(f.t, "the vhost to be back", func() bool {
			_, err := newHopper(f.t, tls.VersionTLS13).resumes(n, "a.shop.test")
			return err == nil
		})
		for k, h := range clients {
			if resumed, err := h.offers(sessions[k], n, "a.shop.test"); resumed || err != nil {
				f.t.Errorf("%s, node %d: a session of the name's former tenant: resumed is %v, %v", tls.VersionName(h.version), i+1, resumed, err)
			}
		}
	}
}

// quickEpochs are what a binary for tests has in the place of hours and minutes: keys change every three seconds.
var quickEpochs = map[string][]string{
	"acme/tickets.go":    {"ticketEpoch = 12 * time.Hour", "ticketEpoch = 3 * time.Second"},
	"acme/ticketkeys.go": {"wait := time.Minute", "wait := 50 * time.Millisecond", "ticketRetry = 5 * time.Second", "ticketRetry = 50 * time.Millisecond"},
}

// buildQuick builds gatehouse with other times.
func buildQuick(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	replace := map[string]string{}
	for file, edits := range quickEpochs {
		path, err := filepath.Abs(filepath.Join("..", filepath.FromSlash(file)))
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(edits); i += 2 {
			if strings.Count(string(text), edits[i]) != 1 {
				t.Fatalf("%s: %q is not there once", file, edits[i])
			}
			text = []byte(strings.Replace(string(text), edits[i], edits[i+1], 1))
		}
		replace[path] = filepath.Join(dir, filepath.Base(file))
		if err := os.WriteFile(replace[path], text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	quick := filepath.Join(dir, "gatehouse")
	build := exec.Command("go", "build", "-tags", "coraza.no_memoize", "-overlay", filepath.Join(dir, "overlay.json"), "-o", quick, "../cmd/gatehouse")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return quick
}

// Four processes whose ticket keys change every three seconds, eight times: a client that goes around them is resumed each time, with one node
// restarted and Redis hanging for an epoch meanwhile. It takes a build and half a minute: `make faults`.
func TestSessionsResumeThroughEightRotations(t *testing.T) {
	if !full() {
		t.Skip("only with GATEHOUSE_FAULTS=full")
	}
	t.Parallel()
	f := prepareFleet(t, 4)
	quick := buildQuick(t)
	for _, n := range f.nodes {
		n.binary = quick
	}
	startSessions(t, f)
	const epoch = 3 * time.Second
	clients := []*hopper{newHopper(t, tls.VersionTLS12), newHopper(t, tls.VersionTLS13)}
	connections, refused := 0, 0
	for _, h := range clients {
		if _, err := h.resumes(f.nodes[0], "a.shop.test"); err != nil {
			t.Fatal(err)
		}
	}
	restarted, hung := false, false
	for begin := time.Now(); time.Since(begin) < 8*epoch+epoch/2; {
		for i, n := range f.nodes {
			for _, h := range clients {
				resumed, err := h.resumes(n, "a.shop.test")
				if err != nil {
					t.Fatalf("node %d: %v", i+1, err)
				}
				if connections++; !resumed {
					refused++
				}
			}
		}
		switch passed := time.Since(begin); {
		case !restarted && passed > 3*epoch:
			restarted = true
			f.nodes[1].stop()
			f.nodes[1].start()
		case !hung && passed > 5*epoch:
			hung = true
			f.redis.Suspend()
			time.AfterFunc(epoch, f.redis.Resume)
		}
	}
	if key := fmt.Sprintf("tickets:{%d}", time.Now().Unix()/int64(epoch/time.Second)); f.redis.CLI("EXISTS", key) != "1" {
		t.Errorf("keys did not change: there is no %s", key)
	}
	t.Logf("%d connections on 4 nodes through 8 rotations, a restart and an outage: %d not resumed", connections, refused)
	if refused > 0 || connections < 100 {
		t.Errorf("%d of %d connections were not resumed", refused, connections)
	}
}
