package cache

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// loggedStore opens a store with a log.
func loggedStore(t testing.TB) (*Store, *bytes.Buffer) {
	t.Helper()
	log := &bytes.Buffer{}
	s, err := New(Options{MaxBytes: MinMaxBytes, Now: (&clock{t: epoch}).now, Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, log
}

// read reads all of r in its own goroutine and returns a channel for what it got.
func read(r *Reader) <-chan string {
	out := make(chan string, 1)
	go func() {
		defer r.Close()
		got, err := io.ReadAll(r)
		if err != nil {
			got = append(got, " "+err.Error()...)
		}
		out <- string(got)
	}()
	return out
}

// wantEnded fails the test unless the channel has a value by the time that nobody can move any more.
func wantEnded(t testing.TB, what string, c <-chan string) string {
	t.Helper()
	synctest.Wait()
	select {
	case got := <-c:
		return got
	default:
		t.Fatalf("%s waits for ever", what)
		return ""
	}
}

// Nobody's request is above the goroutines that read for nobody in particular: a panic there would end the process.
func TestAPanicOfASourceEndsItsFillAlone(t *testing.T) {
	for name, begin := range map[string]func(*Fill){
		"read to the end for others": (*Fill).Finish,
		"gathered":                   func(f *Fill) { go f.Gather(100, time.Second) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, log := loggedStore(t)
				src := newScript().say(step{data: "be"})
				f := filling(t, s, get("/"), 100, src)
				r := f.Reader()
				begin(f)
				synctest.Wait()
				other := read(r)
				src.say(step{panic: true})
				if got := wantEnded(t, "a reader", other); !strings.Contains(got, "panic") {
					t.Errorf("a reader got %q", got)
				}
				if ended, err := f.Outcome(); !ended || err == nil || Refused(err) != "" {
					t.Errorf("%v, %v", ended, err)
				}
				if text := log.String(); !strings.Contains(text, "a bug in a source") || !strings.Contains(text, "goroutine ") {
					t.Errorf("log: %s", text)
				}
				src.want(t)
				wantNothingLeft(t, s)
				wantForward(t, s, get("/"), ForwardURIMiss)
			})
		})
	}
}

// A panic in the goroutine of a request is that one's to recover.
func TestAPanicOfASourceReachesItsReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newStore(t, MinMaxBytes)
		src := newScript()
		f := filling(t, s, get("/"), -1, src)
		first, other := f.Reader(), f.Reader()
		recovered := make(chan string, 1)
		go func() {
			defer func() {
				v, _ := recover().(string)
				first.Close()
				recovered <- v
			}()
			_, _ = first.Read(make([]byte, 10))
		}()
		synctest.Wait()
		got := read(other)
		src.say(step{panic: true})
		if v := wantEnded(t, "who reads", recovered); v != "a bug in a source" {
			t.Errorf("recovered %q", v)
		}
		if got := wantEnded(t, "who reads along", got); !strings.Contains(got, errPanicked.Error()) {
			t.Errorf("%q", got)
		}
		src.want(t)
		wantNothingLeft(t, s)
	})
}

// brittle is a source whose Close panics.
type brittle struct{ *script }

func (b brittle) Close() error {
	_ = b.script.Close()
	panic("a bug in a close")
}

func TestAPanicOfACloseHarmsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, log := loggedStore(t)
		src := brittle{newScript()}
		f := filling(t, s, get("/"), 4, src)
		src.say(whole("page")...)
		if got := wantEnded(t, "the reader", read(f.Reader())); got != "page" {
			t.Errorf("%q", got)
		}
		f = filling(t, s, get("/other"), -1, brittle{newScript()})
		f.Reader().Close()
		if n := strings.Count(log.String(), "a bug in a close"); n != 2 {
			t.Errorf("logged %d times", n)
		}
		wantNothingLeft(t, s)
	})
}

// What is read to its end for nobody in particular, and is endless, ends where it can no longer be stored.
func TestABodyThatOutgrowsIsNotReadForNobody(t *testing.T) {
	for name, joins := range map[string]bool{"nobody reads": false, "somebody does": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, _ := newStore(t, MinMaxBytes)
				src := newScript()
				e := begin(t, s, get("/"), -1, &Policy{MaxBody: 1000}, fresh...)
				f := s.NewFill(e, -1, func() Source { return src })
				r := f.Reader()
				f.Finish()
				r.Close()
				var got <-chan string
				if joins {
					got = read(f.Reader())
				}
				piece := strings.Repeat("x", 999)
				src.say(step{data: piece})
				synctest.Wait()
				if src.isClosed() {
					t.Fatal("it was not read")
				}
				src.say(step{data: piece})
				synctest.Wait()
				if joins {
					if src.isClosed() {
						t.Fatal("it is taken from its reader")
					}
					src.say(step{data: piece}, step{err: io.EOF})
					if got := wantEnded(t, "the reader", got); got != strings.Repeat(piece, 3) {
						t.Errorf("%d bytes", len(got))
					}
				}
				src.want(t)
				wantNothingLeft(t, s)
				wantForward(t, s, get("/"), ForwardURIMiss)
			})
		})
	}
}

// Clients leave a fill one after the other, in two ways: it is noticed while they wait (Leave), or when they are written
// to (Close). The last one ends it, unless half of it is there.
func TestTheLastWhoLeavesEndsAFill(t *testing.T) {
	for _, half := range []bool{false, true} {
		for name, leave := range map[string]func(first, second *Reader){
			"both are seen to leave":             func(first, second *Reader) { first.Leave(); second.Leave() },
			"who does not wait closes":           func(first, second *Reader) { first.Leave(); second.Close() },
			"who does not wait closes first":     func(first, second *Reader) { second.Close(); first.Leave() },
			"who does not wait is seen to leave": func(first, second *Reader) { second.Leave(); first.Leave() },
		} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s, _ := newStore(t, MinMaxBytes)
					src := newScript()
					f := filling(t, s, get("/"), 10, src)
					begun := "1234"
					if half {
						begun += "5"
					}
					src.say(step{data: begun})
					first, second := f.Reader(), f.Reader()
					got := read(first) // which waits for the backend
					synctest.Wait()
					leave(first, second)
					synctest.Wait()
					if half {
						src.say(step{data: "67890"[:10-len(begun)]})
					}
					if got := wantEnded(t, "the first", got); !strings.HasSuffix(got, errLeft.Error()) {
						t.Errorf("the first got %q", got)
					}
					second.Close()
					synctest.Wait()
					src.want(t)
					wantNothingLeft(t, s)
					if half {
						wantHit(t, s, get("/"), "1234567890")
					} else {
						wantForward(t, s, get("/"), ForwardURIMiss)
					}
				})
			})
		}
	}
}

// Who has left and cannot tell yet, because his client takes nothing, does not hold the others of a body that is not kept.
func TestOneWhoHasLeftHoldsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newStore(t, MinMaxBytes)
		src := newScript()
		e := begin(t, s, get("/"), -1, &Policy{MaxBody: 1000}, fresh...)
		f := s.NewFill(e, -1, func() Source { return src })
		stuck, quick := f.Reader(), f.Reader()
		if _, err := io.ReadFull(stuck, make([]byte, 0)); err != nil {
			t.Fatal(err)
		}
		got := read(quick)
		piece := strings.Repeat("x", firstPiece)
		src.say(step{data: piece}, step{data: piece}, step{data: piece}, step{err: io.EOF})
		synctest.Wait()
		select {
		case <-got:
			t.Fatal("a body that is not kept came whole beside a reader that stands")
		default:
		}
		if n := quick.Buffered(); n != 0 {
			t.Errorf("%d bytes are promised to who has to wait for another", n)
		}
		stuck.Leave()
		if got := wantEnded(t, "the quick one", got); got != piece+piece+piece {
			t.Errorf("%d bytes", len(got))
		}
		stuck.Close()
		src.want(t)
		wantNothingLeft(t, s)
	})
}

// Clients who take nothing, or little, of a body that is not kept hold the others for a short time, however many they are.
func TestAttackSlowReadersStopOthers(t *testing.T) {
	for name, pause := range map[string]time.Duration{"they take nothing": time.Hour, "they take one byte after the other": maxHeld / 10} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, _ := newStore(t, MinMaxBytes)
				src := newScript()
				e := begin(t, s, get("/"), -1, &Policy{MaxBody: 1000}, fresh...)
				f := s.NewFill(e, -1, func() Source { return src })
				cut := make(chan error, 100)
				for range cap(cut) {
					r := f.Reader()
					go func() {
						defer r.Close()
						for {
							if _, err := r.Read(make([]byte, 1)); err != nil {
								cut <- err
								return
							}
							time.Sleep(pause)
						}
					}()
					if pause < time.Hour {
						time.Sleep(pause / 100) // each at another place
					}
				}
				piece := strings.Repeat("x", firstPiece)
				for range 10 {
					src.say(step{data: piece})
				}
				src.say(step{err: io.EOF})
				begun := time.Now()
				got := <-read(f.Reader())
				if took := time.Since(begun); got != strings.Repeat(piece, 10) || took > maxHeld {
					t.Errorf("%d bytes in %v", len(got), took)
				}
				for range cap(cut) {
					if err := <-cut; err != ErrSlow {
						t.Errorf("a slow one got %v", err)
					}
				}
				src.want(t)
				wantNothingLeft(t, s)
			})
		})
	}
}

// Who is slower than another, but not for long, is not cut: only the time counts in which somebody waits.
func TestWhoIsSlowNowAndThenIsNotCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newStore(t, MinMaxBytes)
		src := newScript()
		e := begin(t, s, get("/"), -1, &Policy{MaxBody: 1000}, fresh...)
		f := s.NewFill(e, -1, func() Source { return src })
		steady, quick := f.Reader(), f.Reader()
		got := read(quick)
		piece := strings.Repeat("x", firstPiece)
		for range 20 {
			src.say(step{data: piece}, step{data: piece})
			time.Sleep(maxHeld / 30) // the quick one has to wait
			if _, err := io.ReadFull(steady, make([]byte, 2*firstPiece)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute) // both wait for the backend
		}
		src.say(step{err: io.EOF})
		if rest, err := io.ReadAll(steady); err != nil || len(rest) != 0 {
			t.Errorf("%d bytes, %v", len(rest), err)
		}
		if got := wantEnded(t, "the quick one", got); len(got) != 40*firstPiece {
			t.Errorf("%d bytes", len(got))
		}
		steady.Close()
		src.want(t)
		wantNothingLeft(t, s)
	})
}

// Bodies that are not what was announced.
func TestFillsOfBrokenSources(t *testing.T) {
	broken := errors.New("connection reset")
	for _, tt := range []struct {
		name   string
		length int64
		steps  []step
		got    string // by a reader, with its error
		stored bool
	}{
		{"whole", 4, []step{{data: "page"}}, "page", true},
		{"whole, in pieces", 4, []step{{data: "p"}, {data: "ag"}, {}, {data: "e"}}, "page", true},
		{"its end comes along", 4, []step{{data: "page", err: io.EOF}}, "page", true},
		{"empty", 0, []step{{err: io.EOF}}, "", true},
		{"of unknown length", -1, []step{{data: "pa"}, {data: "ge"}, {err: io.EOF}}, "page", true},
		{"of unknown length, its end comes along", -1, []step{{data: "page", err: io.EOF}}, "page", true},
		{"of unknown length, empty", -1, []step{{err: io.EOF}}, "", true},
		{"short", 4, []step{{data: "pag"}, {err: io.EOF}}, "pag unexpected EOF", false},
		{"long", 3, []step{{data: "pag"}, {data: "e"}}, "pag", true}, // who frames the body has to see what follows it
		{"longer than empty", 0, []step{{data: "p"}}, "p the answer is longer than it said", false},
		{"broken", 4, []step{{data: "pa"}, {err: broken}}, "pa connection reset", false},
		{"broken at once", 4, []step{{err: broken}}, " connection reset", false},
		{"broken with its last byte", 4, []step{{data: "page", err: broken}}, "page connection reset", false},
		{"of unknown length, broken", -1, []step{{data: "page"}, {err: broken}}, "page connection reset", false},
		{"of unknown length, cut", -1, []step{{data: "page"}, {err: io.ErrUnexpectedEOF}}, "page unexpected EOF", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, _ := newStore(t, MinMaxBytes)
				src := newScript()
				f := filling(t, s, get("/"), tt.length, src)
				first, second := read(f.Reader()), read(f.Reader())
				src.say(tt.steps...)
				for _, c := range []<-chan string{first, second} {
					if got := wantEnded(t, "a reader", c); got != tt.got {
						t.Errorf("got %q, want %q", got, tt.got)
					}
				}
				if ended, err := f.Outcome(); !ended || (err == nil) != tt.stored {
					t.Errorf("outcome %v, %v", ended, err)
				}
				if body := f.Whole(); tt.stored != (body != nil) || tt.stored && string(body) != tt.got {
					t.Errorf("whole: %q", body)
				}
				if late := f.Reader(); tt.stored != (late != nil) {
					t.Errorf("a late reader: %v", late != nil)
				}
				src.want(t)
				wantNothingLeft(t, s)
				if tt.stored {
					wantHit(t, s, get("/"), tt.got)
				} else {
					wantForward(t, s, get("/"), ForwardURIMiss)
				}
			})
		})
	}
}

// Gather waits for what is about to come, and for nothing else.
func TestGather(t *testing.T) {
	for _, tt := range []struct {
		name   string
		length int64
		at     []step        // what is there
		later  []step        // what comes after
		after  time.Duration // so long
		whole  bool
		took   time.Duration
	}{
		{"at hand", 4, whole("page"), nil, 0, true, 0},
		{"soon", 4, []step{{data: "p"}}, []step{{data: "age"}}, 3 * time.Millisecond, true, 3 * time.Millisecond},
		{"too late", 4, []step{{data: "p"}}, []step{{data: "age"}}, 6 * time.Millisecond, false, 5 * time.Millisecond},
		{"its first byte is waited for", 4, nil, []step{{data: "page"}}, time.Minute, true, time.Minute},
		{"large", 200, []step{{data: strings.Repeat("x", 150)}}, []step{{data: strings.Repeat("x", 50)}}, time.Second, false, 0},
		{"of unknown length, at hand", -1, whole("page"), nil, 0, true, 0},
		{"of unknown length, soon", -1, []step{{data: "pa"}}, whole("ge"), time.Millisecond, false, 0},
		{"of unknown length, nothing there", -1, nil, whole("page"), time.Millisecond, false, 0},
		{"broken", 4, []step{{data: "p"}, {err: io.ErrUnexpectedEOF}}, nil, 0, false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, _ := newStore(t, MinMaxBytes)
				src := newScript().say(tt.at...)
				f := filling(t, s, get("/"), tt.length, src)
				r := f.Reader()
				if tt.later != nil {
					time.AfterFunc(tt.after, func() { src.say(tt.later...) })
				}
				start := time.Now()
				if got := f.Gather(100, 5*time.Millisecond); got != tt.whole || time.Since(start) != tt.took {
					t.Errorf("whole %v after %v; want %v after %v", got, time.Since(start), tt.whole, tt.took)
				}
				if (f.Whole() != nil) != tt.whole {
					t.Errorf("Whole: %q", f.Whole())
				}
				time.Sleep(time.Minute) // what was to come later has come
				wantEnded(t, "the reader", read(r))
				src.want(t)
				wantNothingLeft(t, s)
			})
		})
	}
}

// A pile is many fills that nobody reads.
type pile struct {
	*testing.T
	s       *Store
	readers []*Reader
	sources []*script
}

// one begins a fill for a tenant, if there is room.
func (p *pile) one(tenant string, length int64) bool {
	req := get("/")
	req.Vhost = p.s.Vhost(tenant, "www")
	f := p.s.NewFill(begin(p, p.s, req, length, &Policy{}, fresh...), length, func() Source {
		src := newScript()
		p.sources = append(p.sources, src)
		return src
	})
	if f != nil {
		p.readers = append(p.readers, f.Reader())
	}
	return f != nil
}

// all begins as many as there is room for, and returns what the tenant's hold.
func (p *pile) all(tenant string, length int64) int64 {
	for p.one(tenant, length) {
	}
	return p.s.Vhost(tenant, "www").tenant.filling.Load()
}

func (p *pile) end() {
	for i, r := range p.readers {
		r.Close()
		p.sources[i].want(p)
	}
	if len(p.sources) != len(p.readers) {
		p.Errorf("%d sources for %d fills", len(p.sources), len(p.readers))
	}
	wantNothingLeft(p, p.s)
}

// What all bodies that come may take together is bounded.
func TestFillsAreBoundedTogether(t *testing.T) {
	s, _ := newStore(t, 256<<20)
	p := &pile{T: t, s: s}
	for i := range 1000 {
		p.all(fmt.Sprint(i), []int64{1 << 20, 100_000, 10_000}[i%3])
	}
	if got := s.filling.Load(); got > 32<<20 || got < 31<<20 {
		t.Errorf("%d bytes in all, want an eighth", got)
	}
	for _, length := range []int64{1 << 20, 10_000, -1} {
		if p.one("late", length) {
			t.Errorf("one of length %d is more than the bound", length)
		}
	}
	p.end()
}

// A tenant whose clients take nothing of large answers leaves the other tenants room for theirs.
func TestAttackSlowFillsOfOneTenantLeaveRoomForOthers(t *testing.T) {
	s, _ := newStore(t, 256<<20)
	p := &pile{T: t, s: s}
	if got := p.all("evil", 1<<20); got != 16<<20 {
		t.Errorf("one tenant holds %d bytes, want half", got)
	}
	if p.one("evil", 1) || p.one("evil", -1) {
		t.Error("more than that")
	}
	if got := p.all("shop", 100_000); got < 7<<20 {
		t.Errorf("another gets %d bytes, want a quarter", got)
	}
	if got := p.all("accomplice", 10_000); got < ownRoom-10_000 || got > ownRoom {
		t.Errorf("of the rest one gets %d bytes", got)
	}
	for i := range 7 {
		if tenant := fmt.Sprint(i); i%2 == 0 && p.all(tenant, 1<<20) != 1<<20 || i%2 == 1 && p.all(tenant, -1) != 1<<20 {
			t.Errorf("tenant %d does not get its own", i)
		}
	}
	p.end()
}

// An endless source has always more at hand.
type endless struct{ closed atomic.Bool }

func (e *endless) Read(p []byte) (int, error) { return len(p), nil }
func (e *endless) Close() error               { e.closed.Store(true); return nil }
func (e *endless) Buffered() int              { return 1 }
func (e *endless) Cut()                       {}

// Slow clients of answers of all kinds make fills hold no more than they may, and it is all counted.
func TestAttackSlowClientsHoldNoMoreThanTheBound(t *testing.T) {
	s, _ := newStore(t, 256<<20)
	policy := &Policy{MaxBody: 100 << 20} // more than an entry may have
	var fills []*Fill
	var readers []*Reader
	check := func() {
		t.Helper()
		held := int64(0)
		for _, f := range fills {
			held += f.holds()
		}
		if held != s.filling.Load() || held > s.room() {
			t.Fatalf("%d bytes are held, %d are counted, %d are the bound", held, s.filling.Load(), s.room())
		}
	}
	if s.NewFill(begin(t, s, get("/"), 10<<20, policy, fresh...), 10<<20, func() Source { t.Error("asked for"); return nil }) != nil {
		t.Error("a body is collected that cannot be stored")
	}
	refused := 0
	for i := 0; refused < 20; i++ {
		length := []int64{-1, 1 << 20, s.MaxEntry(), -1}[i%4]
		var src Source = &endless{}
		if i%4 == 3 { // it breaks, and its client does not take what has come
			src = newScript().say(step{data: strings.Repeat("x", 1<<20)}, step{err: io.ErrUnexpectedEOF})
		}
		f := s.NewFill(begin(t, s, get("/"), length, policy, fresh...), length, func() Source { return src })
		if f == nil {
			refused++
			continue
		}
		fills = append(fills, f)
		fast, slow := f.Reader(), f.Reader()
		readers = append(readers, fast, slow)
		buffer := make([]byte, 10_000)
		goes := func() bool { // or he would wait for the slow one
			f.mu.Lock()
			defer f.mu.Unlock()
			return fast.at < f.size || f.err != nil || f.mayPull() && f.room() != nil
		}
		for total := 0; total < 3<<20 && goes(); {
			n, err := fast.Read(buffer)
			if check(); err != nil {
				break
			}
			total += n
		}
	}
	if len(fills) < 10 {
		t.Errorf("%d fills", len(fills))
	}
	for _, r := range readers {
		r.Close()
		check()
	}
	wantNothingLeft(t, s)
}
