package iplist

import (
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
	"gatehouse/routes"
)

// A server that gives no ETag sends the same text again and again: nobody is told of a change, and nothing is written.
func TestTheSameTextAgainIsNoChange(t *testing.T) {
	t.Parallel()
	server := newListServer(t, "")
	say := func(text string) {
		server.do(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) })
	}
	again := func() {
		t.Helper()
		asked := server.asked.Load()
		edgetest.WaitFor(t, "two more questions", func() bool { return server.asked.Load() >= asked+2 })
	}
	say("192.0.2.1\n")
	dir := t.TempDir()
	var changes atomic.Int64
	l := newLists(t, Options{Dir: dir, TLS: server.tls(), Refresh: 10 * time.Millisecond, Changed: func() { changes.Add(1) }})
	r := l.Open("", &routes.Addresses{Deny: []string{server.URL}})
	kept := func() os.FileInfo {
		t.Helper()
		files, err := os.ReadDir(dir)
		if err != nil || len(files) != 1 {
			t.Fatal(files, err)
		}
		info, err := files[0].Info()
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	before := kept()
	l.run(t)
	again()
	server.do(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	edgetest.WaitFor(t, "the failure", func() bool { return problemOf(r) != nil })
	say("192.0.2.1\n")
	edgetest.WaitFor(t, "the same list", func() bool { return problemOf(r) == nil })
	again()
	if after := kept(); changes.Load() != 0 || !os.SameFile(before, after) {
		t.Errorf("%d changes told, and what is kept is another file: %v", changes.Load(), !os.SameFile(before, after))
	}
	say("192.0.2.2\n")
	edgetest.WaitFor(t, "another list", func() bool { return changes.Load() == 1 && judge(r, "192.0.2.2") == Denied })
	if os.SameFile(before, kept()) {
		t.Error("the new list is not kept")
	}
}

// A list that is given up while it is asked for leaves nothing behind, whatever the answer.
func TestAListGivenUpWhileItIsReadIsNotKept(t *testing.T) {
	t.Parallel()
	server := newListServer(t, "192.0.2.1\n")
	dir := t.TempDir()
	l := newLists(t, Options{Dir: dir, TLS: server.tls(), Refresh: 10 * time.Millisecond})
	r := l.Open("", &routes.Addresses{Deny: []string{server.URL}})
	asked, answer := make(chan struct{}), make(chan struct{})
	server.do(func(w http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-answer
		w.WriteHeader(http.StatusNotModified)
	})
	l.run(t)
	<-asked
	l.Close(r)
	close(answer)
	edgetest.WaitFor(t, "the last good form to be removed", func() bool { left, err := os.ReadDir(dir); return err == nil && len(left) == 0 })
}
