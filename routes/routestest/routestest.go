// Package routestest is the contract that every routes.Store keeps, as a test.
//
// A store's own test calls TestStore with a function that opens it over an empty
// place, with a second hand that changes documents there as other people do:
// with an editor, with redis-cli. Only the behaviour common to all stores is
// tested here; files and Redis have tests of their own for the rest.
package routestest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/routes"
)

// patience is how long a state is waited for. It is long: a busy machine must
// not fail a test.
const patience = 30 * time.Second

// A Fixture is an open store, and somebody else who writes to the same place.
type Fixture struct {
	Store routes.Store
	// Write sets a document to JSON text, good or bad, without the store.
	Write func(t *testing.T, key routes.Key, text string)
	// Remove removes a document without the store.
	Remove func(t *testing.T, key routes.Key)
}

// TestStore runs the contract. open returns a fixture over a new, empty place
// and cleans it up with t.Cleanup.
func TestStore(t *testing.T, open func(t *testing.T) Fixture) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, f Fixture)
	}{
		{"an empty place is a full batch of nothing", testEmpty},
		{"what is there is loaded, with the tenant's name and the vhost's", testLoad},
		{"watch sees additions, changes and removals by others", testWatch},
		{"a change is live within a second", testLive},
		{"an unknown field is refused by name and keeps the last good form", testUnknownField},
		{"a bad document leaves all others alone", testBadAmongGood},
		{"put and delete come back as changes", testPutDelete},
		{"put keeps every field", testFidelity},
		{"put replaces the document whole", testPutReplaces},
		{"delete of what is not there is ErrNotFound", testDeleteMissing},
		{"where names the place, and nothing for what is not there", testWhere},
		{"edits at the same time all arrive", testConcurrent},
		{"an edit begins with what is there, and loses nobody else's", testEdit},
		{"watch ends with the context", testWatchEnds},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

// Vhost returns the key of a vhost.
func Vhost(name string) routes.Key { return routes.Key{Kind: routes.KindVhost, Name: name} }

// Tenant returns the key of a tenant.
func Tenant(name string) routes.Key { return routes.Key{Kind: routes.KindTenant, Name: name} }

// A Followed is a store that a routes.Follower follows in a test.
type Followed struct {
	*routes.Follower
	t       *testing.T
	changed chan struct{}
	stop    func()
}

// Follow follows a store until the test ends, and waits for its first batch.
// lastGood may be empty.
func Follow(t *testing.T, s routes.Source, lastGood string) *Followed {
	t.Helper()
	f := StartFollow(t, s, lastGood)
	select {
	case <-f.First():
	case <-time.After(patience):
		t.Fatalf("the source yields nothing: %v", s.Up())
	}
	return f
}

// StartFollow is Follow without waiting.
func StartFollow(t *testing.T, s routes.Source, lastGood string) *Followed {
	t.Helper()
	f := &Followed{t: t, changed: make(chan struct{}, 1)}
	var err error
	f.Follower, err = routes.NewFollower(routes.FollowerOptions{
		Source: s, LastGood: lastGood,
		Apply: func(*routes.Table, []routes.Replaced) {
			select {
			case f.changed <- struct{}{}:
			default:
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	f.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("the follower ended with %v", err)
		}
	})
	t.Cleanup(f.stop)
	return f
}

// Stop ends the follower and waits until it has ended. Calling it twice is fine.
func (f *Followed) Stop() { f.stop() }

// Until waits until the table is as asked.
func (f *Followed) Until(what string, ok func(*routes.Table) bool) {
	f.t.Helper()
	deadline := time.After(patience)
	again := time.NewTicker(50 * time.Millisecond) // for what is asked about besides the table
	defer again.Stop()
	for !ok(f.Table()) {
		select {
		case <-f.changed:
		case <-again.C:
		case <-deadline:
			f.t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// UntilBackend waits until a vhost's first backend is url; empty: until the
// vhost is gone.
func (f *Followed) UntilBackend(name, url string) {
	f.t.Helper()
	f.Until(fmt.Sprintf("%s goes to %q", name, url), func(t *routes.Table) bool {
		r := t.Vhost(name)
		if r == nil || r.Vhost == nil {
			return url == ""
		}
		return r.Vhost.Backends[0].URL == url
	})
}

// UntilProblem waits until a vhost has a problem that holds the text.
func (f *Followed) UntilProblem(name, text string) *routes.Route {
	f.t.Helper()
	f.Until(fmt.Sprintf("%s has a problem with %q", name, text), func(t *routes.Table) bool {
		r := t.Vhost(name)
		return r != nil && strings.Contains(r.Problems().Error(), text)
	})
	return f.Table().Vhost(name)
}

// site is the JSON of the simplest vhost.
func site(url string) string { return `{"backends": ["` + url + `"]}` }

func load(t *testing.T, s routes.Store) (routes.Batch, map[routes.Key]routes.Change) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	b, err := s.Load(ctx)
	if err != nil {
		t.Fatal(err)
	}
	out := map[routes.Key]routes.Change{}
	for _, c := range b.Changes {
		out[c.Key] = c
	}
	if len(out) != len(b.Changes) {
		t.Errorf("a document comes twice in one batch: %v", b.Changes)
	}
	return b, out
}

func put(t *testing.T, s routes.Store, doc routes.Document) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Put(ctx, doc); err != nil {
		t.Fatalf("put %s: %v", doc.Key, err)
	}
}

// parse makes a document of JSON text.
func parse(t *testing.T, key routes.Key, text string) routes.Document {
	t.Helper()
	doc := routes.ParseJSON(key, key.String(), []byte(text))
	if err := doc.Problems.Err(); err != nil {
		t.Fatal(err)
	}
	return doc
}

func same(t *testing.T, key routes.Key, got, want any) {
	t.Helper()
	a, errA := json.Marshal(got)
	b, errB := json.Marshal(want)
	if errA != nil || errB != nil || string(a) != string(b) || reflect.ValueOf(got).IsNil() {
		t.Errorf("%s came back as\n%s, want\n%s (%v, %v)", key, a, b, errA, errB)
	}
}
