package cache

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"
)

// few is a small snapshot: two variants of one key, and another key.
func few(t testing.TB) []byte {
	t.Helper()
	s, _ := newStore(t, 1<<20)
	for _, tone := range []string{"a", "b"} {
		req := get("/v", "X-Tone", tone)
		s.Lookup(req, &Policy{})
		put(t, s, req, answer(200, "Vary", "X-Tone", "Cache-Control", "max-age=60", "Etag", `"e"`), "body "+tone)
	}
	fill(t, s, get("/p"), answer(200, fresh...), "plain")
	b, _ := snapshot(t, s, SnapshotOptions{Position: "p"})
	return b
}

// wantOnlyGood fails if s has anything but what few has.
func wantOnlyGood(t testing.TB, s *Store) {
	t.Helper()
	good := map[string]string{"/v a": "body a", "/v b": "body b", "/p ": "plain"}
	for at, body := range good {
		path, tone, _ := strings.Cut(at, " ")
		if l := s.Lookup(get(path, "X-Tone", tone), &Policy{}); l.Entry != nil && (string(l.Entry.Body) != body || l.Age != 0 || l.Entry.Status != 200) {
			t.Errorf("%s: %q, age %v", at, l.Entry.Body, l.Age)
		}
	}
	if n := s.Stats().Entries; n > 3 {
		t.Errorf("%d entries", n)
	}
}

func TestRestoreOfWhatIsCutAnywhere(t *testing.T) {
	b := few(t)
	s, _ := newStore(t, 1<<20)
	for n := range len(b) {
		if err := CheckSnapshot(bytes.NewReader(b[:n])); err == nil {
			t.Errorf("%d of %d bytes are good", n, len(b))
		}
		if _, err := restore(t, s, b[:n]); err == nil {
			t.Errorf("%d of %d bytes are restored without an error", n, len(b))
		}
		wantOnlyGood(t, s)
	}
	if err := CheckSnapshot(bytes.NewReader(append(b[:len(b):len(b)], 0))); err == nil {
		t.Error("a byte behind the end is good")
	}
}

func TestRestoreOfWhatIsDamagedAnywhere(t *testing.T) {
	b := few(t)
	for i := range b {
		for _, x := range []byte{1, 0x80, 0xff} {
			damaged := bytes.Clone(b)
			damaged[i] ^= x
			if err := CheckSnapshot(bytes.NewReader(damaged)); err == nil {
				t.Errorf("byte %d changed by %#x is good", i, x)
			}
		}
		damaged := bytes.Clone(b)
		damaged[i] ^= 0x55
		s, _ := newStore(t, 1<<20)
		if _, err := restore(t, s, damaged); err == nil {
			t.Errorf("byte %d changed is restored without an error", i)
		}
		wantOnlyGood(t, s)
		s.Close()
	}
}

// forged is a snapshot with right checksums and any payloads behind the header.
func forged(taken time.Time, payloads ...[]byte) []byte {
	var b bytes.Buffer
	w := frameWriter{w: &b}
	_ = w.begin(header{version: "1", taken: taken})
	for _, p := range payloads {
		_ = w.frame(p)
	}
	_ = w.end()
	return b.Bytes()
}

// objectOf is the payload of one entry, changed by edit before it is encoded.
func objectOf(t testing.TB, edit func(o *object)) []byte {
	t.Helper()
	s, _ := newStore(t, 1<<20)
	req := get("/p")
	fill(t, s, req, answer(200, "Vary", "X-Tone", "Cache-Control", "max-age=60"), "plain")
	o := s.stored(s.hash(req.Key), req.Key).useful(epoch)
	e := *o.variants[0]
	o.variants[0] = &e
	edit(o)
	b, err := appendObject(nil, o, 0, epoch, texts{"1"})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRestoreOfWhatNoSnapshotSays(t *testing.T) {
	good := objectOf(t, func(*object) {})
	if done := mustRestore(t, first(newStore(t, 1<<20)), forged(epoch, good)); done.Entries != 1 {
		t.Fatalf("%+v", done)
	}
	edited := func(edit func(o *object, e *Entry)) []byte {
		return objectOf(t, func(o *object) { edit(o, o.variants[0]) })
	}
	for name, payload := range map[string][]byte{
		"no payload":                 {},
		"another kind":               append([]byte{'X'}, good[1:]...),
		"a second header":            append([]byte{kindHeader}, good[1:]...),
		"more uses than are counted": append([]byte{kindObject, maxUses + 1}, good[2:]...),
		"more behind it":             append(good[:len(good):len(good)], 0),
		"an end that is not":         {kindEnd, 1, 0, 0, 0, 0},
		"an end without a sum":       {kindEnd, 2},
		"status 100":                 edited(func(_ *object, e *Entry) { e.Status = 100 }),
		"status 1000":                edited(func(_ *object, e *Entry) { e.Status = 1000 }),
		"no variants":                edited(func(o *object, _ *Entry) { o.variants = nil }),
		"too many variants":          edited(func(o *object, e *Entry) { o.variants = repeat(e, maxVariants+1) }),
		"too many names":             edited(func(_ *object, e *Entry) { e.vary = repeat(varyField{name: "A"}, maxVary+1) }),
		"a name that is none":        edited(func(_ *object, e *Entry) { e.vary[0].name = "A\r\nB" }),
		"an empty name":              edited(func(_ *object, e *Entry) { e.vary[0].name = "" }),
		"a key without a vhost":      edited(func(o *object, _ *Entry) { o.key = []byte{4, 's', 'h', 'o', 'p'} }),
		"a key without parts":        edited(func(o *object, _ *Entry) { o.key = []byte{0xff} }),
		"a key with no end":          edited(func(o *object, _ *Entry) { o.key = []byte{3, 'a'} }),
		"a template of another":      edited(func(_ *object, e *Entry) { e.Template = "x" })[:len(good)],
		"a modified time of no year": edited(func(_ *object, e *Entry) {
			e.modified = time.Unix(1<<50, 0)
		}),
	} {
		s, _ := newStore(t, 1<<20)
		b := forged(epoch, payload)
		if name != "an end that is not" && name != "an end without a sum" {
			if err := CheckSnapshot(bytes.NewReader(b)); err != nil && !errors.Is(err, errSnapshotWrong) {
				t.Errorf("%s: the checksums are wrong: %v", name, err)
			}
		}
		if done, err := restore(t, s, b); err == nil || done.Entries > 0 || s.Stats().Entries > 0 {
			t.Errorf("%s: %+v, %v", name, done, err)
		}
	}
	// Received after the snapshot, or so long before it that ages overflow.
	for _, off := range []time.Duration{time.Nanosecond, -mostTime - 1} {
		if done, err := restore(t, first(newStore(t, 1<<20)), forged(epoch.Add(-off), good)); err == nil || done.Entries > 0 {
			t.Errorf("received %v beside the snapshot: %+v", off, done)
		}
	}
}

func first(s *Store, _ *clock) *Store { return s }

func repeat[T any](v T, n int) []T {
	out := make([]T, n)
	for i := range out {
		out[i] = v
	}
	return out
}

func TestRestoreAllocatesWhatIsThere(t *testing.T) {
	huge := binary.AppendUvarint(nil, 1<<40)
	hugeFrame := bytes.Clone(forged(epoch))
	start := len(snapshotForm)
	header := bytes.Clone(hugeFrame)
	binary.LittleEndian.PutUint32(header[start:], 1<<32-1)
	object := append(forged(epoch)[:0:0], hugeFrame[:len(hugeFrame)-frameHead-6]...)
	object = binary.LittleEndian.AppendUint32(object, 1<<32-1)
	object = append(object, make([]byte, 1000)...)
	for name, b := range map[string][]byte{
		"header":   header,
		"object":   object,
		"key":      forged(epoch, append([]byte{kindObject, 0}, huge...)),
		"variants": forged(epoch, append(appendPart([]byte{kindObject, 0}, "k"), huge...)),
		"uvarint":  forged(epoch, append([]byte{kindObject, 0}, bytes.Repeat([]byte{0xff}, 20)...)),
	} {
		s, _ := newStore(t, 1<<20)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := restore(t, s, b); err == nil {
			t.Errorf("%s: no error", name)
		}
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<20 {
			t.Errorf("%s: %d bytes allocated", name, grown)
		}
		s.Close()
	}
}

func TestRestoreRefusesOtherVersions(t *testing.T) {
	s, _ := newStore(t, 1<<20)
	b := few(t)
	if _, err := OpenSnapshot(bytes.NewReader(b), texts{"2"}); !errors.Is(err, errSnapshotForm) || !strings.Contains(err.Error(), `"1", not "2"`) {
		t.Errorf("another version of templates: %v", err)
	}
	if _, err := restore(t, s, bytes.Replace(b, []byte("snapshot 1"), []byte("snapshot 2"), 1)); !errors.Is(err, errSnapshotForm) || !strings.Contains(err.Error(), "snapshot 2") {
		t.Errorf("another form: %v", err)
	}
	if _, err := OpenSnapshot(strings.NewReader(""), texts{"1"}); err == nil || err.Error() != "EOF" {
		t.Errorf("nothing: %v", err)
	}
}

func TestRestoreAfterTheClockWentBack(t *testing.T) {
	b := few(t)
	for _, c := range []struct {
		off  time.Duration
		good bool
	}{{-2 * time.Second, false}, {-time.Hour, false}, {-time.Second, true}, {0, true}, {mostTime + 1, false}} {
		s, clock := newStore(t, 1<<20)
		clock.advance(c.off)
		done, err := restore(t, s, b)
		if (err == nil) != c.good || (done.Entries == 3) != c.good || !c.good && !errors.Is(err, errSnapshotClock) {
			t.Errorf("%v: %+v %v", c.off, done, err)
		}
		wantOnlyGood(t, s)
	}
}

// A restored entry ages by the monotonic clock, as others do.
func TestRestoredEntryDoesNotFollowTheWallClock(t *testing.T) {
	s, err := New(Options{MaxBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	req, resp := get("/p"), answer(200, fresh...)
	resp.Received = time.Now()
	fill(t, s, req, resp, "plain")
	b, _ := snapshot(t, s, SnapshotOptions{})
	to, err := New(Options{MaxBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	mustRestore(t, to, b)
	if e := wantHit(t, to, req, "plain").Entry; !strings.Contains(e.received.String(), "m=") {
		t.Errorf("received %s, without a monotonic reading", e.received)
	}
}

func TestRestoreOfVhostsThatAreGone(t *testing.T) {
	s, _ := newStore(t, 1<<20)
	other := get("/p")
	other.Key = AppendKey(nil, "shop", "gone.test", "https", "gone.test", "/p")
	fill(t, s, other, answer(200, fresh...), "gone")
	fill(t, s, get("/p"), answer(200, fresh...), "kept")
	fill(t, s, get("/q"), answer(200, fresh...), "kept, too")
	b, _ := snapshot(t, s, SnapshotOptions{})
	to, _ := newStore(t, 1<<20)
	saved, err := OpenSnapshot(bytes.NewReader(b), texts{"1"})
	if err != nil {
		t.Fatal(err)
	}
	asked := map[string]int{}
	done, err := to.Restore(context.Background(), saved, func(tenant, name string) *Vhost {
		if asked[tenant+" "+name]++; name == "gone.test" {
			return nil
		}
		return to.Vhost(tenant, name)
	})
	if err != nil || done.Entries != 2 || done.Gone != 1 || len(asked) != 2 || asked["shop gone.test"] != 1 || asked["shop www.shop.test"] != 1 {
		t.Errorf("%+v %v, asked %v", done, err, asked)
	}
	wantForward(t, to, other, ForwardURIMiss)
	wantHit(t, to, get("/p"), "kept")
}

func TestRestoreReplacesNothing(t *testing.T) {
	b := few(t)
	s, _ := newStore(t, 1<<20)
	fill(t, s, get("/p"), answer(200, fresh...), "newer")
	newer := get("/v", "X-Tone", "a")
	fill(t, s, newer, answer(200, "Vary", "X-Tone", "Cache-Control", "max-age=60"), "newer a")
	late := get("/v", "X-Tone", "b") // looked up before, stored after
	s.Lookup(late, &Policy{})
	if done := mustRestore(t, s, b); done.Entries != 1 || done.Newer != 2 {
		t.Errorf("%+v", done)
	}
	wantHit(t, s, get("/p"), "newer")
	wantHit(t, s, get("/v", "X-Tone", "a"), "newer a")
	wantHit(t, s, get("/v", "X-Tone", "b"), "body b")
	put(t, s, late, answer(200, "Vary", "X-Tone", "Cache-Control", "max-age=60"), "newer b")
	wantHit(t, s, get("/v", "X-Tone", "b"), "newer b")
	if done := mustRestore(t, s, b); done.Entries != 0 || done.Newer != 3 {
		t.Errorf("a second time: %+v", done)
	}
}

// What is stored for all stands for those variants, too, that the page had before.
func TestRestoreBringsNoVariantsOfWhatVariesNoMore(t *testing.T) {
	b := few(t)
	s, _ := newStore(t, 1<<20)
	fill(t, s, get("/v"), answer(200, fresh...), "for all")
	if done := mustRestore(t, s, b); done.Entries != 1 || done.Newer != 2 {
		t.Errorf("%+v", done)
	}
	wantHit(t, s, get("/v", "X-Tone", "a"), "for all")
}

func TestRestoreBringsNothingBackThatWasInvalidated(t *testing.T) {
	b := few(t)
	s, _ := newStore(t, 1<<20)
	s.Invalidate(s.Vhost("shop", "www.shop.test"), get("/p").Key)
	if done := mustRestore(t, s, b); done.Newer != 1 || done.Entries != 2 {
		t.Errorf("%+v", done)
	}
	wantForward(t, s, get("/p"), ForwardURIMiss)
}

func TestRestoreEvictsNothing(t *testing.T) {
	from, _ := newStore(t, 64<<20)
	fillPages(t, from, 100, 100<<10)
	b, _ := snapshot(t, from, SnapshotOptions{})
	to, _ := newStore(t, 64<<20)
	for i := range 5 {
		req := get("/own/" + string(rune('a'+i)))
		fill(t, to, req, answer(200, fresh...), strings.Repeat("x", 100<<10))
	}
	to.Shrink(0) // to MinMaxBytes
	done := mustRestore(t, to, b)
	st := to.Stats()
	if done.Entries < 4 || done.Room != 100-done.Entries || st.Bytes > st.MaxBytes || st.Evictions != 0 || st.Entries != 5+done.Entries {
		t.Errorf("%+v, %+v", done, st)
	}
	small, _ := newStore(t, 1<<20) // one entry may cost 10 kB, which is less than a page
	if done := mustRestore(t, small, b); done.Entries != 0 || done.Room != 100 {
		t.Errorf("%+v in a small store", done)
	}
}

func TestRestoreEndsWithItsContext(t *testing.T) {
	b := few(t)
	s, _ := newStore(t, 1<<20)
	saved, err := OpenSnapshot(bytes.NewReader(b), texts{"1"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if done, err := s.Restore(ctx, saved, s.Vhost); err != context.Canceled || done.Entries != 0 {
		t.Errorf("%+v %v", done, err)
	}
}

// FuzzSnapshot reads bytes as they are, and as the payload of a frame whose checksums are right. Whatever is read can be
// written, and then reads the same.
func FuzzSnapshot(f *testing.F) {
	f.Add(few(f))
	f.Add(objectOf(f, func(*object) {}))
	f.Add(objectOf(f, func(o *object) { o.variants = repeat(o.variants[0], 3) }))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, b := range [][]byte{b, forged(epoch, b)} {
			err := readAll(t, b)
			if checked := CheckSnapshot(bytes.NewReader(b)); err == nil && checked != nil {
				t.Errorf("reads what is damaged: %v", checked)
			}
		}
	})
}

// readAll reads a snapshot as Restore does.
func readAll(t *testing.T, b []byte) error {
	saved, err := OpenSnapshot(bytes.NewReader(b), texts{"1"})
	if err != nil {
		return err
	}
	now := saved.Taken.Add(mostTime)
	return saved.frames.objects(1<<20, func(payload []byte) error {
		o, err := readObject(payload, saved.Taken, saved.templates)
		if err != nil {
			return err
		}
		size := int64(0)
		for _, e := range o.variants {
			if e.Age(saved.Taken) < 0 || e.Age(now) < e.Age(saved.Taken) || e.refused || !e.whole {
				t.Errorf("age %v, later %v, refused %v, whole %v", e.Age(saved.Taken), e.Age(now), e.refused, e.whole)
			}
			size += int64(len(e.Body))
		}
		if size > int64(len(b)) || o.cost < size {
			t.Errorf("%d bytes of bodies from %d, cost %d", size, len(b), o.cost)
		}
		again, err := appendObject(nil, o, o.uses.Load(), saved.Taken, saved.templates)
		if err != nil {
			t.Fatal(err)
		}
		o2, err := readObject(again, saved.Taken, saved.templates)
		if err != nil || !reflect.DeepEqual(o, o2) {
			t.Errorf("%v: %+v, want %+v", err, o2, o)
		}
		return nil
	})
}

func BenchmarkSnapshot(b *testing.B) {
	s, _ := newStore(b, 256<<20)
	for i := range 50_000 {
		req := get("/" + time.Duration(i).String())
		s.Lookup(req, &Policy{})
		put(b, s, req, answer(200, "Cache-Control", "max-age=600", "Etag", `"abc"`), strings.Repeat("x", 1000))
	}
	data, _ := snapshot(b, s, SnapshotOptions{MaxBytes: 256 << 20})
	b.Run("write", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			if _, done := snapshot(b, s, SnapshotOptions{MaxBytes: 256 << 20}); done.Entries != 50_000 {
				b.Fatal(done)
			}
		}
	})
	b.Run("check", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			if err := CheckSnapshot(bytes.NewReader(data)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("restore", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			b.StopTimer()
			to, _ := newStore(b, 256<<20)
			b.StartTimer()
			if done := mustRestore(b, to, data); done.Entries != 50_000 {
				b.Fatal(done)
			}
			b.StopTimer()
			to.Close()
			b.StartTimer()
		}
	})
}

// A store that had been through all that this one was purged of hands over what is still good: only what was purged since is not.
func TestRestoreFromAStoreThatHadThePurgesToo(t *testing.T) {
	b := few(t)
	s, _ := newStore(t, 1<<20)
	s.Purge(Purge{Kind: PurgeTag, Arg: "before"})
	since := s.Purge(Purge{Kind: PurgeAll})
	s.Purge(Purge{Kind: PurgeURL, Arg: "www.shop.test/p"})
	saved, err := OpenSnapshot(bytes.NewReader(b), texts{"1"})
	if err != nil {
		t.Fatal(err)
	}
	saved.Since = since
	if done, err := s.Restore(context.Background(), saved, func(tenant, name string) *Vhost { return s.Vhost(tenant, name) }); err != nil || done.Entries != 3 {
		t.Errorf("%+v %v", done, err)
	}
	wantForward(t, s, get("/p"), ForwardURIMiss)
	wantHit(t, s, get("/v", "X-Tone", "a"), "body a")
	s.Purge(Purge{Kind: PurgeAll})
	wantForward(t, s, get("/v", "X-Tone", "a"), ForwardURIMiss)
	other, _ := newStore(t, 1<<20) // which does not know that it had
	other.Purge(Purge{Kind: PurgeAll})
	mustRestore(t, other, b)
	wantForward(t, other, get("/v", "X-Tone", "a"), ForwardURIMiss)
}

// A purge that comes before the vhost, or its tenant, is known here at all purges what is restored of it.
func TestRestoreBringsNothingThatWasPurgedBefore(t *testing.T) {
	b := few(t)
	for _, p := range []Purge{
		{Tenant: "shop", Vhost: "www.shop.test", Kind: PurgeURL, Arg: "www.shop.test/p"},
		{Tenant: "shop", Kind: PurgeURL, Arg: "www.shop.test/p"},
		{Kind: PurgeURL, Arg: "www.shop.test/p"},
	} {
		s, _ := newStore(t, 1<<20)
		s.Purge(p)
		mustRestore(t, s, b)
		wantForward(t, s, get("/p"), ForwardURIMiss)
		wantHit(t, s, get("/v", "X-Tone", "a"), "body a")
	}
}
