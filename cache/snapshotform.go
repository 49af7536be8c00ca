package cache

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"time"
)

// A snapshot is the line snapshotForm and frames: four bytes with the length of the payload, four with its CRC-32C, the
// payload. Its first byte says what it is: one header comes first, then an object each, then one end with the number of
// frames before it and the CRC-32C of all bytes before it. Numbers are varints, texts have their length in front of them.
//
// The checksums find accidents (a disk, a file that is not whole), not forgers: who can write in the data folder has the
// keys of all certificates. A forged one must do no harm to the process all the same, and put nothing under another
// vhost's name: each length is compared with what is there before anything is allocated, and the vhost is read from the key.

// snapshotForm changes when a snapshot of the program before would be read wrongly: with the form, with what keys are made
// of (AppendKey, the parts of a Policy's), and with the meaning of anything that an entry holds.
const snapshotForm = "gatehouse cache snapshot 1\n"

const (
	frameHead = 8
	endFrame  = frameHead + 1 + binary.MaxVarintLen64 + 4

	kindHeader = 'H'
	kindObject = 'O'
	kindEnd    = 'E'

	mostHeader = 64 << 10 // bytes of the header's payload
	// mostTime is the longest duration in a snapshot, 68 years. Sums of three are far from overflowing.
	mostTime = maxSeconds * time.Second
)

// Why a snapshot is not read.
var (
	errSnapshotForm  = errors.New("not a snapshot of this version's form")
	errSnapshotTorn  = errors.New("it ends early")
	errSnapshotSum   = errors.New("checksum does not fit")
	errSnapshotWrong = errors.New("it says what no snapshot says")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A header is the first frame.
type header struct {
	version  string // of the templates
	position string
	taken    time.Time
}

// A frameWriter writes frames, and counts.
type frameWriter struct {
	w       io.Writer
	sum     uint32
	frames  uint64
	written int64
	head    [frameHead]byte // here, since what a Writer is given is on the heap
}

func (f *frameWriter) write(b []byte) error {
	f.sum = crc32.Update(f.sum, castagnoli, b)
	n, err := f.w.Write(b)
	f.written += int64(n)
	return err
}

func (f *frameWriter) begin(h header) error {
	if err := f.write([]byte(snapshotForm)); err != nil {
		return err
	}
	payload := appendPart([]byte{kindHeader}, h.version)
	payload = appendPart(payload, h.position)
	if len(payload) > mostHeader {
		return fmt.Errorf("the position has %d bytes, at most %d", len(h.position), mostHeader)
	}
	return f.frame(appendTime(payload, h.taken))
}

func (f *frameWriter) frame(payload []byte) error {
	if int64(len(payload)) > math.MaxUint32 {
		return errSize
	}
	binary.LittleEndian.PutUint32(f.head[:4], uint32(len(payload)))
	binary.LittleEndian.PutUint32(f.head[4:], crc32.Checksum(payload, castagnoli))
	f.frames++
	if err := f.write(f.head[:]); err != nil {
		return err
	}
	return f.write(payload)
}

func (f *frameWriter) end() error {
	payload := binary.AppendUvarint([]byte{kindEnd}, f.frames)
	return f.frame(binary.LittleEndian.AppendUint32(payload, f.sum))
}

// A frameReader reads what a frameWriter has written.
type frameReader struct {
	r      *bufio.Reader
	sum    uint32
	frames uint64
	buf    []byte
	head   [frameHead]byte
	piece  [4 << 10]byte // of what is skipped
}

func newFrameReader(r io.Reader) *frameReader { return &frameReader{r: bufio.NewReaderSize(r, 64<<10)} }

// begin reads the line that says what it is, and the header.
func (f *frameReader) begin() (h header, err error) {
	form := make([]byte, len(snapshotForm))
	if err := f.read(form); err != nil {
		return h, err
	}
	if string(form) != snapshotForm {
		return h, fmt.Errorf("%w: it begins with %q", errSnapshotForm, form)
	}
	payload, whole, err := f.next(mostHeader)
	if err != nil {
		return h, err
	}
	d := decoder{b: payload}
	if !whole || d.byte() != kindHeader {
		return h, errSnapshotWrong
	}
	h = header{version: d.text(), position: d.text(), taken: d.time()}
	return h, d.end()
}

// next returns the next frame's payload, valid until the next call. One of more than most bytes is read but not kept, and
// whole is false.
func (f *frameReader) next(most int64) (payload []byte, whole bool, err error) {
	if err := f.read(f.head[:]); err != nil {
		return nil, false, err
	}
	n, want := int64(binary.LittleEndian.Uint32(f.head[:4])), binary.LittleEndian.Uint32(f.head[4:])
	f.frames++
	if n > most {
		return nil, false, f.skip(n, want)
	}
	if int64(cap(f.buf)) < n {
		f.buf = make([]byte, n)
	}
	f.buf = f.buf[:n]
	if err := f.read(f.buf); err != nil {
		return nil, false, err
	}
	if crc32.Checksum(f.buf, castagnoli) != want {
		return nil, false, errSnapshotSum
	}
	return f.buf, true, nil
}

// skip reads n bytes in small pieces.
func (f *frameReader) skip(n int64, want uint32) error {
	sum := uint32(0)
	for n > 0 {
		b := f.piece[:min(n, int64(len(f.piece)))]
		if err := f.read(b); err != nil {
			return err
		}
		sum = crc32.Update(sum, castagnoli, b)
		n -= int64(len(b))
	}
	if sum != want {
		return errSnapshotSum
	}
	return nil
}

func (f *frameReader) read(b []byte) error {
	_, err := io.ReadFull(f.r, b)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errSnapshotTorn
	}
	f.sum = crc32.Update(f.sum, castagnoli, b)
	return err
}

// ended checks the end, whose payload has been read, against what came before it: sum and frames, taken then.
func (f *frameReader) ended(payload []byte, sum uint32, frames uint64) error {
	d := decoder{b: payload}
	d.byte()
	count := d.uvarint()
	rest := d.take(4)
	if err := d.end(); err != nil {
		return err
	}
	if count != frames || binary.LittleEndian.Uint32(rest) != sum {
		return errSnapshotSum
	}
	switch _, err := f.r.ReadByte(); err {
	case io.EOF:
		return nil
	case nil:
		return fmt.Errorf("%w: more behind its end", errSnapshotWrong)
	default:
		return err
	}
}

// objects calls each with every object's payload, nil for one of more than most bytes, to the end.
func (f *frameReader) objects(most int64, each func(payload []byte) error) error {
	for {
		sum, frames := f.sum, f.frames
		payload, whole, err := f.next(most)
		switch {
		case err != nil:
			return err
		case !whole:
			err = each(nil)
		case len(payload) == 0:
			return errSnapshotWrong
		case payload[0] == kindEnd:
			return f.ended(payload, sum, frames)
		case payload[0] == kindObject:
			err = each(payload)
		default:
			return errSnapshotWrong
		}
		if err != nil {
			return err
		}
	}
}

// appendTime appends a time without its monotonic reading, which means nothing in another process.
func appendTime(dst []byte, t time.Time) []byte {
	dst = binary.AppendVarint(dst, t.Unix())
	return binary.AppendUvarint(dst, uint64(t.Nanosecond()))
}

func appendDuration(dst []byte, d time.Duration) []byte {
	return binary.AppendUvarint(dst, uint64(min(max(d, 0), mostTime)))
}

// A decoder reads a payload. After the first thing that is not there, or cannot be, all is empty and end says so.
type decoder struct {
	b      []byte
	failed bool
}

func (d *decoder) fail() { d.b, d.failed = nil, true }

// end reports whether all was read, and was good.
func (d *decoder) end() error {
	if d.failed || len(d.b) > 0 {
		return errSnapshotWrong
	}
	return nil
}

// take returns the next n bytes, of the payload itself.
func (d *decoder) take(n uint64) []byte {
	if d.failed || n > uint64(len(d.b)) {
		d.fail()
		return make([]byte, min(n, 8)) // for numbers of a fixed size
	}
	out := d.b[:n:n]
	d.b = d.b[n:]
	return out
}

func (d *decoder) byte() byte { return d.take(1)[0] }

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) part() []byte {
	n := d.uvarint()
	if d.failed || n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	return d.take(n)
}

func (d *decoder) text() string { return string(d.part()) }

func (d *decoder) time() time.Time {
	const year10000 = 253402300800
	sec, nano := d.varint(), d.uvarint()
	if sec < -year10000 || sec > year10000 || nano >= 1e9 {
		d.fail()
		return time.Time{}
	}
	return time.Unix(sec, int64(nano)).UTC()
}

func (d *decoder) duration() time.Duration {
	v := d.uvarint()
	if v > uint64(mostTime) {
		d.fail()
		return 0
	}
	return time.Duration(v)
}
