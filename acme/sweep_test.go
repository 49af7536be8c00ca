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

// Keys of names that are gone do not stay for ever, and nothing goes that somebody may want.
func TestFilesOfNamesThatAreGoneAreSwept(t *testing.T) {
	t.Parallel()
	keys, err := NewKeyring([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	others, err := NewKeyring([]byte("another key of thirty-two bytes!"))
	if err != nil {
		t.Fatal(err)
	}
	v := &vault{dir: t.TempDir(), source: SourceACME, keys: keys, log: slog.New(slog.DiscardHandler)}
	ca, now := edgetest.NewCA(t), time.Now()
	pair := func(name string, ended time.Duration) []byte {
		p := ca.IssueWith(t, edgetest.LeafOptions{NotBefore: now.Add(-ended - 90*24*time.Hour), NotAfter: now.Add(-ended)}, name)
		return slices.Concat(p.KeyPEM, p.CertPEM)
	}
	put := func(file string, text []byte, age time.Duration) {
		path := filepath.Join(v.dir, file)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	const day = 24 * time.Hour
	long := 100 * day
	sealed := func(by *Keyring, name string, ended time.Duration) []byte {
		return by.seal(v.key(name), (&record{PEM: string(pair(name, ended))}).encode())
	}
	put("gone.test.pem", pair("gone.test", 8*day), long)
	put("gone.shared.test.sealed", sealed(keys, "gone.shared.test", 8*day), long)
	put("gone.test.order", nil, 2*time.Hour)
	put("gone.test.failed", nil, 8*day)
	put(".tmp-1", nil, 2*day)
	stay := map[string]func(file string){
		"shop.test.pem":        func(f string) { put(f, pair("shop.test", 8*day), long) }, // it is ordered
		"back.test.pem":        func(f string) { put(f, pair("back.test", 6*day), long) },
		"other.test.sealed":    func(f string) { put(f, sealed(others, "other.test", 8*day), long) },
		"nonsense.test.pem":    func(f string) { put(f, []byte("nonsense"), long) },
		"lately.test.pem":      func(f string) { put(f, pair("lately.test", 8*day), day) },
		"under-way.test.order": func(f string) { put(f, nil, time.Minute) },
		"broken.test.failed":   func(f string) { put(f, nil, 6*day) },
		".tmp-2":               func(f string) { put(f, nil, time.Minute) },
		"README":               func(f string) { put(f, nil, long) },
	}
	want := []string{}
	for file, make := range stay {
		make(file)
		want = append(want, file)
	}
	v.sweep(t.Context(), func(name string) bool { return name == "shop.test" })
	entries, err := os.ReadDir(v.dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, entry := range entries {
		got = append(got, entry.Name())
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("left are\n%q, want\n%q", got, want)
	}
}
