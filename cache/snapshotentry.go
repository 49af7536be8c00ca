package cache

import (
	"bytes"
	"encoding/binary"
	"time"

	"gatehouse/internal/octets"
)

// Templates writes response templates as bytes and reads them again, in another process. Its methods are called by one
// goroutine at a time.
type Templates interface {
	// Version names the form of the bytes; a snapshot with another one is not read.
	Version() string
	// Append appends the bytes of a template that NewEntry was given.
	Append(dst []byte, template any) ([]byte, error)
	// Read makes the template of bytes, which it must not keep, and says what it takes in memory, see NewEntry. The bytes
	// may be anybody's: an error refuses the snapshot that they stand in.
	Read(b []byte) (template any, size int, err error)
}

// The flags of entries, and of the fields of a Vary.
const (
	flagAuthorized = 1
	flagNoCache    = 2
	flagImmutable  = 4
	flagTagged     = 8 // tags are hashes of this process: in the next one such an entry has every tag

	flagPresent = 1
)

// flags is one bit for each, the lowest first.
func flags(set ...bool) (b byte) {
	for i, on := range set {
		if on {
			b |= 1 << i
		}
	}
	return b
}

// appendObject appends the payload of an object's frame.
func appendObject(dst []byte, o *object, uses int32, now time.Time, t Templates) ([]byte, error) {
	dst = append(dst, kindObject, byte(min(uses, maxUses)))
	dst = appendPart(dst, octets.Text(o.key))
	dst = binary.AppendUvarint(dst, uint64(len(o.variants)))
	var err error
	for _, e := range o.variants {
		if dst, err = appendEntry(dst, e, now, t); err != nil {
			return nil, err
		}
	}
	return dst, nil
}

// appendEntry appends what TestSnapshotHasEveryFieldOfAnEntry says. The time of receipt is reckoned back from now: how long
// ago it was is what the monotonic clock says, whatever became of the other one since.
func appendEntry(dst []byte, e *Entry, now time.Time, t Templates) ([]byte, error) {
	dst = binary.AppendUvarint(dst, uint64(e.Status))
	dst = append(dst, flags(e.terms.authorized, e.terms.noCache, e.terms.immutable, e.tags != nil))
	dst = appendTime(dst, now.Add(-min(max(now.Sub(e.received), 0), mostTime)))
	for _, d := range []time.Duration{e.initialAge, e.lifetime, e.terms.whileRevalidate, e.terms.ifError} {
		dst = appendDuration(dst, d)
	}
	dst = appendTime(dst, e.modified)
	dst = appendTime(dst, e.date)
	for _, text := range []string{e.Digest, e.validators.tag, e.validators.modified} {
		dst = appendPart(dst, text)
	}
	dst = binary.AppendUvarint(dst, uint64(len(e.vary)))
	for i := range e.vary {
		f := &e.vary[i]
		dst = append(appendPart(dst, f.name), flags(f.present))
		dst = appendPart(appendPart(dst, f.value), f.language)
	}
	template, err := t.Append(nil, e.Template)
	if err != nil {
		return nil, err
	}
	dst = appendPart(dst, octets.Text(template))
	return appendPart(dst, octets.Text(e.Body)), nil
}

// readObject reads the payload of an object's frame, which was taken at that time. The object owns its memory.
func readObject(payload []byte, taken time.Time, t Templates) (*object, error) {
	d := decoder{b: payload}
	d.byte()
	uses := d.byte()
	o := &object{key: bytes.Clone(d.part())}
	o.cost = objectOverhead + int64(len(o.key))
	n := d.uvarint()
	if uses > maxUses || n < 1 || n > maxVariants {
		return nil, errSnapshotWrong
	}
	o.uses.Store(int32(uses))
	o.variants = make([]*Entry, 0, n)
	for range n {
		e, err := readEntry(&d, taken, t)
		if err != nil {
			return nil, err
		}
		e.key = o.key
		o.variants = append(o.variants, e)
		o.cost += e.cost
	}
	return o, d.end()
}

func readEntry(d *decoder, taken time.Time, t Templates) (*Entry, error) {
	e := &Entry{}
	status, flag := d.uvarint(), d.byte()
	e.received = d.time()
	e.initialAge, e.lifetime = d.duration(), d.duration()
	e.terms = terms{
		authorized: flag&flagAuthorized != 0, noCache: flag&flagNoCache != 0, immutable: flag&flagImmutable != 0,
		whileRevalidate: d.duration(), ifError: d.duration(),
	}
	e.modified, e.date = d.time(), d.time()
	e.Digest, e.validators.tag, e.validators.modified = d.text(), d.text(), d.text()
	e.readVary(d)
	template, body := d.part(), d.part()
	age := taken.Sub(e.received)
	if d.failed || status < 200 || status > 999 || flag > flagAuthorized|flagNoCache|flagImmutable|flagTagged || age < 0 || age > mostTime {
		return nil, errSnapshotWrong
	}
	e.Status = int(status)
	if flag&flagTagged != 0 {
		e.tags = everyTag
	}
	e.etag, e.weak = partsOf([]byte(e.validators.tag))
	size := 0
	var err error
	if e.Template, size, err = t.Read(template); err != nil {
		return nil, err
	}
	e.length, e.most = int64(len(body)), int64(len(body))
	e.cost = e.costOf(size)
	e.complete(append(make([]byte, 0, len(body)), body...))
	return e, nil
}

func (e *Entry) readVary(d *decoder) {
	n := d.uvarint()
	if n > maxVary {
		d.fail()
	}
	if n == 0 || d.failed {
		return
	}
	e.vary = make([]varyField, n)
	for i := range e.vary {
		name := d.part()
		if len(name) == 0 || tokenLen(name) != len(name) {
			d.fail()
			return
		}
		flag := d.byte()
		e.vary[i] = varyField{name: string(name), present: flag == flagPresent, value: d.text(), language: d.text()}
		if flag > flagPresent {
			d.fail()
		}
	}
}
