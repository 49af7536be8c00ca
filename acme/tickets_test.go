package acme

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// sharedSession is a client session cache that offers the same session under every
// name, as a hostile client may.
type sharedSession struct {
	mu      sync.Mutex
	session *tls.ClientSessionState
}

func (s *sharedSession) Get(string) (*tls.ClientSessionState, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.session, s.session != nil
}

func (s *sharedSession) Put(_ string, session *tls.ClientSessionState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.session = session
}

// client connects under a name and says whether the session was resumed.
func (s *sharedSession) connect(t *testing.T, addr, name string, version uint16) bool {
	t.Helper()
	cs, err := connect(t, addr, &tls.Config{
		ServerName: name, InsecureSkipVerify: true, ClientSessionCache: s,
		MinVersion: version, MaxVersion: version,
	})
	if err != nil {
		t.Fatalf("connect to %s: %v", name, err)
	}
	return cs.DidResume
}

func eachVersion(t *testing.T, test func(t *testing.T, version uint16)) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) { test(t, version) })
	}
}

func TestTicketOfOneNameDoesNotResumeUnderAnother(t *testing.T) {
	eachVersion(t, func(t *testing.T, version uint16) {
		m := newManager(t, Options{Known: knows("a.test", "b.test").has})
		addr := serveTLS(t, serverConfig(m))
		client := new(sharedSession)
		client.connect(t, addr, "a.test", version)
		ticket := client.session
		if !client.connect(t, addr, "a.test", version) {
			t.Fatal("the ticket does not resume under its own name")
		}
		client.Put("", ticket)
		if client.connect(t, addr, "b.test", version) {
			t.Error("a ticket of a.test was resumed under b.test")
		}
	})
}

func TestTicketSurvivesARestart(t *testing.T) {
	eachVersion(t, func(t *testing.T, version uint16) {
		data := t.TempDir()
		client := new(sharedSession)
		first := newManager(t, Options{Data: data})
		client.connect(t, serveTLS(t, serverConfig(first)), "a.test", version)
		second := newManager(t, Options{Data: data})
		if !client.connect(t, serveTLS(t, serverConfig(second)), "a.test", version) {
			t.Error("the ticket does not resume after a restart")
		}
		entries, err := os.ReadDir(filepath.Join(data, "tickets"))
		if err != nil || len(entries) != 2 {
			t.Fatalf("key files: %v, %v; want two", entries, err)
		}
		mustBePrivate(t, filepath.Join(data, "tickets", entries[0].Name()))
	})
}

func TestTicketOfADeletedNameDoesNotResume(t *testing.T) {
	eachVersion(t, func(t *testing.T, version uint16) {
		names := knows("a.test")
		m := newManager(t, Options{Known: names.has})
		addr := serveTLS(t, serverConfig(m))
		client := new(sharedSession)
		client.connect(t, addr, "a.test", version)
		names.remove("a.test")
		_, err := connect(t, addr, &tls.Config{
			ServerName: "a.test", InsecureSkipVerify: true, ClientSessionCache: client,
			MinVersion: version, MaxVersion: version,
		})
		if !isUnrecognizedName(err) {
			t.Errorf("error is %v, want alert 112", err)
		}
	})
}

func TestForgedTicketLeadsToAFullHandshake(t *testing.T) {
	m := newManager(t, Options{})
	ticket := sealed(t, m, "a.test", nil)
	cs := tls.ConnectionState{ServerName: "a.test"}
	if state, err := m.UnwrapSession(ticket, cs); state == nil || err != nil {
		t.Fatalf("the ticket itself does not open: %v", err)
	}
	for i := range ticket {
		forged := bytes.Clone(ticket)
		forged[i] ^= 1
		if state, err := m.UnwrapSession(forged, cs); state != nil || err != nil {
			t.Fatalf("octet %d changed: %v, %v", i, state, err)
		}
	}
	for n := range ticket {
		if state, err := m.UnwrapSession(ticket[:n], cs); state != nil || err != nil {
			t.Fatalf("cut to %d octets: %v, %v", n, state, err)
		}
	}
	for _, name := range []string{"", "b.test", "10.0.0.1"} {
		if state, err := m.UnwrapSession(ticket, tls.ConnectionState{ServerName: name}); state != nil || err != nil {
			t.Errorf("name %q: %v, %v", name, state, err)
		}
	}
}

// sealed returns a ticket for a name around a minimal session state.
func sealed(t testing.TB, m *Manager, name string, extra [][]byte) []byte {
	t.Helper()
	ticket, err := m.WrapSession(tls.ConnectionState{ServerName: name}, session(t, extra))
	if err != nil {
		t.Fatal(err)
	}
	return ticket
}

// session is a TLS 1.3 server's session state in the encoding of crypto/tls:
// version, type, suite, time, secret, extra, flags, certificates, chains.
func session(t testing.TB, extra [][]byte) *tls.SessionState {
	t.Helper()
	data := []byte{3, 4, 1, 0x13, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 's', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	state, err := tls.ParseSessionState(data)
	if err != nil {
		t.Fatal(err)
	}
	state.Extra = extra
	return state
}

func TestExtraOfOtherLayersIsKept(t *testing.T) {
	m := newManager(t, Options{})
	ticket := sealed(t, m, "a.test", [][]byte{[]byte("quic 1"), []byte("other")})
	state, err := m.UnwrapSession(ticket, tls.ConnectionState{ServerName: "A.test"})
	if err != nil || state == nil {
		t.Fatal(state, err)
	}
	if got := fmt.Sprintf("%s", state.Extra); got != "[quic 1 other]" {
		t.Errorf("extra is %s", got)
	}
}

func TestTicketKeysRotateAndOldOnesAreErased(t *testing.T) {
	data := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t, Options{Data: data})
		stop := run(t, m)
		opens := func(ticket []byte) bool {
			state, err := m.UnwrapSession(ticket, tls.ConnectionState{ServerName: "a.test"})
			if err != nil {
				t.Error(err)
			}
			return state != nil
		}
		next := m.tickets.ring.Load().find(epochAt(time.Now()) + 1)
		first := sealed(t, m, "a.test", nil)
		time.Sleep(ticketEpoch + 2*time.Minute)
		if m.tickets.ring.Load().find(epochAt(time.Now())) != next {
			t.Error("the key made ahead is not the one in use")
		}
		if !opens(first) {
			t.Error("a ticket of the last epoch does not open")
		}
		time.Sleep(ticketEpoch)
		if !opens(first) {
			t.Error("a ticket of the epoch before the last does not open")
		}
		time.Sleep(ticketEpoch)
		if opens(first) {
			t.Error("a ticket of three epochs ago opens")
		}
		entries, err := os.ReadDir(m.tickets.dir)
		if err != nil || len(entries) != ticketsKept+1+ticketsAhead {
			t.Errorf("key files: %v, %v", entries, err)
		}
		stop()
	})
}

func TestDamagedTicketKeyIsReplaced(t *testing.T) {
	data := t.TempDir()
	first := newManager(t, Options{Data: data})
	file := first.tickets.file(first.tickets.ring.Load().current)
	if err := os.WriteFile(file, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	second := newManager(t, Options{Data: data})
	if sealed(t, second, "a.test", nil) == nil {
		t.Error("no ticket")
	}
	if key, err := os.ReadFile(file); err != nil || len(key) != ticketKeySize {
		t.Errorf("key has %d octets (%v)", len(key), err)
	}
}

func FuzzUnwrapSession(f *testing.F) {
	m := newManager(f, Options{})
	ticket := sealed(f, m, "a.test", nil)
	f.Add(ticket, "a.test")
	f.Add(ticket, "b.test")
	f.Add(ticket[:20], "a.test")
	f.Add([]byte{}, "")
	f.Fuzz(func(t *testing.T, data []byte, name string) {
		state, err := m.UnwrapSession(data, tls.ConnectionState{ServerName: name})
		if err != nil {
			t.Error("an error ends the handshake:", err)
		}
		canonical, _ := canonicalName(name)
		if state != nil && (canonical != "a.test" || !bytes.Equal(data, ticket)) {
			t.Errorf("a forged ticket opened under %q", name)
		}
	})
}

func TestTicketOpensOnlyWhileItsBindingIsTheSame(t *testing.T) {
	eachVersion(t, func(t *testing.T, version uint16) {
		var tenant atomic.Value
		tenant.Store("one")
		m := newManager(t, Options{Binding: func(dst []byte, name string) []byte {
			return append(append(dst, name...), tenant.Load().(string)...)
		}})
		addr := serveTLS(t, serverConfig(m))
		client := new(sharedSession)
		client.connect(t, addr, "a.test", version)
		if !client.connect(t, addr, "a.test", version) {
			t.Fatal("the ticket does not resume")
		}
		tenant.Store("two")
		if client.connect(t, addr, "a.test", version) {
			t.Error("a ticket of before the change was resumed")
		}
		if !client.connect(t, addr, "a.test", version) {
			t.Error("the ticket of after the change does not resume")
		}
	})
}

// A name and a binding are never another name and another binding.
func TestBindingIsApartFromTheName(t *testing.T) {
	binding := "test"
	m := newManager(t, Options{Known: knows("a.", "a.test").has, Binding: func(dst []byte, name string) []byte {
		if name == "a.test" {
			return dst
		}
		return append(dst, binding...)
	}})
	ticket := sealed(t, m, "a.test", nil)
	if state, err := m.UnwrapSession(ticket, tls.ConnectionState{ServerName: "a."}); state != nil || err != nil {
		t.Errorf("%v, %v", state, err)
	}
}

// A binding costs no allocation: there is room for it where the name goes.
func TestBindingCostsNoAllocation(t *testing.T) {
	long := bytes.Repeat([]byte("x"), 150)
	cost := func(o Options) float64 {
		m := newManager(t, o)
		ticket := sealed(t, m, "a.test", nil)
		cs := tls.ConnectionState{ServerName: "a.test"}
		return testing.AllocsPerRun(200, func() {
			if state, err := m.UnwrapSession(ticket, cs); state == nil || err != nil {
				t.Error(state, err)
			}
		})
	}
	plain := cost(Options{})
	if got := cost(Options{Binding: func(dst []byte, _ string) []byte { return append(dst, long...) }}); got != plain {
		t.Errorf("%v allocations with a binding, %v without", got, plain)
	}
}
