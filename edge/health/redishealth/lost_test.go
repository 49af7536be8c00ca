package redishealth

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse/edge/health"
	"gatehouse/internal/edgetest"
)

const versionKey = "edge:gatehouse:{backends}:version"

// What a check finds just after Redis was emptied must not look as if all had been undrained.
func TestAFindingAfterAFlushUndrainsNothing(t *testing.T) {
	t.Parallel()
	redis := edgetest.Redis(t)
	a, _ := join(t, redis, "a", "")
	if err := a.Set(t.Context(), health.Drain{URL: "http://x"}, true); err != nil {
		t.Fatal(err)
	}
	s := store(t, redis)
	redis.CLI("FLUSHALL")
	if err := s.Tell(t.Context(), map[string]*health.Finding{"id": {Reason: "sick"}}); err != nil {
		t.Fatal(err)
	}
	edgetest.WaitFor(t, "a version", func() bool { return redis.CLI("EXISTS", versionKey) == "1" })
	if got := redis.CLI("HKEYS", "edge:gatehouse:{backends}:drains"); got != "http://x" {
		t.Errorf("drains in Redis: %q", got)
	}
	a.await(t, "http://x")
}

// Whoever reads while drains are brought back must not take a part of them for all.
func TestDrainsComeBackAllAtOnce(t *testing.T) {
	t.Parallel()
	redis := edgetest.Redis(t)
	const many = 500
	var file struct {
		Drains []health.Drain `json:"drains"`
	}
	for i := range many {
		file.Drains = append(file.Drains, health.Drain{URL: fmt.Sprint("http://", i)})
	}
	text, err := json.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "backends.json")
	text = []byte(strings.Replace(string(text), "{", `{"sticky_key": "`+strings.Repeat("ab", 32)+`",`, 1))
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	s := store(t, redis)
	join(t, redis, "a", path)
	edgetest.WaitFor(t, "a version", func() bool {
		snapshot, err := s.Read(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		if snapshot.Version != "" && len(snapshot.Drains) != many {
			t.Fatalf("a reader sees %d of %d drains", len(snapshot.Drains), many)
		}
		return snapshot.Version != ""
	})
}

// A drain just after Redis was emptied must not be all that is drained.
func TestADrainAfterAFlushUndrainsNoOther(t *testing.T) {
	t.Parallel()
	redis := edgetest.Redis(t)
	s := store(t, redis)
	if version, err := s.Change(t.Context(), health.Drain{URL: "http://w"}, true); version != "" || err != nil {
		t.Errorf("a change of what is lost makes version %q, %v", version, err)
	}
	redis.CLI("FLUSHALL")
	a, _ := join(t, redis, "a", "")
	b, _ := join(t, redis, "b", "")
	if err := a.Set(t.Context(), health.Drain{URL: "http://x"}, true); err != nil {
		t.Fatal(err)
	}
	b.await(t, "http://x")
	redis.CLI("FLUSHALL")
	if err := a.Set(t.Context(), health.Drain{URL: "http://y"}, true); err != nil {
		t.Fatal(err)
	}
	if snapshot, err := s.Read(t.Context(), ""); err != nil || health.ByKey(snapshot.Drains).Find("http://x", "") == nil {
		t.Errorf("%+v, %v", snapshot, err)
	}
	b.await(t, "http://x", "http://y")
	a.await(t, "http://x", "http://y")
}

// A node that was not the first to bring back what was lost takes over the key of the one that was.
func TestNodesHaveOneKeyAfterAFlush(t *testing.T) {
	t.Parallel()
	redis := edgetest.Redis(t)
	redis.CLI("SET", versionKey, "one")
	a, _ := join(t, redis, "a", "")
	edgetest.WaitFor(t, "a key", func() bool { return redis.CLI("EXISTS", "edge:gatehouse:{backends}:key") == "1" })
	if behind, err := a.Await(t.Context()); err != nil || len(behind) > 0 {
		t.Errorf("behind %v, %v", behind, err)
	}
	other := strings.Repeat("ab", 32)
	redis.CLIInput("MULTI\nSET edge:gatehouse:{backends}:key " + other + "\nSET " + versionKey + " another\nEXEC\n")
	edgetest.WaitFor(t, "the other node's key", func() bool {
		text, err := a.sticky().MarshalText()
		return err == nil && string(text) == other
	})
}

// A node whose file is damaged has the drains that Redis has.
func TestADamagedFileLosesNoDrainThatRedisHas(t *testing.T) {
	t.Parallel()
	redis := edgetest.Redis(t)
	a, _ := join(t, redis, "a", "")
	if err := a.Set(t.Context(), health.Drain{URL: "http://x"}, true); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "backends.json")
	if err := os.WriteFile(file, []byte(`{"sticky_key": "ab`), 0o600); err != nil {
		t.Fatal(err)
	}
	b, _ := join(t, redis, "b", file)
	b.await(t, "http://x")
	edgetest.WaitFor(t, "one key for both", func() bool { return a.sticky() == b.sticky() })
}

// A drain that somebody has spoiled by hand is none that was taken back.
func TestADrainThatCannotBeReadStays(t *testing.T) {
	t.Parallel()
	redis := edgetest.Redis(t)
	a, _ := join(t, redis, "a", "")
	for _, url := range []string{"http://x", "http://y", "http://z"} {
		if err := a.Set(t.Context(), health.Drain{URL: url}, true); err != nil {
			t.Fatal(err)
		}
	}
	hash := "edge:gatehouse:{backends}:drains"
	for _, version := range []string{"one", "two"} {
		redis.CLIInput("MULTI\nHSET " + hash + " http://x {\nHSET " + hash + " http://y '{\"url\": \"http://x\"}'\nHSET " + hash + " http://new 1\nHDEL " + hash + " http://z\n" +
			"SET " + versionKey + " " + version + "\nEXEC\n")
		edgetest.WaitFor(t, "it to be read", func() bool {
			standing, err := a.Standing(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, report := range standing.Reports { // its own
				return report.Version == version
			}
			return false
		})
		a.await(t, "http://x", "http://y")
	}
	for _, key := range []string{"drain=http://x drained_here=true", "drain=http://y drained_here=true", "drain=http://new drained_here=false"} {
		if got := strings.Count(a.log.String(), key); got != 1 {
			t.Errorf("%q is told %d times:\n%s", key, got, a.log.String())
		}
	}
	if err := a.Set(t.Context(), health.Drain{URL: "http://x"}, false); err != nil {
		t.Fatal(err)
	}
	redis.CLI("HDEL", hash, "http://y")
	redis.CLI("SET", versionKey, "last")
	a.await(t)
}

// Whoever puts something else in the place of the drains, tries to undrain, and takes it away again, has undrained nothing.
func TestAWrongTypeInThePlaceOfDrainsUndrainsNothing(t *testing.T) {
	t.Parallel()
	const drains, down = "edge:gatehouse:{backends}:drains", "edge:gatehouse:{backends}:down"
	for name, meets := range map[string]func(t *testing.T, b *node){
		"by a verb": func(t *testing.T, b *node) {
			if err := b.Set(t.Context(), health.Drain{URL: "http://x"}, false); err == nil || !strings.Contains(err.Error(), drains+": WRONGTYPE") {
				t.Errorf("undrained: %v", err)
			}
		},
		"by reading": func(t *testing.T, b *node) {
			s := b.shared
			if _, err := s.Read(t.Context(), ""); err == nil || !strings.Contains(err.Error(), drains+": WRONGTYPE") {
				t.Errorf("read: %v", err)
			}
			if _, err := s.Restore(t.Context(), nil, nil); err == nil {
				t.Error("a version was made of what is spoilt")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redis := edgetest.Redis(t)
			a, _ := join(t, redis, "a", "")
			b, _ := join(t, redis, "b", "")
			if err := a.Set(t.Context(), health.Drain{URL: "http://x"}, true); err != nil {
				t.Fatal(err)
			}
			b.await(t, "http://x")
			redis.CLI("SET", drains, "xx")
			meets(t, b)
			if got := redis.CLI("EXISTS", versionKey); got != "0" {
				t.Errorf("versions: %s", got)
			}
			redis.CLI("SET", down, "xx") // keeps no drain from being brought back
			redis.CLI("DEL", drains)
			edgetest.WaitFor(t, "the drain to be in Redis again", func() bool {
				return redis.CLI("EXISTS", versionKey) == "1" && redis.CLI("HKEYS", drains) == "http://x"
			})
			for _, n := range []*node{a, b} {
				if behind, err := n.Await(t.Context()); err != nil || len(behind) > 0 {
					t.Errorf("behind %v, %v", behind, err)
				}
				n.await(t, "http://x")
			}
		})
	}
}

// A wrong type in the place of findings keeps no drain away, and ends no finding.
func TestAWrongTypeInThePlaceOfFindingsStopsNoDrain(t *testing.T) {
	t.Parallel()
	redis := edgetest.Redis(t)
	a, _ := join(t, redis, "a", "")
	b, _ := join(t, redis, "b", "")
	if err := a.Set(t.Context(), health.Drain{URL: "http://x"}, true); err != nil {
		t.Fatal(err)
	}
	b.await(t, "http://x")
	redis.CLI("SET", "edge:gatehouse:{backends}:down", "xx")
	if err := a.Set(t.Context(), health.Drain{URL: "http://y"}, true); err != nil {
		t.Fatal(err)
	}
	b.await(t, "http://x", "http://y")
	if snapshot, err := b.shared.Read(t.Context(), ""); err != nil || snapshot.DownUnread == nil || len(snapshot.Drains) != 2 {
		t.Errorf("%+v, %v", snapshot, err)
	}
	if got := strings.Count(b.log.String(), "what active checks have found cannot be read"); got != 1 {
		t.Errorf("it is told %d times", got)
	}
}
