package filestore

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestTemporaryFilesOfAKilledWriterAreRemoved(t *testing.T) {
	dir := t.TempDir()
	hourAgo := time.Now().Add(-time.Hour)
	put := func(name string, when time.Time) {
		write(t, filepath.Join(dir, name), siteText("x.test", "http://b"))
		if err := os.Chtimes(filepath.Join(dir, name), when, when); err != nil {
			t.Fatal(err)
		}
	}
	stays := []string{
		"a.yaml", ".a.yaml", ".a.yaml.swp", ".a.yaml.12x", ".a.yaml.", ".a.yaml.12345678901", ".a.txt.123", "a.yaml.123", "..a.yaml.123", ".yaml.123",
	}
	for _, name := range stays {
		put(name, hourAgo)
	}
	put(".young.yaml.123", time.Now())
	stays = append(stays, ".young.yaml.123", ".folder.yaml.123")
	if err := os.Mkdir(filepath.Join(dir, ".folder.yaml.123"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(filepath.Join(dir, ".folder.yaml.123"), hourAgo, hourAgo); err != nil {
		t.Fatal(err)
	}
	put(".a.yaml.123456789", hourAgo)
	put(".b.yml.1", hourAgo)
	// As routes.WriteFile itself makes it.
	f, err := os.CreateTemp(dir, "."+"_wildcard.a-b.test-2.yaml"+".*")
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if err := os.Chtimes(f.Name(), hourAgo, hourAgo); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{}); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	slices.Sort(stays)
	if !slices.Equal(got, stays) {
		t.Errorf("left:\n%q, want\n%q", got, stays)
	}
}
