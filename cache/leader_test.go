package cache

import (
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

var errChoked = errors.New("backend closed")

// succeeded has those who wait settle who leads, and returns who does.
func succeeded(t *testing.T, f *Flight) (answers int) {
	t.Helper()
	for answers = 1; ; answers++ {
		select {
		case number := <-f.Vacancy():
			if leads, cause := f.Succeed(number); leads {
				if cause != errChoked {
					t.Errorf("cause %v", cause)
				}
				return answers
			}
		default:
			t.Fatal("nobody may lead")
		}
	}
}

// The first failure is one request's; the second is everybody's.
func TestAFailedLeaderIsSucceededOnce(t *testing.T) {
	s, _ := newStore(t, MinMaxBytes)
	f := lead(t, s, get("/"))
	reqs := []*Request{get("/"), get("/"), get("/")}
	for _, req := range reqs {
		wait(t, s, req)
	}
	f.GiveUp(errChoked)
	select {
	case <-f.Decided():
		t.Fatal("decided")
	default:
	}
	late := get("/")
	if wait(t, s, late) != f {
		t.Fatal("one who comes waits for another")
	}
	succeeded(t, f)
	if f.Waiting() != 3 {
		t.Errorf("%d wait", f.Waiting())
	}
	f.GiveUp(errChoked)
	for range 3 {
		<-f.Decided()
		if _, _, err := f.Take(late); err != errChoked {
			t.Errorf("%v", err)
		}
	}
	lead(t, s, get("/")).GiveUp(errChoked) // nobody waits
	wantNothingLeft(t, s)
}

func TestWhoSucceedsAnswersAll(t *testing.T) {
	s, _ := newStore(t, MinMaxBytes)
	f := lead(t, s, get("/"))
	waiter, next := get("/"), get("/")
	wait(t, s, waiter)
	wait(t, s, next)
	f.GiveUp(errChoked)
	succeeded(t, f)
	put(t, s, next, answer(200, fresh...), "page")
	f.Answer(s.Lookup(get("/"), &Policy{}).Entry)
	if l, _, err := f.Take(waiter); err != nil || l.Entry == nil || string(l.Entry.Body) != "page" {
		t.Errorf("%+v, %v", l, err)
	}
	wantNothingLeft(t, s)
}

// Each of those who wait has the same chance: who comes first may be of the one who has the leader fail.
func TestAttackTheSecondRequestIsNotTheNextLeader(t *testing.T) {
	s, _ := newStore(t, MinMaxBytes)
	first := 0
	for range 300 {
		f := lead(t, s, get("/"))
		for range 10 {
			wait(t, s, get("/"))
		}
		f.GiveUp(errChoked)
		if succeeded(t, f) == 1 {
			first++
		}
		f.Release(false)
	}
	if first > 100 {
		t.Errorf("who is asked first leads in %d of 300 cases, of ten who wait", first)
	}
}

// All who might succeed may leave before.
func TestAVacantFlightThatNobodyWaitsForIsNone(t *testing.T) {
	s, _ := newStore(t, MinMaxBytes)
	f := lead(t, s, get("/"))
	wait(t, s, get("/"))
	f.GiveUp(errChoked)
	f.Leave()
	wantNothingLeft(t, s)
	lead(t, s, get("/")).Abandon()
	wantNothingLeft(t, s)
}

// The first answer is everybody's, and a leader who fails or leaves beside another ends nothing.
func TestASlowLeaderIsNotWaitedForByAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newStore(t, MinMaxBytes)
		f := lead(t, s, get("/"))
		waiter := get("/")
		wait(t, s, waiter)
		if f.Beside() || f.Due() != defaultPatience {
			t.Errorf("due in %v", f.Due())
		}
		time.Sleep(defaultPatience)
		if g := lead(t, s, get("/")); g != f {
			t.Fatal("leads another flight")
		}
		wait(t, s, get("/")) // one at a time
		time.Sleep(2*defaultPatience - time.Second)
		if f.Beside() {
			t.Error("a third one is sent too early")
		}
		time.Sleep(time.Second)
		if !f.Beside() || f.Beside() {
			t.Error("not one more")
		}
		f.Abandon()         // its client has left
		f.GiveUp(errChoked) // and so has failed another
		select {
		case <-f.Decided():
			t.Fatal("decided while one leads")
		default:
		}
		put(t, s, waiter, answer(200, fresh...), "page")
		f.Answer(s.Lookup(get("/"), &Policy{}).Entry)
		if l, _, err := f.Take(waiter); err != nil || l.Entry == nil {
			t.Errorf("%+v, %v", l, err)
		}
		wantNothingLeft(t, s)
	})
}

// What a leader shares after another did is a fill of its own, whose end is not the flight's.
func TestASecondAnswerOfAFlightEndsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newStore(t, MinMaxBytes)
		slow, quick := get("/"), get("/")
		f := lead(t, s, slow)
		time.Sleep(defaultPatience)
		lead(t, s, quick)
		src, other := newScript(), newScript()
		fill := filling(t, s, quick, -1, src)
		r := fill.Reader()
		f.Share(fill)
		late := filling(t, s, slow, 4, other)
		l := late.Reader()
		f.Share(late)
		other.say(whole("late")...)
		if got, err := io.ReadAll(l); string(got) != "late" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		l.Close()
		wait(t, s, get("/")).Leave() // it can still be joined
		src.say(whole("page")...)
		if got, err := io.ReadAll(r); string(got) != "page" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		r.Close()
		src.want(t)
		other.want(t)
		wantNothingLeft(t, s)
	})
}

// A body that does not get on is joined by nobody, and a new request leads a flight of its own. Nor does it go on for nobody.
func TestAttackASilentBodyIsNotJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newStore(t, MinMaxBytes)
		req := get("/")
		f := lead(t, s, req)
		src := newScript()
		fill := filling(t, s, req, 10, src)
		r := fill.Reader()
		f.Share(fill)
		src.say(step{data: "123456"})
		buffer := make([]byte, 10)
		if n, err := r.Read(buffer); n != 6 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		read := make(chan error)
		go func() {
			_, err := r.Read(buffer)
			read <- err
		}()
		synctest.Wait()
		wait(t, s, get("/")).Leave() // it may yet come
		time.Sleep(defaultPatience / 2)
		second := lead(t, s, get("/"))
		if second == f {
			t.Fatal("the same flight")
		}
		if wait(t, s, get("/")) != second {
			t.Error("one who comes behind waits for another")
		}
		second.Leave()
		r.Leave() // more than half is there, so it goes on for nobody
		synctest.Wait()
		if ended, _ := fill.Outcome(); ended {
			t.Error("it ends at once")
		}
		time.Sleep(defaultPatience)
		if err := <-read; err != errLeft {
			t.Errorf("%v", err)
		}
		if ended, err := fill.Outcome(); !ended || err != errCut {
			t.Errorf("%v, %v", ended, err)
		}
		r.Close()
		second.Abandon()
		src.want(t)
		wantNothingLeft(t, s)
	})
}

// One that gets on is read to its end for nobody.
func TestABodyThatGetsOnIsStoredAlthoughNobodyReadsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newStore(t, MinMaxBytes)
		req := get("/")
		f := lead(t, s, req)
		src := newScript()
		fill := filling(t, s, req, 10, src)
		r := fill.Reader()
		f.Share(fill)
		src.say(step{data: "12345"})
		if _, err := io.ReadFull(r, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		r.Close()
		for range 5 {
			time.Sleep(defaultPatience/2 - time.Second)
			src.say(step{data: "x"})
		}
		synctest.Wait()
		if ended, err := fill.Outcome(); !ended || err != nil {
			t.Errorf("%v, %v", ended, err)
		}
		src.want(t)
		wantHit(t, s, get("/"), "12345xxxxx")
		wantNothingLeft(t, s)
	})
}

// Who comes too late for a body that was cut joins anew, and does not go on his own with all others.
func TestWaitersForABrokenBodyJoinAgain(t *testing.T) {
	s, _ := newStore(t, MinMaxBytes)
	leader, waiter := get("/"), get("/")
	f := lead(t, s, leader)
	wait(t, s, waiter)
	src := newScript().say(step{err: io.ErrUnexpectedEOF})
	fill := filling(t, s, leader, 10, src)
	r := fill.Reader()
	f.Share(fill)
	if _, err := r.Read(make([]byte, 10)); err != io.ErrUnexpectedEOF {
		t.Fatal(err)
	}
	r.Close()
	if l, body, err := f.Take(waiter); err != ErrAgain || l.Entry != nil || body != nil {
		t.Errorf("%+v, %v, %v", l, body, err)
	}
	src.want(t)
	wantNothingLeft(t, s)
}
