package acme

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// plainKeys is a vault of a node that shares, with what its folder may have of a name: files by their ends.
func plainKeys(t *testing.T, files map[string][]byte) *vault {
	t.Helper()
	v := &vault{
		dir: t.TempDir(), source: SourceACME, directories: []string{countingDirectory}, shared: newMemory(), keys: keyring(t, oneKey), log: slog.New(slog.DiscardHandler),
	}
	for end, text := range files {
		if err := os.WriteFile(filepath.Join(v.dir, "a.test"+end), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return v
}

func (v *vault) has(file string) bool {
	_, err := os.Stat(filepath.Join(v.dir, file))
	return err == nil
}

// A private key does not stay in plain beside its sealed copy, and nothing goes that is not sealed, or better than what is.
func TestPrivateKeyDoesNotStayInPlainBesideTheSealedOne(t *testing.T) {
	t.Parallel()
	ca, now := edgetest.NewCA(t), time.Now()
	made := func(end time.Time) []byte {
		p := ca.IssueWith(t, edgetest.LeafOptions{NotBefore: now.Add(-time.Hour), NotAfter: end}, "a.test")
		return slices.Concat(p.KeyPEM, p.CertPEM)
	}
	sooner, later := now.Add(time.Hour).Truncate(time.Second), now.Add(48*time.Hour).Truncate(time.Second)
	old, fresh := made(sooner), made(later)
	seal := func(key string, text []byte) []byte { return keyring(t, key).seal(certKey("a.test"), text) }
	for what, tc := range map[string]struct {
		files map[string][]byte
		plain bool      // it stays
		until time.Time // of what is served; zero: nothing is
	}{
		"from before it shared":                    {map[string][]byte{".pem": fresh}, false, later},
		"what an earlier version left":             {map[string][]byte{".pem": fresh, ".sealed": seal(oneKey, fresh)}, false, later},
		"from before a renewal":                    {map[string][]byte{".pem": old, ".sealed": seal(oneKey, fresh)}, false, later},
		"from when it was alone again for a while": {map[string][]byte{".pem": fresh, ".sealed": seal(oneKey, old)}, false, later},
		"sealed by another key":                    {map[string][]byte{".pem": fresh, ".sealed": seal(otherKey, fresh)}, true, time.Time{}},
		"not a certificate":                        {map[string][]byte{".pem": []byte("nonsense"), ".sealed": seal(oneKey, fresh)}, true, later},
	} {
		v := plainKeys(t, tc.files)
		for range 2 { // the second time it is what was sealed
			l, err := v.local("a.test")
			if got := l != nil; got == tc.until.IsZero() || got && !l.notAfter.Equal(tc.until) {
				t.Errorf("%s: %+v %v", what, l, err)
			}
		}
		if v.has("a.test.pem") != tc.plain || !v.has("a.test.sealed") {
			t.Errorf("%s: in plain: %v, sealed: %v", what, v.has("a.test.pem"), v.has("a.test.sealed"))
		}
	}

	v := plainKeys(t, map[string][]byte{".pem": old})
	if _, err := v.put(t.Context(), "a.test", &record{Directory: countingDirectory, PEM: string(fresh)}, later); err != nil || v.has("a.test.pem") {
		t.Errorf("renewed: %v, in plain: %v", err, v.has("a.test.pem"))
	}
	v = plainKeys(t, map[string][]byte{".pem": fresh, ".sealed": seal(oneKey, fresh)})
	if v.sweep(t.Context(), func(string) bool { return true }); v.has("a.test.pem") || !v.has("a.test.sealed") {
		t.Error("the sweep has left it in plain, or nothing")
	}
	v = plainKeys(t, map[string][]byte{".pem": fresh})
	if v.sweep(t.Context(), func(string) bool { return true }); !v.has("a.test.pem") {
		t.Error("the sweep has taken the only one")
	}
}

// What ended long ago leaves the folders of former directories, too, and no others.
func TestFoldersOfFormerDirectoriesAreSwept(t *testing.T) {
	t.Parallel()
	m := newManager(t, Options{Issuer: IssuerACME, ACME: ACME{Directory: countingDirectory}})
	t.Cleanup(m.issuer.accounts[0].gate.close)
	v, ca, now := m.issuer.vault, edgetest.NewCA(t), time.Now()
	put := func(folder, file string, ended time.Duration) string {
		p := ca.IssueWith(t, edgetest.LeafOptions{NotBefore: now.Add(-90 * day), NotAfter: now.Add(-ended)}, "a.test")
		path := filepath.Join(filepath.Dir(v.dir), folder, file)
		err := os.MkdirAll(filepath.Dir(path), 0o700)
		if err == nil {
			err = os.WriteFile(path, slices.Concat(p.KeyPEM, p.CertPEM), 0o600)
		}
		if err == nil {
			err = os.Chtimes(path, now.Add(-80*day), now.Add(-80*day))
		}
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	former := directoryFolder("https://staging.test/dir")
	gone := put(former, "a.test.pem", 8*day)
	stay := []string{
		put(former, "account.pem", 8*day), // no certificate of a name "account"
		put(directoryFolder("https://other.test/dir"), "a.test.pem", 6*day), put("of-somebody", "a.test.pem", 8*day), put("imported", "a.test.pem", 8*day),
		put(filepath.Base(v.dir), "a.test.pem", 8*day), // ordered
	}
	m.Update([]Change{{Name: "a.test"}})
	m.issuer.sweep(t.Context())
	if _, err := os.Stat(gone); !os.IsNotExist(err) {
		t.Errorf("%s stays: %v", gone, err)
	}
	for _, path := range stay {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}
