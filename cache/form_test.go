package cache

import (
	"testing"

	"gatehouse/internal/edgetest"
)

// formed stores /a of a vhost, and a form of it.
func formed(t *testing.T, s *Store, body string) *Entry {
	t.Helper()
	req := pages["a"].asked(s)
	s.Lookup(req, &Policy{})
	if !put(t, s, req, answer(200, "Cache-Control", "max-age=60", "Surrogate-Key", "red"), body) {
		t.Fatal("not stored")
	}
	e := wantHit(t, s, pages["a"].asked(s), body).Entry
	if !s.WantsForm(e, 1) {
		t.Fatal("it has a form already")
	}
	if err := s.PutForm(e, 1, nil, 100, []byte("form of "+body)); err != nil {
		t.Fatal(err)
	}
	return e
}

func TestAFormIsOfOneEntryAlone(t *testing.T) {
	s, _ := newStore(t, MinMaxBytes)
	first := formed(t, s, "first")
	if form := s.Form(first, 1); form == nil || string(form.Body) != "form of first" {
		t.Fatal("no form")
	}
	if s.Form(first, 2) != nil {
		t.Error("a form of another kind")
	}
	req := pages["a"].asked(s)
	s.Lookup(req, &Policy{})
	put(t, s, req, answer(200, fresh...), "second")
	second := wantHit(t, s, pages["a"].asked(s), "second").Entry
	if s.Form(second, 1) != nil {
		t.Error("the form of what was stored before")
	}
	if err := s.PutForm(first, 1, nil, 100, []byte("late")); Refused(err) != "superseded" {
		t.Errorf("a form of what is gone: %v", err)
	}
	if err := s.PutForm(second, 1, nil, 100, []byte("form of second")); err != nil {
		t.Fatal(err)
	}
	if form := s.Form(second, 1); form == nil || string(form.Body) != "form of second" {
		t.Error("no form of the second")
	}
	if s.Form(first, 1) != nil {
		t.Error("the first has the form of the second")
	}
}

func TestAFormLeavesBehindItsEntry(t *testing.T) {
	for name, tt := range map[string]struct {
		leave func(*Store, *Entry)
		left  int64 // objects
	}{
		"evicted":  {func(s *Store, e *Entry) { s.drop(s.stored(s.hash(e.key), e.key)) }, 0},
		"replaced": {func(s *Store, e *Entry) { putAgain(t, s) }, 1},
		"invalidated and replaced": {func(s *Store, e *Entry) {
			s.Invalidate(e.key)
			putAgain(t, s)
		}, 1},
		"purged": {func(s *Store, e *Entry) { s.Purge(Purge{Tenant: "shop", Vhost: "shop", Kind: PurgeTag, Arg: "red"}) }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newStore(t, 8<<20)
			e := formed(t, s, "page")
			if n := s.Stats().Objects; n != 2 {
				t.Fatalf("%d objects", n)
			}
			tt.leave(s, e)
			edgetest.WaitFor(t, "the form to leave", func() bool { return s.Stats().Objects == tt.left })
			wantLedgerExact(t, s)
		})
	}
}

// putAgain stores another /a.
func putAgain(t *testing.T, s *Store) {
	t.Helper()
	req := pages["a"].asked(s)
	s.Lookup(req, &Policy{})
	put(t, s, req, answer(200, fresh...), "again")
}

// Another variant beside it, or a purge of something else, takes no form away.
func TestAFormStaysWithItsEntry(t *testing.T) {
	s, _ := newStore(t, 8<<20)
	ask := func(foo string) *Request {
		req := pages["a"].asked(s)
		req.Header = head("Foo", foo)
		return req
	}
	varying := answer(200, "Cache-Control", "max-age=60", "Vary", "Foo")
	fill(t, s, ask("1"), varying, "1")
	e := wantHit(t, s, ask("1"), "1").Entry
	if !s.WantsForm(e, 1) || s.PutForm(e, 1, nil, 100, []byte("form of 1")) != nil {
		t.Fatal("no form")
	}
	gone := pages["alias"]
	gone.store(t, s)
	fill(t, s, ask("2"), varying, "2")
	s.dropForms(orphan{e.key, e.variant(), e.id}) // as the lurker does when the object of before has left
	s.Purge(Purge{Tenant: "shop", Vhost: "shop", Kind: PurgeHost, Arg: "shop.test"})
	edgetest.WaitFor(t, "the look through the store", func() bool { return s.Stats().Entries == 3 })
	if form := s.Form(wantHit(t, s, ask("1"), "1").Entry, 1); form == nil || string(form.Body) != "form of 1" {
		t.Error("its form has left")
	}
}
