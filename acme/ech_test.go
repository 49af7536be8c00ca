package acme

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/hpke"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/internal/edgetest"
)

const frontName = "front.test"

// echClient is the configuration of a client that has a key from DNS.
func echClient(m *Manager, name string, list []byte) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(m.authority.cert)
	return &tls.Config{ServerName: name, RootCAs: roots, EncryptedClientHelloConfigList: list}
}

// echServer serves what a manager has, with ECH, and notes the server name of each handshake.
func echServer(t testing.TB, m *Manager) (addr string, names chan string) {
	t.Helper()
	names = make(chan string, 10)
	config := serverConfig(m)
	config.GetEncryptedClientHelloKeys = m.EncryptedClientHelloKeys
	config.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		names <- hello.ServerName
		return m.GetCertificate(hello)
	}
	return serveTLS(t, config), names
}

func echManager(t testing.TB, o Options) *Manager {
	t.Helper()
	o.ECH.PublicName = frontName
	return newManager(t, o)
}

func TestECHHidesTheNameAndTellsOfNewKeys(t *testing.T) {
	t.Parallel()
	m := echManager(t, Options{})
	addr, names := echServer(t, m)
	list := m.ECHState().ConfigList
	cs, err := connect(t, addr, echClient(m, "secret.test", list))
	if err != nil || !cs.ECHAccepted {
		t.Fatalf("the key of now: %v", err)
	}
	if name := <-names; name != "secret.test" {
		t.Errorf("the certificate was chosen by %s, want the encrypted name", name)
	}

	stale := echManager(t, Options{}).ECHState().ConfigList
	_, err = connect(t, addr, echClient(m, "secret.test", stale))
	rejection, ok := errors.AsType[*tls.ECHRejectionError](err)
	if !ok || !bytes.Equal(rejection.RetryConfigList, list) {
		t.Fatalf("a key that is known no more: %v, want a rejection with the key of now", err)
	}
	if name := <-names; name != frontName {
		t.Errorf("the rejection has the certificate of %s, want that of the public name", name)
	}
	if cs, err = connect(t, addr, echClient(m, "secret.test", rejection.RetryConfigList)); err != nil || !cs.ECHAccepted {
		t.Errorf("again with what it was told: %v", err)
	}
	if cs, err = connect(t, addr, echClient(m, "plain.test", nil)); err != nil || cs.ECHAccepted {
		t.Errorf("a client without ECH: %v", err)
	}
}

// The server of the public name is known, its key is not: another public name than any that is served gets alert 112.
func TestECHOfAnotherPublicNameIsAnUnknownName(t *testing.T) {
	t.Parallel()
	m := echManager(t, Options{Known: knows("secret.test", frontName).has})
	addr, _ := echServer(t, m)
	other := newManager(t, Options{ECH: ECH{PublicName: "elsewhere.test"}}).ECHState().ConfigList
	if _, err := connect(t, addr, echClient(m, "secret.test", other)); !isUnrecognizedName(err) {
		t.Errorf("error is %v, want alert 112", err)
	}
}

func TestNameIsNotInTheHello(t *testing.T) {
	t.Parallel()
	m := echManager(t, Options{})
	client, server := net.Pipe()
	done := make(chan error, 1)
	go func() { done <- tls.Client(client, echClient(m, "secret.test", m.ECHState().ConfigList)).Handshake() }()
	hello := make([]byte, 1<<14)
	n, err := server.Read(hello)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(hello[:n], []byte("secret")) || !bytes.Contains(hello[:n], []byte(frontName)) {
		t.Error("want the public name in the clear, and not the other")
	}
	_ = server.Close()
	if err := <-done; err == nil {
		t.Error("a handshake without a server")
	}
}

// The bytes are those of RFC 9849 section 4.
func TestECHConfigIsWrittenAsTheRFCSays(t *testing.T) {
	private := bytes.Repeat([]byte{7}, echKeySize)
	config, err := echConfig(9, private, frontName)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdh.X25519().NewPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	want := []byte{0xfe, 0x0d, 0, 63, 9, 0, 0x20, 0, 32}
	want = append(want, key.PublicKey().Bytes()...)
	want = append(want, 0, 8, 0, 1, 0, 1, 0, 1, 0, 3, echNameLength, byte(len(frontName)))
	want = append(append(want, frontName...), 0, 0)
	want[3] = byte(len(want) - 4)
	if !bytes.Equal(config, want) {
		t.Errorf("config\n% x, want\n% x", config, want)
	}
	if list, err := echConfigList(config); err != nil || !bytes.Equal(list, append([]byte{0, byte(len(config))}, config...)) {
		t.Errorf("list % x, %v", list, err)
	}
}

func TestECHIsOffUntilToldSo(t *testing.T) {
	m := newManager(t, Options{})
	if keys, err := m.EncryptedClientHelloKeys(nil); keys != nil || err != nil {
		t.Errorf("keys: %v, %v", keys, err)
	}
	if st := m.ECHState(); st.PublicName != "" || st.Problem != "" {
		t.Errorf("state: %+v", st)
	}
	for _, name := range []string{"Front.test", "front.test.", "front", "192.0.2.1", "*.test", "a_b.test", "-a.test", "a.123", "a..test"} {
		if _, err := New(Options{Data: t.TempDir(), Known: knows().has, ECH: ECH{PublicName: name}}); err == nil {
			t.Errorf("public name %q is taken", name)
		}
	}
	if _, err := New(Options{Data: t.TempDir(), Known: knows().has, ECH: ECH{PublicName: frontName, Rotate: time.Minute}}); err == nil {
		t.Error("keys of a minute are taken")
	}
}

func TestHandshakesGetECHKeysWithoutAllocation(t *testing.T) {
	m := echManager(t, Options{})
	if n := testing.AllocsPerRun(100, func() {
		if keys, err := m.EncryptedClientHelloKeys(nil); len(keys) == 0 || err != nil {
			t.Fatal(keys, err)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// openECHNode opens keys that rotate each 30 days as they are at a time.
func openECHNode(t testing.TB, shared Shared, dir string, now time.Time) *echKeys {
	t.Helper()
	o := Options{Data: dir, ECH: ECH{PublicName: frontName, Rotate: defaultECHRotate}, Logger: slog.New(slog.DiscardHandler), Shared: shared}
	if shared != nil {
		o.Keys = keyring(t, oneKey)
	}
	e, err := openECH(o, now)
	if err != nil {
		t.Fatal(err)
	}
	if shared != nil {
		e.look(t.Context(), now, true)
	}
	return e
}

func (e *echKeys) mustLook(t testing.TB, now time.Time) *echRing {
	t.Helper()
	e.look(t.Context(), now, true)
	ring := e.ring.Load()
	if ring.err != nil {
		t.Fatal(ring.err)
	}
	return ring
}

// decrypts reports whether a node has the very key of a list.
func (e *echKeys) decrypts(list []byte) bool {
	for _, key := range e.ring.Load().tls {
		if bytes.Equal(list[2:], key.Config) {
			return true
		}
	}
	return false
}

func TestECHKeyIsPublishedForAnEpochAndDecryptsForTwoMore(t *testing.T) {
	t.Parallel()
	for kind, shared := range map[string]Shared{"alone": nil, "shared": newMemory()} {
		t.Run(kind, func(t *testing.T) {
			now := time.Now()
			dir := t.TempDir()
			e := openECHNode(t, shared, dir, now)
			first := e.mustLook(t, now)
			for i := range 4 {
				now = now.Add(defaultECHRotate)
				ahead := e.ring.Load().private[e.epochAt(now)]
				ring := e.mustLook(t, now)
				if !bytes.Equal(ring.private[e.epochAt(now)], ahead) || ring.published != e.epochAt(now) {
					t.Errorf("rotation %d: the key was not made ahead", i+1)
				}
				if e.decrypts(first.list) != (i+1 <= echKept) {
					t.Errorf("rotation %d: the first key decrypts: %v", i+1, e.decrypts(first.list))
				}
				if want := min(i+1, echKept) + 1; len(ring.tls) != want {
					t.Errorf("rotation %d: %d keys, want %d", i+1, len(ring.tls), want)
				}
				for k, key := range ring.tls {
					if key.SendAsRetry != (k == 0) {
						t.Errorf("rotation %d: key %d is told to clients: %v", i+1, k, key.SendAsRetry)
					}
				}
			}
			// Shortly before its epoch the next one decrypts, as the clock of who publishes it may be ahead.
			soon := e.begin(e.epochAt(now) + 1).Add(-time.Minute)
			next := e.mustLook(t, soon).tls
			if !bytes.Equal(next[len(next)-1].Config, e.mustLook(t, soon.Add(2*time.Minute)).tls[0].Config) {
				t.Error("the next key does not decrypt yet")
			}
			files, err := os.ReadDir(filepath.Join(dir, "ech"))
			if err != nil || len(files) != echKept+1+echAhead {
				t.Errorf("files: %v, %v", files, err)
			}
			for _, f := range files {
				mustBePrivate(t, filepath.Join(dir, "ech", f.Name()))
			}
			again := openECHNode(t, shared, dir, soon.Add(2*time.Minute))
			if !bytes.Equal(again.ring.Load().list, e.ring.Load().list) || len(again.ring.Load().tls) != len(e.ring.Load().tls) {
				t.Error("a restart changes the keys")
			}
		})
	}
}

func TestAnotherPublicNameKeepsTheKey(t *testing.T) {
	now := time.Now()
	dir := t.TempDir()
	first := openECHNode(t, nil, dir, now).ring.Load()
	o := Options{Data: dir, ECH: ECH{PublicName: "other.test", Rotate: defaultECHRotate}}
	e, err := openECH(o, now)
	if err != nil {
		t.Fatal(err)
	}
	second := e.mustLook(t, now)
	if bytes.Equal(first.list, second.list) || !bytes.Equal(first.tls[0].PrivateKey, second.tls[0].PrivateKey) {
		t.Error("want the same key in another config")
	}
}

func TestCorruptECHKeyIsNamedAndNotReplaced(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	now := time.Now()
	e := openECHNode(t, nil, data, now.Add(-defaultECHRotate))
	before := e.mustLook(t, now)
	file := e.file(before.published)
	if err := os.WriteFile(file, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	log, lines := newLog()
	m := echManager(t, Options{Data: data, Logger: log})
	addr, _ := echServer(t, m)
	st := m.ECHState()
	if !strings.Contains(st.Problem, file+" is no key: it has 5 bytes, want 32; remove it") {
		t.Errorf("problem: %q", st.Problem)
	}
	if cs, err := connect(t, addr, echClient(m, "a.test", st.ConfigList)); err != nil || !cs.ECHAccepted {
		t.Errorf("the key before does not go on: %v", err)
	}
	stop := run(t, m)
	eventually(t, "it is in the log", func() bool { return strings.Contains(lines.String(), "is no key") })
	if kept, err := os.ReadFile(file); err != nil || string(kept) != "short" {
		t.Errorf("it was replaced: %q, %v", kept, err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	stop()
	if m.ech.look(t.Context(), now, true); m.ech.ring.Load().err != nil || m.ECHState().Until.Before(st.Until) {
		t.Errorf("no other key was made: %v", m.ech.ring.Load().err)
	}
}

func TestECHKeysOfNodesAgree(t *testing.T) {
	t.Parallel()
	shared := newMemory()
	now := time.Now()
	a, b := openECHNode(t, shared, t.TempDir(), now), openECHNode(t, shared, t.TempDir(), now)
	same := func(when string) {
		t.Helper()
		if list := a.ring.Load().list; list == nil || !bytes.Equal(list, b.ring.Load().list) {
			t.Errorf("%s: the nodes publish different keys", when)
		}
	}
	same("at first")
	for place, sealed := range shared.values {
		for _, key := range a.ring.Load().private {
			if bytes.Contains(sealed, key) {
				t.Errorf("%s is not sealed", place)
			}
		}
	}

	shared.setAway(true)
	now = now.Add(defaultECHRotate)
	a.look(t.Context(), now, true)
	b.look(t.Context(), now, true)
	same("while what is shared is away")
	if ring := a.ring.Load(); !errors.Is(ring.err, errAway) || ring.published != a.epochAt(now) {
		t.Errorf("it does not go on, or does not say why: %v", ring.err)
	}
	alone := openECHNode(t, shared, t.TempDir(), now)
	if ring := alone.ring.Load(); ring.tls != nil || ring.list != nil {
		t.Error("a node that has never seen the others' keys offers one of its own")
	}
	shared.setAway(false)

	// What is shared was lost, and a node that knows nothing came first: its keys count for those who had others.
	shared.values = map[string][]byte{}
	if alone.mustLook(t, now); bytes.Equal(alone.ring.Load().list, a.ring.Load().list) {
		t.Fatal("the new node has the old key")
	}
	a.mustLook(t, now)
	b.mustLook(t, now)
	same("after a loss")
	if !bytes.Equal(a.ring.Load().list, alone.ring.Load().list) {
		t.Error("the node that came first has another key than the rest")
	}
	shared.values = map[string][]byte{}
	a.mustLook(t, now)
	if late := openECHNode(t, shared, t.TempDir(), now); !bytes.Equal(late.ring.Load().list, a.ring.Load().list) {
		t.Error("what was lost did not come back from a node that has it")
	}
}

// A full disk, or no folder at all, makes no node reject what the others publish; the key is kept there when it can be.
func TestECHKeyThatCannotBeKeptIsUsed(t *testing.T) {
	t.Parallel()
	shared, dir, now := newMemory(), t.TempDir(), time.Now()
	list := openECHNode(t, shared, t.TempDir(), now).ring.Load().list
	open := func(keys ...string) *echKeys {
		t.Helper()
		e, err := openECH(Options{Data: dir, ECH: ECH{PublicName: frontName, Rotate: defaultECHRotate}, Shared: shared, Keys: keyring(t, keys...)}, now)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	e := open(oneKey)
	if err := os.Remove(e.dir); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		e.look(t.Context(), now, true)
		if ring := e.ring.Load(); !bytes.Equal(ring.list, list) || ring.err == nil {
			t.Fatalf("it does not use the key, or does not say that it is not kept: %v", ring.err)
		}
	}
	if err := os.Mkdir(e.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	e.mustLook(t, now)
	shared.setAway(true)
	again := open(otherKey, oneKey)
	if !bytes.Equal(again.ring.Load().list, list) {
		t.Error("it was not kept when it could be")
	}
	if key, err := again.load(again.epochAt(now), false); key == nil || err != nil {
		t.Errorf("it is not sealed anew: %v", err)
	}
}

// A seal key is changed in two steps; keys of months are sealed anew, so that the old one can go.
func TestECHKeysFollowTheSealKey(t *testing.T) {
	t.Parallel()
	shared := newMemory()
	now := time.Now()
	dir := t.TempDir()
	list := openECHNode(t, shared, dir, now).ring.Load().list
	open := func(dir string, keys ...string) *echKeys {
		t.Helper()
		e, err := openECH(Options{Data: dir, ECH: ECH{PublicName: frontName, Rotate: defaultECHRotate}, Shared: shared, Keys: keyring(t, keys...)}, now)
		if err != nil {
			t.Fatal(err)
		}
		e.look(t.Context(), now, true)
		return e
	}
	stranger := open(t.TempDir(), otherKey).ring.Load()
	if stranger.list != nil || stranger.err == nil || !strings.Contains(stranger.err.Error(), "ech:{") {
		t.Errorf("without the key: %v", stranger.err)
	}
	if ring := open(dir, otherKey, oneKey).ring.Load(); ring.err != nil || !bytes.Equal(ring.list, list) {
		t.Errorf("with both: %v", ring.err)
	}
	if ring := open(t.TempDir(), otherKey).ring.Load(); ring.err != nil || !bytes.Equal(ring.list, list) {
		t.Errorf("with the new one alone: %v", ring.err)
	}
	shared.setAway(true)
	if ring := open(dir, otherKey).ring.Load(); !bytes.Equal(ring.list, list) {
		t.Errorf("the folder's copies with the new one alone: %v", ring.err)
	}
}

func TestECHRotatesByItselfAndSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	ca := edgetest.NewCA(t)
	_, cert, key := pairFiles(t, ca, edgetest.LeafOptions{}, frontName)
	synctest.Test(t, func(t *testing.T) {
		log, lines := newLog()
		m := echManager(t, Options{Data: data, Logger: log, Known: knows("a.test", frontName).has, ECH: ECH{Rotate: time.Hour}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); m.runECH(ctx) }()
		before := m.ECHState()
		time.Sleep(2 * echLook) // the bubble's clock
		synctest.Wait()
		if !strings.Contains(lines.String(), "front.test has the internal CA's certificate: clients with an old key fail") {
			t.Errorf("log: %s", lines.String())
		}
		m.Update([]Change{{Name: frontName, CertFile: cert, KeyFile: key}})
		time.Sleep(time.Until(before.Changes) + echLook)
		synctest.Wait()
		after := m.ECHState()
		if bytes.Equal(before.ConfigList, after.ConfigList) || !m.ech.decrypts(before.ConfigList) || !after.Changes.After(before.Changes) {
			t.Errorf("the key has not changed with its epoch: %+v", after)
		}
		if after.Until.Sub(after.Changes) != 2*time.Hour {
			t.Errorf("the key ends %v after it is replaced", after.Until.Sub(after.Changes))
		}
		cancel()
		<-done
	})
	m := echManager(t, Options{Data: t.TempDir(), Known: knows("a.test").has})
	if problem := m.ECHState().Problem; !strings.Contains(problem, "no vhost answers for front.test") {
		t.Errorf("problem: %q", problem)
	}
}

// What stays wrong is said once, with however many keys it is.
func TestECHWarningIsNotRepeated(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		log, lines := newLog()
		m := echManager(t, Options{Data: data, Logger: log})
		if err := os.RemoveAll(m.ech.dir); err != nil {
			t.Fatal(err)
		}
		m.ech.ring.Store(&echRing{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); m.runECH(ctx) }()
		time.Sleep(20 * echRetry) // the bubble's clock
		synctest.Wait()
		cancel()
		<-done
		if n := strings.Count(lines.String(), "ECH does not work as it should"); n != 1 {
			t.Errorf("it is said %d times:\n%s", n, lines.String())
		}
	})
}

// What crypto/tls does for each key with a hello that none of them opens, as browsers send it that have no key (GREASE).
func BenchmarkTrialOfAHelloThatNoKeyOpens(b *testing.B) {
	kem, kdf, aead := hpke.DHKEM(ecdh.X25519()), hpke.HKDFSHA256(), hpke.AES128GCM()
	sender, err := kem.GenerateKey()
	if err != nil {
		b.Fatal(err)
	}
	encap, _, err := hpke.NewSender(sender.PublicKey(), kdf, aead, nil)
	if err != nil {
		b.Fatal(err)
	}
	private := newKey()
	for b.Loop() {
		key, err := kem.NewPrivateKey(private)
		if err != nil {
			b.Fatal(err)
		}
		recipient, err := hpke.NewRecipient(encap, key, kdf, aead, []byte("tls ech\x00"))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := recipient.Open(nil, make([]byte, 300)); err == nil {
			b.Fatal("it opened")
		}
	}
}
