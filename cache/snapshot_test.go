package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// texts are Templates for templates that are a string, or none.
type texts struct{ version string }

func (t texts) Version() string { return t.version }

func (texts) Append(dst []byte, template any) ([]byte, error) {
	switch template := template.(type) {
	case nil:
		return dst, nil
	case string:
		return append(append(dst, '='), template...), nil
	}
	return nil, errors.New("no text")
}

func (texts) Read(b []byte) (template any, size int, err error) {
	switch {
	case len(b) == 0:
		return nil, 100, nil // what the kit says of none
	case b[0] != '=':
		return nil, 0, errors.New("no text")
	}
	return string(b[1:]), 100, nil
}

// snapshot takes one of s.
func snapshot(t testing.TB, s *Store, o SnapshotOptions) ([]byte, Snapshotted) {
	t.Helper()
	o.Templates = texts{"1"}
	var b bytes.Buffer
	done, err := s.Snapshot(context.Background(), &b, o)
	if err != nil {
		t.Fatal(err)
	}
	if done.Bytes != int64(b.Len()) {
		t.Errorf("says that it wrote %d bytes, wrote %d", done.Bytes, b.Len())
	}
	return b.Bytes(), done
}

// restore restores b in s, for all vhosts.
func restore(t testing.TB, s *Store, b []byte) (Restored, error) {
	t.Helper()
	saved, err := OpenSnapshot(bytes.NewReader(b), texts{"1"})
	if err != nil {
		return Restored{}, err
	}
	return s.Restore(context.Background(), saved, s.Vhost)
}

// mustRestore is restore of a good snapshot.
func mustRestore(t testing.TB, s *Store, b []byte) Restored {
	t.Helper()
	if err := CheckSnapshot(bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	done, err := restore(t, s, b)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// fillAll stores one of everything, and returns a request for each.
func fillAll(t testing.TB, s *Store) []*Request {
	t.Helper()
	var requests []*Request
	store := func(req *Request, resp *Response, template any, body string) {
		t.Helper()
		p := &Policy{TTL: time.Hour, StaleIfError: time.Minute}
		s.Lookup(req, p)
		d := Decide(req, resp, p)
		if err := s.Put(NewEntry(req, resp, d, template, 100, append(make([]byte, 0, len(body)), body...), "digest")); err != nil {
			t.Fatalf("%q: %v %s", body, err, d.Reason)
		}
		requests = append(requests, req)
	}
	binary := string([]byte{0, 1, 0xff, '\r', '\n', 0x80})
	store(get("/plain"), answer(200, "Date", epochDate, "Cache-Control", "max-age=600, stale-while-revalidate=30, stale-if-error=90, immutable",
		"Etag", `"v1"`, "Last-Modified", "Tue, 03 Mar 2026 05:06:07 GMT", "Age", "7"), "head: a\r\n", "hello")
	store(get("/binary"), answer(404, "Etag", `W/"weak"`, "Cache-Control", "max-age=60"), binary, binary)
	store(get("/empty"), answer(204, "Cache-Control", "s-maxage=60"), nil, "")
	store(get("/validated"), answer(200, "Cache-Control", "no-cache, max-age=60", "Etag", "malformed"), nil, "ask")
	store(get("/authorized", "Authorization", "Basic x"), answer(200, "Cache-Control", "public, max-age=60"), nil, "for all")
	store(get("/ttl"), answer(301), nil, "moved")
	for _, language := range []string{"de", "en;q=0.5, fr", ""} {
		req := get("/vary", "Accept-Language", language, "X-Tone", "a, b")
		if language == "" {
			req = get("/vary")
		}
		store(req, answer(200, "Vary", "Accept-Language, X-Tone", "Content-Language", "de", "Cache-Control", "max-age=60"), nil, "in "+language)
	}
	return requests
}

// stripped is e without what does not outlast a process.
func stripped(e *Entry) Entry {
	out := *e
	out.vhost, out.id, out.seq, out.most, out.length, out.checked = nil, 0, 0, 0, 0, 0
	return out
}

func TestSnapshotRoundTrip(t *testing.T) {
	from, clock := newStore(t, 8<<20)
	requests := fillAll(t, from)
	clock.advance(5 * time.Second)
	from.Lookup(requests[0], &Policy{})
	b, done := snapshot(t, from, SnapshotOptions{Position: "1722-3"})
	if done.Entries != int64(len(requests)) || done.Left != 0 || done.Useless != 0 {
		t.Errorf("%+v", done)
	}
	to, later := newStore(t, 8<<20)
	later.t = clock.t.Add(3 * time.Second)
	saved, err := OpenSnapshot(bytes.NewReader(b), texts{"1"})
	if err != nil || saved.Position != "1722-3" || !saved.Taken.Equal(clock.t) {
		t.Fatalf("%+v %v", saved, err)
	}
	mustRestore(t, to, b)
	if a, b := from.Stats(), to.Stats(); a.Bytes != b.Bytes || a.Entries != b.Entries || a.Objects != b.Objects {
		t.Errorf("stored %+v, restored %+v", a, b)
	}
	for _, req := range requests {
		hash := to.hash(req.Key)
		was, is := from.stored(from.hash(req.Key), req.Key), to.stored(hash, req.Key)
		if is == nil || len(is.variants) != len(was.variants) || is.uses.Load() != was.uses.Load() || is.vhost != to.Vhost("shop", "www.shop.test") {
			t.Fatalf("%q: %+v, want %+v", req.Key, is, was)
		}
		for i := range was.variants {
			if a, b := stripped(was.variants[i]), stripped(is.variants[i]); !reflect.DeepEqual(a, b) {
				t.Errorf("%q:\n%+v, want\n%+v", req.Key, b, a)
			}
			if e := is.variants[i]; e.Length() != int64(len(e.Body)) {
				t.Errorf("%q: length %d", req.Key, e.Length())
			}
		}
	}
	if l := wantHit(t, to, get("/plain"), "hello"); l.Age != 15*time.Second || l.TTL != 585*time.Second {
		t.Errorf("age %v, ttl %v", l.Age, l.TTL)
	}
	if figures := to.Figures(); len(figures) != 1 || figures[0].Entries != int64(len(requests)) || figures[0].Bytes != to.Stats().Bytes {
		t.Errorf("%+v", figures)
	}
}

// Whoever gives an entry a new field decides here whether a snapshot has it, and if so in appendEntry and readEntry.
func TestSnapshotHasEveryFieldOfAnEntry(t *testing.T) {
	for _, c := range []struct {
		of   any
		know string
	}{
		{Entry{}, "Template Body Status Digest received initialAge lifetime vary etag weak modified date validators terms" +
			// not in it: made anew, of the process or of a moment
			" id formOf key vhost seq most length cost whole tags refreshed failed softened checked formed refused"},
		{terms{}, "authorized noCache immutable whileRevalidate ifError"},
		{validators{}, "tag modified"},
		{varyField{}, "name present value language"},
		{object{}, "key vhost variants cost seq invalid released halvings uses"},
	} {
		var have []string
		for f := range reflect.TypeOf(c.of).Fields() {
			have = append(have, f.Name)
		}
		if want := strings.Fields(c.know); !slices.Equal(have, want) {
			t.Errorf("%T has %v; snapshots know %v", c.of, have, want)
		}
	}
}

func TestSnapshotPrefersWhatIsUsed(t *testing.T) {
	s, _ := newStore(t, 64<<20)
	fillPages(t, s, 100, 10<<10)
	for i := 30; i < 50; i++ {
		s.Lookup(get(fmt.Sprintf("/%d", i)), &Policy{})
	}
	b, done := snapshot(t, s, SnapshotOptions{MaxBytes: 300 << 10})
	if len(b) > 300<<10 || done.Entries < 28 || done.Entries+done.Left != 100 {
		t.Fatalf("%d bytes, %+v", len(b), done)
	}
	to, _ := newStore(t, 64<<20)
	if got := mustRestore(t, to, b); got.Entries != done.Entries {
		t.Errorf("%+v, want %d", got, done.Entries)
	}
	for i := range 100 {
		hot, recent := i >= 30 && i < 50, i >= 100-(int(done.Entries)-20)
		req := get(fmt.Sprintf("/%d", i))
		if o := to.stored(to.hash(req.Key), req.Key); (o != nil) != (hot || recent) || o != nil && (o.uses.Load() > 0) != hot {
			t.Errorf("page %d: %v", i, o)
		}
	}
}

func TestSnapshotEndsWithItsTime(t *testing.T) {
	s, _ := newStore(t, 8<<20)
	fillPages(t, s, 10, 1000)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var b bytes.Buffer
	done, err := s.Snapshot(ctx, &b, SnapshotOptions{Templates: texts{"1"}})
	if err != nil || done.Entries != 0 || done.Left != 10 {
		t.Errorf("%+v %v", done, err)
	}
	if err := CheckSnapshot(&b); err != nil {
		t.Errorf("it is not whole: %v", err)
	}
}

// full fails after so many bytes.
type full struct{ room int }

var errFull = errors.New("full")

func (f *full) Write(b []byte) (int, error) {
	if f.room -= len(b); f.room < 0 {
		return 0, errFull
	}
	return len(b), nil
}

func TestSnapshotToAFullDiskIsAnError(t *testing.T) {
	s, _ := newStore(t, 8<<20)
	fillAll(t, s)
	b, _ := snapshot(t, s, SnapshotOptions{})
	for room := range len(b) {
		if _, err := s.Snapshot(context.Background(), &full{room}, SnapshotOptions{Templates: texts{"1"}}); err != errFull {
			t.Fatalf("room for %d bytes: %v", room, err)
		}
	}
	if _, err := s.Snapshot(context.Background(), io.Discard, SnapshotOptions{Templates: texts{"1"}, Position: strings.Repeat("x", mostHeader)}); err == nil {
		t.Error("a position that cannot be read is written")
	}
}

func TestSnapshotLeavesOutWhatIsOfNoUse(t *testing.T) {
	s, clock := newStore(t, 8<<20)
	for path, control := range map[string]string{
		"/stale": "max-age=10", "/revalidated": "max-age=10, stale-while-revalidate=60", "/onerror": "max-age=10, stale-if-error=60",
		"/fresh": "max-age=60", "/invalid": "max-age=60",
	} {
		fill(t, s, get(path), answer(200, "Cache-Control", control), path)
	}
	s.Invalidate(nil, get("/invalid").Key)
	clock.advance(30 * time.Second)
	b, done := snapshot(t, s, SnapshotOptions{})
	if done.Entries != 3 || done.Useless != 2 {
		t.Errorf("%+v", done)
	}
	to, later := newStore(t, 8<<20)
	later.t = clock.t.Add(35 * time.Second) // 65 s old: the fresh one is stale by now, the others have 5 s left
	if got := mustRestore(t, to, b); got.Entries != 2 || got.Expired != 1 {
		t.Errorf("%+v", got)
	}
	later.advance(10 * time.Second)
	again, _ := newStore(t, 8<<20)
	again.now = later.now
	if got := mustRestore(t, again, b); got.Entries != 0 || got.Expired != 3 {
		t.Errorf("%+v", got)
	}
}

func TestSnapshotWhileEverythingRuns(t *testing.T) {
	s, err := New(Options{MaxBytes: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	to, err := New(Options{MaxBytes: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	work := func(s *Store, n int) {
		resp := answer(200, fresh...)
		resp.Received = time.Now()
		for i := range 400 {
			req := get(fmt.Sprintf("/%d", (i+n)%50))
			if l := s.Lookup(req, &Policy{}); l.Entry == nil {
				_ = s.Put(NewEntry(req, resp, Decide(req, resp, &Policy{}), nil, 100, []byte("body"), ""))
			}
			switch i % 40 {
			case 0:
				invalidate(s, req)
			case 20:
				s.Shrink(0.9)
			}
		}
	}
	for n := range 4 {
		all.Go(func() { work(s, n) })
		all.Go(func() { work(to, n*10) })
		all.Go(func() {
			for range 5 {
				b, _ := snapshot(t, s, SnapshotOptions{})
				mustRestore(t, to, b)
			}
		})
	}
	all.Wait()
	if st, sum := to.Stats(), int64(0); st.Bytes > 0 {
		to.cache.IterValues(func(o *object) bool { sum += o.cost; return false })
		if sum != st.Bytes {
			t.Errorf("the ledger has %d bytes, stored are %d", st.Bytes, sum)
		}
	}
	b, _ := snapshot(t, s, SnapshotOptions{})
	to.Close()
	if got, err := restore(t, to, b); err != nil || got.Entries != 0 {
		t.Errorf("restored into a closed store: %+v %v", got, err)
	}
	if b, done := snapshot(t, to, SnapshotOptions{}); done.Entries != 0 || CheckSnapshot(bytes.NewReader(b)) != nil {
		t.Errorf("%+v of a closed store", done)
	}
}
