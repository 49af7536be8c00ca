package cache

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// lead begins a flight for req.
func lead(t testing.TB, s *Store, req *Request) *Flight {
	t.Helper()
	l := s.Lookup(req, &Policy{})
	f, leads := s.Join(req, &l)
	if f == nil || !leads {
		t.Fatalf("does not lead: %v, %v", f, leads)
	}
	return f
}

// wait joins the flight that there is for req.
func wait(t testing.TB, s *Store, req *Request) *Flight {
	t.Helper()
	l := s.Lookup(req, &Policy{})
	f, leads := s.Join(req, &l)
	if f == nil || leads {
		t.Fatalf("does not wait: %v, %v", f, leads)
	}
	return f
}

// What a waiter asks the backend about must have a body: a 304 would make an empty page of it.
func TestWhatAWaiterMayNotHaveIsNoStaleAnswerWithoutABody(t *testing.T) {
	s, clock := newStore(t, MinMaxBytes)
	leader, waiter, late := get("/"), get("/", "Cache-Control", "min-fresh=100"), get("/")
	f := lead(t, s, leader)
	wait(t, s, waiter)
	src := newScript()
	fill := s.NewFill(begin(t, s, leader, 4, &Policy{}, append(fresh, "ETag", `"1"`)...), 4, func() Source { return src })
	r := fill.Reader()
	f.Share(fill)
	wait(t, s, late)
	clock.advance(2 * time.Minute) // meanwhile it is stale
	for _, req := range []*Request{waiter, late} {
		l, body, err := f.Take(req)
		if err != nil || l.Entry != nil || body != nil || !l.MayStore {
			t.Errorf("%+v, %v, %v", l, body, err)
		}
		if l.Stale != nil {
			t.Errorf("stale answer with a body of %d bytes", len(l.Stale.Body))
		}
	}
	src.say(whole("page")...)
	if got, err := io.ReadAll(r); string(got) != "page" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	r.Close()
	src.want(t)
	wantNothingLeft(t, s)
}

// variantsOf has a leader get an answer that varies by language while requests for the given languages wait for it, and
// returns these.
func variantsOf(t *testing.T, s *Store, languages ...string) (again []*Request) {
	t.Helper()
	leader := get("/", "Accept-Language", "de")
	f := lead(t, s, leader)
	for _, language := range languages {
		req := get("/", "Accept-Language", language)
		wait(t, s, req)
		again = append(again, req)
	}
	e := begin(t, s, leader, 2, &Policy{}, append(fresh, "Vary", "Accept-Language")...)
	fill := s.NewFill(e, 2, func() Source { return newScript().say(whole("de")...) })
	r := fill.Reader()
	f.Share(fill)
	for _, req := range again {
		if l, body, err := f.Take(req); err != ErrAgain || l.Entry != nil || body != nil {
			t.Fatalf("one that wants another language: %+v, %v, %v", l, body, err)
		}
	}
	if got, err := io.ReadAll(r); string(got) != "de" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
	r.Close()
	return again
}

// rejoin joins again.
func rejoin(s *Store, req *Request) (l Lookup, f *Flight, leads bool) {
	l.MayStore = true
	f, leads = s.Join(req, &l)
	return l, f, leads
}

// Who waited for what turns out to be another variant waits for his own, once.
func TestWaitersForAnotherVariantJoinAgain(t *testing.T) {
	t.Run("each variant is one request", func(t *testing.T) {
		s, _ := newStore(t, MinMaxBytes)
		reqs := variantsOf(t, s, "fr", "en", "fr", "FR", "fr")
		_, fr, leads := rejoin(s, reqs[0])
		_, en, other := rejoin(s, reqs[1])
		if !leads || !other {
			t.Fatalf("the first of each does not lead: %v, %v", leads, other)
		}
		for _, req := range reqs[2:4] {
			if _, f, leads := rejoin(s, req); f != fr || leads {
				t.Errorf("%v, leads %v", f, leads)
			}
		}
		late := get("/", "Accept-Language", "fr") // what is stored says by now that it varies
		if f := wait(t, s, late); f != fr {
			t.Error("one who comes behind waits for another variant")
		} else {
			f.Leave()
		}
		lead(t, s, get("/", "Accept-Language", "it")).Abandon() // waits for none
		put(t, s, reqs[0], answer(200, append(fresh, "Vary", "Accept-Language")...), "fr")
		fr.Answer(s.Lookup(get("/", "Accept-Language", "fr"), &Policy{}).Entry)
		for _, req := range reqs[2:4] {
			if l, body, err := fr.Take(req); err != nil || body != nil || l.Entry == nil || string(l.Entry.Body) != "fr" {
				t.Errorf("%+v, %v, %v", l, body, err)
			}
		}
		if l, f, leads := rejoin(s, reqs[4]); f != nil || leads || l.Entry == nil || string(l.Entry.Body) != "fr" {
			t.Errorf("one who comes later: %+v, %v, %v", l, f, leads)
		}
		en.Abandon()
		wantNothingLeft(t, s)
	})
	t.Run("those that cannot share are let go at once", func(t *testing.T) {
		s, _ := newStore(t, MinMaxBytes)
		reqs := variantsOf(t, s, "fr", "fr", "en")
		_, f, _ := rejoin(s, reqs[0])
		rejoin(s, reqs[1])
		f.Release(true)
		if l, body, err := f.Take(reqs[1]); err != nil || body != nil || l.Entry != nil {
			t.Errorf("%+v, %v, %v", l, body, err)
		}
		if _, f, leads := rejoin(s, reqs[2]); f != nil || leads {
			t.Errorf("one that has not joined yet: %v, %v", f, leads)
		}
		wantNothingLeft(t, s)
	})
	t.Run("a backend that varies by something else each time", func(t *testing.T) {
		s, _ := newStore(t, MinMaxBytes)
		reqs := variantsOf(t, s, "fr", "fr")
		reqs[1].Header = head("Accept-Language", "fr", "Foo", "1")
		_, f, _ := rejoin(s, reqs[0])
		rejoin(s, reqs[1])
		resp := answer(200, append(fresh, "Vary", "Accept-Language, Foo")...)
		f.Answer(NewEntry(reqs[0], resp, Decide(reqs[0], resp, &Policy{}), nil, 100, []byte("fr"), ""))
		if l, _, err := f.Take(reqs[1]); err != nil || l.Entry != nil || l.Forward != ForwardVaryMiss {
			t.Errorf("%+v, %v", l, err)
		}
		wantNothingLeft(t, s)
	})
	t.Run("an invalidation parts those before it from those behind", func(t *testing.T) {
		s, _ := newStore(t, MinMaxBytes)
		reqs := variantsOf(t, s, "fr", "fr", "fr")
		_, before, _ := rejoin(s, reqs[0])
		s.Invalidate(reqs[0].Key)
		_, behind, leads := rejoin(s, reqs[1])
		if !leads {
			t.Error("joins a request from before the invalidation")
		}
		if _, f, leads := rejoin(s, reqs[2]); f != behind || leads {
			t.Errorf("%v, leads %v", f, leads)
		} else {
			f.Leave()
		}
		before.Abandon()
		behind.Abandon()
		wantNothingLeft(t, s)
	})
}

// Stale variants of one URL are asked for anew side by side.
func TestStaleVariantsDoNotWaitForEachOther(t *testing.T) {
	s, clock := newStore(t, MinMaxBytes)
	for _, language := range []string{"de", "fr"} {
		req := get("/", "Accept-Language", language)
		fill(t, s, req, answer(200, "Cache-Control", "max-age=10, stale-while-revalidate=10", "Vary", "Accept-Language", "Content-Language", language), language)
	}
	clock.advance(15 * time.Second)
	behind := get("/", "Accept-Language", "fr")
	l := wantHit(t, s, behind, "fr")
	l = Lookup{MayStore: true, Stale: l.Entry, Forward: ForwardStale}
	fr := s.Lead(behind, &l)
	clock.advance(10 * time.Second) // now they serve no more
	de := lead(t, s, get("/", "Accept-Language", "de"))
	for f, languages := range map[*Flight][]string{de: {"de", "de, fr;q=0.5"}, fr: {"fr", "fr, de;q=0.5"}} {
		for _, language := range languages { // what they select is the same
			if got := wait(t, s, get("/", "Accept-Language", language)); got != f {
				t.Errorf("%s waits for another", language)
			} else {
				got.Leave()
			}
		}
	}
	de.Abandon()
	fr.Abandon()
	wantNothingLeft(t, s)
}

// A request that is not let in is not waited for either.
func TestARequestThatCannotWaitIsNotExpected(t *testing.T) {
	for name, other := range map[string]func(*Store, *Flight) *Request{
		"a collision of hashes": func(*Store, *Flight) *Request { return get("/other") },
		"too many wait": func(_ *Store, f *Flight) *Request {
			f.waiting.Add(maxWaiting)
			return get("/")
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newStore(t, MinMaxBytes)
			s.hash = func([]byte) uint64 { return 42 }
			leader := get("/")
			f := lead(t, s, leader)
			src := newScript()
			fill := filling(t, s, leader, -1, src)
			r := fill.Reader()
			f.Share(fill)
			req := other(s, f)
			l := s.Lookup(req, &Policy{})
			if f, leads := s.Join(req, &l); f != nil || leads {
				t.Fatalf("joins: %v, %v", f, leads)
			}
			r.Close()
			src.want(t) // nobody wants the body
			wantNothingLeft(t, s)
		})
	}
}

// A flight that has ended between a request's Lookup and its Join has left what the request wants.
func TestWhatAFlightHasBroughtIsNotAskedForAgain(t *testing.T) {
	s, _ := newStore(t, MinMaxBytes)
	leader, late := get("/"), get("/")
	l := s.Lookup(late, &Policy{})
	f := lead(t, s, leader)
	fill := filling(t, s, leader, 4, newScript().say(whole("page")...))
	r := fill.Reader()
	f.Share(fill)
	if got, err := io.ReadAll(r); string(got) != "page" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
	r.Close()
	// Its end has three steps: stored, closed, taken away. This is between the last two.
	shard := f.shard()
	shard.by[f.hash] = f
	late.seq = s.seq.Load() // one is taken before what it is for is found: late may have looked between
	if got, leads := s.Join(late, &l); got != nil || leads || l.Entry == nil || string(l.Entry.Body) != "page" {
		t.Errorf("flight %v, leads %v, %+v", got, leads, l)
	}
	delete(shard.by, f.hash)
	wantNothingLeft(t, s)
}

// Who accepts nothing that others get does not wait for it (RFC 9111 §5.2.1.1, §5.2.1.4).
func TestAReloadDoesNotWait(t *testing.T) {
	for _, field := range []string{"no-cache", "max-age=0"} {
		s, _ := newStore(t, MinMaxBytes)
		f := lead(t, s, get("/"))
		req := get("/", "Cache-Control", field)
		l := s.Lookup(req, &Policy{})
		if got, leads := s.Join(req, &l); got != nil || leads {
			t.Errorf("%s: %v, %v", field, got, leads)
		}
		f.Abandon()
		l = s.Lookup(req, &Policy{})
		if got, leads := s.Join(req, &l); got == nil || !leads {
			t.Errorf("%s does not lead others: %v, %v", field, got, leads)
		} else {
			got.Abandon()
		}
		wantNothingLeft(t, s)
	}
}

// What others may do with an entry beside its fill does not race with its being stored.
func TestAnEntryIsRefreshedBesideItsFill(t *testing.T) {
	for range 50 {
		s, clock := newStore(t, MinMaxBytes)
		leader := get("/")
		f := lead(t, s, leader)
		src := newScript()
		e := begin(t, s, leader, -1, &Policy{}, "Cache-Control", "max-age=10, stale-while-revalidate=60")
		fill := s.NewFill(e, -1, func() Source { return src })
		r := fill.Reader()
		f.Share(fill)
		req := get("/")
		wait(t, s, req)
		clock.advance(20 * time.Second)
		done := make(chan struct{})
		go func() {
			defer close(done)
			if l, body, err := f.Take(req); err != nil || l.Entry == nil || l.Detail != "stale-while-revalidate" || l.Refresh {
				t.Errorf("%+v, %v", l, err)
			} else {
				body.Close()
			}
		}()
		src.say(whole("page")...)
		if _, err := io.ReadAll(r); err != nil {
			t.Error(err)
		}
		<-done
		r.Close()
		src.want(t)
		wantNothingLeft(t, s)
		s.Close()
	}
}

// Hit-for-miss marks.
func TestMarks(t *testing.T) {
	joins := func(s *Store) bool {
		req := get("/")
		l := s.Lookup(req, &Policy{})
		f, leads := s.Join(req, &l)
		if leads {
			f.Abandon()
		}
		return leads
	}
	t.Run("they end by themselves", func(t *testing.T) {
		s, clock := newStore(t, MinMaxBytes)
		lead(t, s, get("/")).Release(true)
		for range 2 {
			if joins(s) {
				t.Error("a marked key has a flight")
			}
			clock.advance(markTime - time.Second)
		}
		clock.advance(time.Second)
		if !joins(s) {
			t.Error("the mark outlives its time")
		}
	})
	t.Run("not every release marks", func(t *testing.T) {
		s, _ := newStore(t, MinMaxBytes)
		lead(t, s, get("/")).Release(false)
		lead(t, s, get("/")).Fail(io.ErrUnexpectedEOF)
		lead(t, s, get("/")).Abandon()
		if !joins(s) {
			t.Error("marked")
		}
	})
	t.Run("what can be shared lifts it", func(t *testing.T) {
		s, clock := newStore(t, MinMaxBytes)
		lead(t, s, get("/")).Release(true)
		if !put(t, s, get("/"), answer(200, fresh...), "page") {
			t.Fatal("refused")
		}
		clock.advance(61 * time.Second)
		if !joins(s) {
			t.Error("still marked")
		}
	})
	// RFC 9111 §4.3: such an answer is kept to be validated. Whoever waits for one waits in vain.
	for _, control := range []string{"max-age=0", "no-cache"} {
		t.Run("what is stored and cannot be shared does not: "+control, func(t *testing.T) {
			s, _ := newStore(t, MinMaxBytes)
			req := get("/")
			f := lead(t, s, req)
			e := begin(t, s, req, 4, &Policy{}, "Cache-Control", control, "ETag", `"1"`)
			fill := s.NewFill(e, 4, func() Source { return newScript().say(whole("page")...) })
			r := fill.Reader()
			f.Release(true) // as edge does: before the body comes
			if _, err := io.ReadAll(r); err != nil {
				t.Fatal(err)
			}
			r.Close()
			if ended, err := fill.Outcome(); !ended || err != nil {
				t.Fatalf("%v, %v", ended, err)
			}
			if joins(s) {
				t.Error("the mark is lifted")
			}
		})
	}
	t.Run("no memory for a body does not", func(t *testing.T) {
		s, _ := newStore(t, 8<<20)
		req := get("/")
		f := lead(t, s, req)
		src := newScript()
		fill := filling(t, s, req, -1, src)
		r := fill.Reader()
		f.Share(fill)
		others := &pile{T: t, s: s}
		for i := range 100 {
			others.all(fmt.Sprint(i), 10_000)
		}
		body := strings.Repeat("x", 2*firstPiece)
		src.say(whole(body)...)
		if got, err := io.ReadAll(r); err != nil || string(got) != body {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		if _, err := fill.Outcome(); Refused(err) != "busy" {
			t.Errorf("outcome %v", err)
		}
		r.Close()
		if !joins(s) {
			t.Error("marked")
		}
		src.want(t)
		others.end()
	})
	t.Run("a body that is too large marks", func(t *testing.T) {
		s, _ := newStore(t, MinMaxBytes)
		req := get("/")
		f := lead(t, s, req)
		src := newScript()
		e := begin(t, s, req, -1, &Policy{MaxBody: 10}, fresh...)
		fill := s.NewFill(e, -1, func() Source { return src.say(whole("more than ten bytes")...) })
		r := fill.Reader()
		f.Share(fill)
		if got, err := io.ReadAll(r); err != nil || string(got) != "more than ten bytes" {
			t.Fatalf("%q, %v", got, err)
		}
		r.Close()
		if joins(s) {
			t.Error("not marked")
		}
		src.want(t)
		wantNothingLeft(t, s)
	})
}

// RFC 5861 §3: how often what is stale is asked for anew.
func TestRefreshesPause(t *testing.T) {
	s, clock := newStore(t, MinMaxBytes)
	fill(t, s, get("/"), answer(200, "Cache-Control", "max-age=10, stale-while-revalidate=60, stale-if-error=120"), "page")
	clock.advance(20 * time.Second)
	asks := func() bool { return wantHit(t, s, get("/"), "page").Refresh }
	for i, want := range []bool{true, false, false} {
		if asks() != want {
			t.Errorf("at once, %d: %v", i, !want)
		}
	}
	clock.advance(refreshPause - time.Nanosecond)
	if asks() {
		t.Error("within the pause")
	}
	clock.advance(time.Nanosecond)
	if !asks() || asks() {
		t.Error("after the pause: not once")
	}
	// Past that window it serves once the backend has failed, and is asked for as rarely.
	clock.advance(60 * time.Second)
	l := wantForward(t, s, get("/"), ForwardStale)
	if !s.ServesOnError(&l) {
		t.Fatal("does not serve")
	}
	for i, want := range []bool{true, false} {
		if l := wantHit(t, s, get("/"), "page"); l.Refresh != want || l.Detail != "stale-if-error" {
			t.Errorf("after a failure, %d: %+v", i, l)
		}
	}
	clock.advance(failurePause)
	wantForward(t, s, get("/"), ForwardStale) // it is asked again, and waited for
}

// The request behind a stale hit leads those who come when that serves no more, and waits for nobody.
func TestLead(t *testing.T) {
	s, _ := newStore(t, MinMaxBytes)
	behind := func() (*Flight, Lookup) {
		req := get("/")
		l := Lookup{MayStore: true, Forward: ForwardStale}
		s.Lookup(req, &Policy{})
		return s.Lead(req, &l), l
	}
	f, _ := behind()
	if f == nil {
		t.Fatal("does not lead")
	}
	if other, _ := behind(); other != nil {
		t.Error("a second one leads beside the first")
	}
	if n := f.Waiting(); n != 0 {
		t.Errorf("%d wait", n)
	}
	wait(t, s, get("/")).Leave()
	f.Abandon()
	// What has come since is not asked for again.
	req, l := get("/"), Lookup{MayStore: true, Forward: ForwardStale}
	s.Lookup(req, &Policy{})
	later := get("/")
	s.Lookup(later, &Policy{})
	put(t, s, later, answer(200, fresh...), "page")
	if f := s.Lead(req, &l); f != nil || l.Entry == nil {
		t.Errorf("%v, %+v", f, l)
	}
	wantNothingLeft(t, s)
}

// An invalidation parts those who come from those who wait already.
func TestNobodyJoinsAFlightFromBeforeAnInvalidation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newStore(t, MinMaxBytes)
		first := get("/")
		f := lead(t, s, first)
		waiter := get("/")
		wait(t, s, waiter)
		s.Invalidate(first.Key)
		second := get("/")
		g := lead(t, s, second)
		src := newScript()
		fill := filling(t, s, first, 3, src)
		fill.whole.seq = f.seq // it was looked up before the invalidation
		r := fill.Reader()
		f.Share(fill)
		_, body, err := f.Take(waiter)
		if err != nil || body == nil {
			t.Fatalf("%v, %v", body, err)
		}
		src.say(whole("old")...)
		for _, r := range []*Reader{r, body} {
			if got, err := io.ReadAll(r); string(got) != "old" || err != nil {
				t.Errorf("%q, %v", got, err)
			}
			r.Close()
		}
		if _, err := fill.Outcome(); err != errSuperseded {
			t.Errorf("outcome %v", err)
		}
		wait(t, s, get("/")).Leave() // the second flight is still there
		g.Abandon()
		src.want(t)
		wantNothingLeft(t, s)
	})
}
