package compress

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"

	"gatehouse/internal/edgetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) } // no encoder starts a goroutine

var all = []Coding{Gzip, Brotli, Zstd}

// decoder reads the coded form, as a client does.
func decoder(t testing.TB, c Coding, coded io.Reader) io.Reader {
	t.Helper()
	switch c {
	case Gzip:
		z, err := gzip.NewReader(coded)
		if err != nil {
			return iotest.ErrReader(err)
		}
		return z
	case Brotli:
		return brotli.NewReader(coded)
	case Zstd: // with less than a browser's window
		z, err := zstd.NewReader(coded, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(zstdWindow))
		if err != nil {
			return iotest.ErrReader(err)
		}
		t.Cleanup(z.Close)
		return z
	}
	return coded
}

func decoded(t testing.TB, c Coding, coded []byte) ([]byte, error) {
	t.Helper()
	return io.ReadAll(decoder(t, c, bytes.NewReader(coded)))
}

// A source is a body that comes in pieces.
type source struct {
	pieces []string
	hand   int // pieces that are at hand
	err    error
	reads  int
	closed int
}

func (s *source) Read(p []byte) (int, error) {
	s.reads++
	if len(s.pieces) == 0 {
		if s.err != nil {
			return 0, s.err
		}
		return 0, io.EOF
	}
	n := copy(p, s.pieces[0])
	if s.pieces[0] = s.pieces[0][n:]; s.pieces[0] == "" {
		s.pieces = s.pieces[1:]
		s.hand--
	}
	return n, nil
}

func (s *source) Buffered() int {
	if s.hand > 0 {
		return 1
	}
	return 0
}

func (s *source) Close() error { s.closed++; return nil }

func text(n int) string {
	var b strings.Builder
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	words := strings.Fields("the quick brown fox jumps over a lazy dog and <a href='/shop?id='> </a> price Gatehouse 12 345 678")
	for b.Len() < n {
		b.WriteString(words[rng.IntN(len(words))] + " ")
	}
	return b.String()[:n]
}

// Whatever the body, its pieces, the flushes between them and the sizes of reads: what comes out is what went in.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte(""), uint16(0), uint16(0), uint64(1))
	f.Add([]byte("hello"), uint16(1), uint16(0), uint64(2))
	f.Add([]byte(text(500)), uint16(200), uint16(9), uint64(3))
	f.Add([]byte{0}, uint16(60_000), uint16(0), uint64(4))
	f.Add([]byte("<p>"), uint16(1000), uint16(50_000), uint64(5))
	f.Fuzz(func(t *testing.T, unit []byte, times, noise uint16, seed uint64) {
		// Long bodies of short words: the fuzzer is quick with short ones only.
		body := bytes.Repeat(unit, min(int(times), 200_000/max(1, len(unit))))
		made := rand.New(rand.NewPCG(seed, 0))
		for range noise {
			body = append(body, byte(made.Uint32()))
		}
		for _, c := range all {
			rng := rand.New(rand.NewPCG(seed, uint64(c)))
			whole, err := c.Append([]byte("before"), body)
			if err != nil || !bytes.HasPrefix(whole, []byte("before")) {
				t.Fatal(c, err)
			}
			if got, err := decoded(t, c, whole[len("before"):]); err != nil || !bytes.Equal(got, body) {
				t.Fatalf("%v, whole: %d bytes of %d, %v", c, len(got), len(body), err)
			}
			src := &source{}
			for rest := string(body); rest != ""; {
				n := min(len(rest), 1+rng.IntN([]int{3, 1000, 50_000}[rng.IntN(3)]))
				src.pieces, rest = append(src.pieces, rest[:n]), rest[n:]
			}
			if len(src.pieces) > 0 {
				src.hand = rng.IntN(len(src.pieces) + 1)
			}
			length := int64(len(body))
			if rng.IntN(2) == 0 {
				length = -1
			}
			r := NewReader(src, c, length, nil)
			var coded bytes.Buffer
			buf := make([]byte, 40_000)
			for err == nil {
				var n int
				n, err = r.Read(buf[:1+rng.IntN(len(buf))])
				coded.Write(buf[:n])
			}
			if err != io.EOF || r.Close() != nil || src.closed != 1 {
				t.Fatalf("%v: %v, closed %d times", c, err, src.closed)
			}
			if got, err := decoded(t, c, coded.Bytes()); err != nil || !bytes.Equal(got, body) {
				t.Fatalf("%v, streamed: %d bytes of %d, %v", c, len(got), len(body), err)
			}
		}
	})
}

// What a source has sent can be read, and decoded, before it is asked for more.
func TestNothingIsHeldBack(t *testing.T) {
	for _, c := range all {
		t.Run(c.String(), func(t *testing.T) {
			src := &source{pieces: []string{"data: one\n\n", "data: two\n\n", "data: three\n\n"}}
			r := NewReader(src, c, -1, nil)
			defer r.Close()
			out, in := io.Pipe()
			plain := make(chan string)
			go func() {
				defer close(plain)
				from := decoder(t, c, out)
				buf := make([]byte, 100)
				for {
					n, err := from.Read(buf)
					if n > 0 {
						plain <- string(buf[:n])
					}
					if err != nil {
						return
					}
				}
			}()
			buf := make([]byte, 1000)
			for i, want := range []string{"data: one\n\n", "data: two\n\n", "data: three\n\n"} {
				n, err := r.Read(buf)
				if err != nil || src.reads != i+1 {
					t.Fatalf("piece %d: %v after %d reads of the source", i, err, src.reads)
				}
				in.Write(buf[:n])
				var got string
				for got != want {
					piece, ok := <-plain
					if got += piece; !ok || !strings.HasPrefix(want, got) {
						t.Fatalf("piece %d: %q", i, got)
					}
				}
			}
			rest, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			in.Write(rest)
			in.Close()
			for more := range plain {
				t.Errorf("%q follows", more)
			}
		})
	}
}

// While there is more at hand nothing is flushed: that would cost size. A source that does not say is flushed each time.
func TestFlushesComeWhereTheSourceWaits(t *testing.T) {
	for _, c := range all {
		size := func(hand int) int {
			src := &source{hand: hand}
			for range 50 {
				src.pieces = append(src.pieces, text(500))
			}
			coded, err := io.ReadAll(NewReader(src, c, -1, nil))
			if err != nil {
				t.Fatal(err)
			}
			return len(coded)
		}
		if at, waiting := size(50), size(0); at >= waiting {
			t.Errorf("%v: %d bytes with all at hand, %d with none", c, at, waiting)
		}
	}
}

// A body that was cut ends with its source's error, behind what came of it, and has no end.
func TestACutBodyNeverEndsWell(t *testing.T) {
	gone := errors.New("connection reset")
	for _, c := range all {
		for name, tc := range map[string]struct {
			src    *source
			length int64
			want   error
		}{
			"reset":                   {&source{pieces: []string{text(5000)}, err: gone}, -1, gone},
			"reset, at hand":          {&source{pieces: []string{text(5000)}, err: gone, hand: 9}, -1, gone},
			"reset at once":           {&source{err: gone}, -1, gone},
			"chunks cut":              {&source{pieces: []string{text(5000)}, err: io.ErrUnexpectedEOF}, -1, io.ErrUnexpectedEOF},
			"shorter than its length": {&source{pieces: []string{text(5000)}}, 5001, io.ErrUnexpectedEOF},
			"longer than its length":  {&source{pieces: []string{text(5000)}}, 4999, errSurplus},
			"reads without end":       {&source{pieces: make([]string, 1000)}, -1, io.ErrNoProgress},
		} {
			released := 0
			r := NewReader(tc.src, c, tc.length, func() { released++ })
			coded, err := io.ReadAll(r)
			if !errors.Is(err, tc.want) || released != 1 {
				t.Errorf("%v, %s: %v, released %d times", c, name, err, released)
			}
			if _, again := r.Read(make([]byte, 1)); again != err {
				t.Errorf("%v, %s: then %v", c, name, again)
			}
			plain, err := decoded(t, c, coded)
			if err == nil && len(coded) > 0 {
				t.Errorf("%v, %s: it has an end", c, name)
			}
			if want := min(5000, tc.length); tc.length > 0 && int64(len(plain)) != want || name == "reset" && len(plain) != 5000 {
				t.Errorf("%v, %s: %d bytes came through", c, name, len(plain))
			}
			if r.Close() != nil || tc.src.closed != 1 || released != 1 {
				t.Errorf("%v, %s: closed %d times, released %d times", c, name, tc.src.closed, released)
			}
		}
	}
}

// Close at any time gives everything back once, and an encoder that was left in the middle is as good as new.
func TestCloseAtAnyTime(t *testing.T) {
	for _, c := range all {
		for reads := range 5 {
			released := 0
			src := &source{pieces: []string{text(3000), text(100_000), text(50)}, hand: 1}
			r := NewReader(src, c, -1, func() { released++ })
			for range reads {
				if _, err := r.Read(make([]byte, 900)); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 {
				if err := r.Close(); err != nil || released != 1 || src.closed != 1 {
					t.Errorf("%v: %v, released %d times, closed %d times", c, err, released, src.closed)
				}
			}
			if _, err := r.Read(make([]byte, 1)); err != os.ErrClosed {
				t.Errorf("%v: read behind Close: %v", c, err)
			}
			coded, err := c.Append(nil, []byte("as good as new"))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := decoded(t, c, coded); err != nil || string(got) != "as good as new" {
				t.Errorf("%v: %q, %v", c, got, err)
			}
		}
	}
}

// The encoder is free again when the source has ended, however slowly the rest is read.
func TestTheEncoderIsReleasedWithTheSource(t *testing.T) {
	released := 0
	r := NewReader(&source{pieces: []string{text(9000)}, hand: 2}, Zstd, -1, func() { released++ })
	defer r.Close()
	if _, err := r.Read(make([]byte, 1)); err != nil || released != 1 || r.Buffered() < 1000 {
		t.Errorf("%v, released %d times, %d bytes at hand", err, released, r.Buffered())
	}
}

// An encoder that panics is not used again, and the rest is cleaned up.
func TestAPanicLeavesNothingBehind(t *testing.T) {
	released := 0
	src := &source{}
	r := NewReader(panicking{src}, Zstd, -1, func() { released++ })
	func() {
		defer func() { _ = recover() }()
		_, _ = r.Read(make([]byte, 1))
	}()
	if r.coder != nil || r.Close() != nil || released != 1 || src.closed != 1 {
		t.Errorf("encoder %v, released %d times, closed %d times", r.coder, released, src.closed)
	}
}

type panicking struct{ *source }

func (panicking) Read([]byte) (int, error) { panic("boom") }

// What is at hand is told, so that whoever sends it does not wait for more with it in his hands.
func TestBufferedTellsWhatCanBeRead(t *testing.T) {
	src := &source{pieces: []string{text(100), text(100)}, hand: 1}
	r := NewReader(src, Gzip, -1, nil)
	defer r.Close()
	if r.Buffered() != 1 {
		t.Errorf("the source has something: %d", r.Buffered())
	}
	if _, err := r.Read(make([]byte, 3)); err != nil || r.Buffered() < 10 {
		t.Errorf("%v, output: %d", err, r.Buffered())
	}
	if _, err := r.Read(make([]byte, 1000)); err != nil || r.Buffered() != 0 {
		t.Errorf("%v, the source may wait: %d", err, r.Buffered())
	}
	if _, err := io.ReadAll(r); err != nil || r.Buffered() != 1 {
		t.Errorf("%v, the end: %d", err, r.Buffered())
	}
}

// A body of any size takes no more memory: window, output and input are bounded.
func TestMemoryIsBounded(t *testing.T) {
	edgetest.Sequential(t)
	for _, c := range all {
		for name, src := range map[string]io.Reader{"zeros": zeros{}, "noise": rand.NewChaCha8([32]byte{1})} {
			r := NewReader(io.NopCloser(io.LimitReader(src, 20<<20)), c, 20<<20, nil)
			n, err := io.Copy(io.Discard, r)
			if err != nil || cap(r.room.out) > keptOutput || n > 21<<20 {
				t.Errorf("%v, %s: %v, %d bytes, room of %d", c, name, err, n, cap(r.room.out))
			}
			r.Close()
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// Encoders and rooms are used again: what a body costs is its Reader.
func TestAllocationsOfABody(t *testing.T) {
	if raceEnabled {
		t.Skip("pools forget at random under the race detector; make norace runs this without it")
	}
	body := []byte(text(20_000))
	out := make([]byte, 0, 40_000)
	buf := make([]byte, 32<<10)
	for _, c := range all {
		whole := testing.AllocsPerRun(50, func() {
			if _, err := c.Append(out, body); err != nil {
				t.Fatal(err)
			}
		})
		streamed := testing.AllocsPerRun(50, func() {
			r := NewReader(io.NopCloser(bytes.NewReader(body)), c, int64(len(body)), nil)
			for {
				if _, err := r.Read(buf); err == io.EOF {
					break
				}
			}
			r.Close()
		})
		t.Logf("%v: %v allocations for a whole body, %v for one that streams", c, whole, streamed)
		if whole > 1 || streamed > 4 { // of the latter the test makes two
			t.Errorf("%v: %v allocations for a whole body, %v for one that streams", c, whole, streamed)
		}
	}
}
