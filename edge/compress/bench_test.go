package compress

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// A page is a body as sites have them, from the Go tree, which whoever runs this has.
type page struct {
	name, file string
	most       int
}

var pages = []page{
	{"html2K", "doc/go_spec.html", 2 << 10},
	{"html50K", "doc/go_spec.html", 50 << 10},
	{"html200K", "doc/go_spec.html", 200 << 10},
	{"js17K", "lib/wasm/wasm_exec.js", 17 << 10},
	{"minjs116K", "src/internal/trace/traceviewer/static/webcomponents.min.js", 116 << 10},
	{"json2K", "src/encoding/json/internal/jsontest/testdata/twitter_status.json.zst", 2 << 10},
	{"json50K", "src/encoding/json/internal/jsontest/testdata/twitter_status.json.zst", 50 << 10},
	{"json500K", "src/encoding/json/internal/jsontest/testdata/twitter_status.json.zst", 500 << 10},
}

func (p page) read(tb testing.TB) []byte {
	tb.Helper()
	body, err := os.ReadFile(filepath.Join(runtime.GOROOT(), filepath.FromSlash(p.file))) //nolint:staticcheck // of the toolchain that runs the test
	if err != nil {
		tb.Skip(err)
	}
	if strings.HasSuffix(p.file, ".zst") {
		d, err := zstd.NewReader(bytes.NewReader(body))
		if err != nil {
			tb.Fatal(err)
		}
		defer d.Close()
		if body, err = io.ReadAll(d); err != nil {
			tb.Fatal(err)
		}
	}
	return body[:min(len(body), p.most)]
}

// BenchmarkAppend and BenchmarkReader are what a body costs, whole and as it streams from a backend that is as fast as
// we are: in pieces of 16 KiB, each flushed. The ratio is that of what came to what went out.
func BenchmarkAppend(b *testing.B) {
	for _, p := range pages {
		for _, c := range all {
			b.Run(p.name+"/"+c.String(), func(b *testing.B) {
				body := p.read(b)
				out, err := c.Append(nil, body)
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(int64(len(body)))
				b.ReportAllocs()
				for b.Loop() {
					if out, err = c.Append(out[:0], body); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(len(body))/float64(len(out)), "ratio")
			})
		}
	}
}

func BenchmarkReader(b *testing.B) {
	buf := make([]byte, 32<<10)
	for _, p := range pages {
		for _, c := range all {
			b.Run(p.name+"/"+c.String(), func(b *testing.B) {
				body := p.read(b)
				var size int
				b.SetBytes(int64(len(body)))
				b.ReportAllocs()
				for b.Loop() {
					r := NewReader(&flowing{bytes.NewReader(body)}, c, int64(len(body)), nil)
					size = 0
					for {
						n, err := r.Read(buf)
						size += n
						if err == io.EOF {
							break
						}
						if err != nil {
							b.Fatal(err)
						}
					}
					if err := r.Close(); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(len(body))/float64(size), "ratio")
			})
		}
	}
}

// flowing is a body of which a TLS record is at hand at a time.
type flowing struct{ *bytes.Reader }

func (f *flowing) Read(p []byte) (int, error) { return f.Reader.Read(p[:min(len(p), 16<<10)]) }

func (f *flowing) Buffered() int { return min(1, 1-min(1, f.Len())) } // its end comes with the last byte

func (f *flowing) Close() error { return nil }
