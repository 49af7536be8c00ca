package admin_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"gatehouse/admin"
	"gatehouse/admin/admintest"
)

func TestUpgradeIsAnsweredWithItsOutcome(t *testing.T) {
	outcome := errors.New("not upgraded: another upgrade is under way")
	want := admin.Upgraded{OldPID: 1, NewPID: 2, OldVersion: "a", NewVersion: "b", Seconds: 0.5}
	n := admintest.Start(t, "", admin.Options{Upgrade: func(context.Context) (admin.Upgraded, error) { return want, outcome }})
	c := onSocket(t, n)
	var failure admin.Failure
	if status := c.call(http.MethodPost, "/upgrade", "", &failure); status != 409 || failure.Error != outcome.Error() {
		t.Errorf("%d %+v", status, failure)
	}
	outcome = nil
	var got admin.Upgraded
	if status := c.call(http.MethodPost, "/upgrade", "", &got); status != 200 || got != want {
		t.Errorf("%d %+v", status, got)
	}
	if status := onTCP(t, n.Public).call(http.MethodPost, "/upgrade", "", nil); status != 404 {
		t.Errorf("the public endpoints answer %d", status)
	}
	if status := onSocket(t, admintest.Start(t, "", admin.Options{})).call(http.MethodPost, "/upgrade", "", nil); status != 501 {
		t.Errorf("a node without upgrades answers %d", status)
	}
}

// The file of a socket goes with the process that has it last.
func TestInheritedSocketLeavesItsFileUntilItIsOurs(t *testing.T) {
	dir, err := os.MkdirTemp("", "gh") //nolint:usetesting // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	first, err := admin.ListenSocket(path)
	if err != nil {
		t.Fatal(err)
	}
	heir := func() *admin.Socket {
		f, err := first.File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		ln, err := net.FileListener(f)
		if err != nil {
			t.Fatal(err)
		}
		return admin.InheritSocket(ln.(*net.UnixListener), path)
	}
	failed, second := heir(), heir()
	if err := failed.Close(); err != nil {
		t.Error(err)
	}
	first.Keep(true)
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	if _, err := admin.ListenSocket(path); err == nil {
		t.Error("a socket that is being listened on was replaced")
	}
	second.Keep(false)
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the last one left the file: %v", err)
	}
}
