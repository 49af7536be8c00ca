package compress

import (
	"fmt"
	"io"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// How hard the encoders try, and how far back they look. An edge codes an answer anew each time while somebody waits for
// it, so the last tenth of a size is not worth twice the time; docs/performance.md has figures of these and their neighbours.
// brotli is the exception, since below 5 it takes three times the time of gzip and gains a twentieth at most. A window
// of 128 KiB reaches as far as pages repeat themselves: twice that makes one of 500 KB shorter by a thirtieth, and each encoder larger.
const (
	gzipLevel    = 5
	brotliLevel  = 5
	brotliWindow = 17 // as a power of two
	zstdLevel    = zstd.SpeedDefault
	zstdWindow   = 128 << 10
)

// An encoder is what all three libraries have.
type encoder interface {
	io.WriteCloser
	Reset(to io.Writer)
	Flush() error
}

// A coder is an encoder with the place that its output goes to.
type coder struct {
	encoder
	to []byte
}

// coders are the encoders that are not in use.
var coders = [codings]sync.Pool{
	Gzip: {New: func() any {
		e, err := gzip.NewWriterLevel(io.Discard, gzipLevel)
		return made(e, err)
	}},
	Brotli: {New: func() any {
		return made(brotli.NewWriterOptions(io.Discard, brotli.WriterOptions{Quality: brotliLevel, LGWin: brotliWindow}), nil)
	}},
	Zstd: {New: func() any {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstdLevel), zstd.WithWindowSize(zstdWindow),
			zstd.WithEncoderConcurrency(1), // else it starts goroutines
			zstd.WithLowerEncoderMem(true), // a megabyte less
			zstd.WithZeroFrames(true),      // an empty body is a frame, too: a client would not take nothing for one
			zstd.WithEncoderCRC(false))     // TLS and TCP have theirs
		return made(e, err)
	}},
}

// made wraps a new encoder. An error would be one of our constants'.
func made(e encoder, err error) *coder {
	if err != nil {
		panic(fmt.Sprintf("compress: settings of an encoder: %v", err))
	}
	return &coder{encoder: e}
}

// take returns an encoder that appends to the coder's to.
func (c Coding) take() *coder {
	e := coders[c].Get().(*coder)
	e.Reset((*output)(e))
	return e
}

// give puts an encoder back, whatever state it is in: the next one to take it resets it.
func (c Coding) give(e *coder) {
	e.to = nil
	coders[c].Put(e)
}

// An output is a coder as its encoder sees it.
type output coder

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.to = append(o.to, p...)
	return len(p), nil
}

// Append appends the coded form of a whole body to dst, which may be nil and must not overlap src. An error is a
// fault of the encoder; dst is returned as it was. It is safe for concurrent use.
func (c Coding) Append(dst, src []byte) ([]byte, error) {
	if c == Identity {
		return append(dst, src...), nil
	}
	e := c.take() // not given back where it panics: who knows what state it is in
	e.to = dst
	_, err := e.Write(src)
	if closed := e.Close(); err == nil {
		err = closed
	}
	out := e.to
	if err != nil {
		return dst, fmt.Errorf("%v: %w", c, err)
	}
	c.give(e)
	return out, nil
}
