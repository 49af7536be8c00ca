package redisstore

import (
	"testing"

	"go.uber.org/goleak"

	"gatehouse/internal/edgetest"
	"gatehouse/internal/redisconn"
	"gatehouse/routes"
	"gatehouse/routes/routestest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open returns a store over a Redis of its own, at the given path and #prefix.
func open(t *testing.T, server *edgetest.RedisServer, tail string) *Store {
	t.Helper()
	opts, err := redisconn.Parse(server.URL() + tail)
	if err != nil {
		t.Fatal(err)
	}
	client, err := redisconn.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	s, err := Open(client, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestContract(t *testing.T) {
	server := edgetest.Redis(t)
	for name, tail := range map[string]string{"plain": "", "database and prefix": "/3#edge-[1]:"} {
		t.Run(name, func(t *testing.T) {
			routestest.TestStore(t, func(t *testing.T) routestest.Fixture {
				server.CLI("FLUSHALL")
				s := open(t, server, tail)
				db, key := "0", func(key routes.Key) string { return canonical(s.prefix, key, partJSON) }
				if tail != "" {
					db = "3"
				}
				return routestest.Fixture{
					Store: s,
					Write: func(t *testing.T, doc routes.Key, text string) {
						server.CLI("-n", db, "SET", key(doc), text)
					},
					Remove: func(t *testing.T, doc routes.Key) { server.CLI("-n", db, "DEL", key(doc)) },
				}
			})
		})
	}
}
