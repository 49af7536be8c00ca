package admintest

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"gatehouse/admin"
	"gatehouse/routes"
)

// A Node is a running API over a Store: what a verb speaks to.
type Node struct {
	Store  *Store
	Dir    string // of the node; its data folder is Dir/data
	Socket string // Dir/data/gatehouse.sock
	Public string // base URL of the public endpoints, on TCP
}

// Start starts a node with the given routes, and stops it when the test ends.
// opts.Table, Status, Held and Store are set here.
func Start(t testing.TB, yaml string, opts admin.Options) *Node {
	t.Helper()
	dir, err := os.MkdirTemp("", "gh") //nolint:usetesting // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	n := &Node{Store: NewStore(yaml), Dir: dir, Socket: filepath.Join(dir, "data", "gatehouse.sock")}
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	follower, err := routes.NewFollower(routes.FollowerOptions{Source: n.Store, Apply: func(*routes.Table, []routes.Replaced) {}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- follower.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("follower: %v", err)
		}
	})
	<-follower.First()
	opts.Table, opts.Status, opts.Held, opts.Store = follower.Table, follower.Status, follower.Holds, n.Store
	api := admin.New(opts)
	socket, err := admin.ListenSocket(n.Socket)
	if err != nil {
		t.Fatal(err)
	}
	Serve(t, socket, api.Private())
	n.Public = "http://" + ServeTCP(t, api.Public())
	return n
}

// ServeTCP serves h on a free loopback port and returns its address.
func ServeTCP(t testing.TB, h http.Handler) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	Serve(t, l, h)
	return l.Addr().String()
}

// Serve serves h on l until the test ends.
func Serve(t testing.TB, l net.Listener, h http.Handler) {
	t.Helper()
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serve: %v", err)
		}
	})
}
