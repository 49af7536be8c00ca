package filestore

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"gatehouse/routes"
	"gatehouse/routes/routestest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T) (*Store, string) {
	t.Helper()
	dir := t.TempDir()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s, dir
}

func TestContract(t *testing.T) {
	routestest.TestStore(t, func(t *testing.T) routestest.Fixture {
		s, dir := open(t)
		path := func(key routes.Key) string {
			return filepath.Join(dir, key.Kind.String()+"-"+strings.ReplaceAll(key.Name, "*", "any")+".yaml")
		}
		return routestest.Fixture{
			Store: s,
			Write: func(t *testing.T, key routes.Key, text string) {
				write(t, path(key), fmt.Sprintf("%s:\n  %q: %s\n", sections[key.Kind], key.Name, text))
			},
			Remove: func(t *testing.T, key routes.Key) {
				if err := os.Remove(path(key)); err != nil {
					t.Fatal(err)
				}
			},
		}
	})
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
