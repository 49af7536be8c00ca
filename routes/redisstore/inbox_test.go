package redisstore

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"gatehouse/internal/edgetest"
	"gatehouse/routes/routestest"
)

// Who writes other keys all the time, faster than they are read, takes no memory for each of them.
func TestKeysThatWaitAreBounded(t *testing.T) {
	const most = 100
	in := newInbox(most)
	note := func(n int) {
		for i := range n {
			in.note(fmt.Sprintf("frontend:h%d.test", i))
		}
	}
	for range 2 {
		note(most)
		note(most) // the same ones
		if keys, why, _ := in.take(); len(keys) != most || why != allGood {
			t.Errorf("%d keys, %d", len(keys), why)
		}
		note(10 * most)
		if len(in.keys) > 0 {
			t.Errorf("%d keys are kept beside what is read as a whole", len(in.keys))
		}
		if keys, why, _ := in.take(); len(keys) != 0 || why != allTooMany {
			t.Errorf("too many: %d keys, %d", len(keys), why)
		}
	}
}

// All that has changed acts when there was too much of it for single keys, what is gone too.
func TestTooManyChangesAreReadAsAWhole(t *testing.T) {
	t.Parallel()
	server := edgetest.Redis(t)
	fill(server, 50)
	var log edgetest.Output
	s := openURL(t, server.URL(), Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	s.maxWaiting = 3
	w := routestest.Follow(t, s, "")
	untilLen(w, 50)
	var commands strings.Builder
	for i := range 200 {
		fmt.Fprintf(&commands, "RPUSH frontend:more%d.test shop http://127.0.0.1:9000\n", i)
	}
	server.CLIInput("DEL frontend:h7.test\n" + commands.String() + "DEL frontend:h8.test\n")
	untilLen(w, 248)
	if !strings.Contains(log.String(), "redis changes faster than it is read") {
		t.Errorf("the log:\n%s", log.String())
	}
	server.CLI("DEL", "frontend:h9.test")
	untilLen(w, 247)
}
