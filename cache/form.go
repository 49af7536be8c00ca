package cache

import (
	"encoding/binary"
	"hash/maphash"
	"sync/atomic"
	"time"
)

// formPause is between two tries to make a form of an entry that has none: it may not be worth its room.
const formPause = 10 * time.Second

// entryIDs tell entries apart, for forms.
var entryIDs atomic.Uint64

// formSeed is that of variants' hashes.
var formSeed = maphash.MakeSeed()

// appendFormKey appends the key under which a form of e is stored. There is one for each variant and kind: that of an
// entry takes the place of its predecessor's. No key of AppendKey begins like it.
func (e *Entry) appendFormKey(dst []byte, kind uint8) []byte {
	dst = append(dst, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, kind) // no length has ten such bytes
	dst = binary.LittleEndian.AppendUint64(dst, e.variant())
	return append(dst, e.key...)
}

// variant is a hash of what selects e.
func (e *Entry) variant() uint64 {
	if len(e.vary) == 0 {
		return 0
	}
	var h maphash.Hash
	h.SetSeed(formSeed)
	for i := range e.vary {
		v := &e.vary[i]
		_, _ = h.WriteString(v.name) // never fails
		_ = h.WriteByte(0)
		if v.present {
			_ = h.WriteByte(1)
		}
		_, _ = h.WriteString(v.value)
		_ = h.WriteByte(0)
	}
	return h.Sum64()
}

// Form returns another form of e, such as one with a content coding, that was stored by PutForm under the same kind; nil:
// there is none. It does not allocate.
func (s *Store) Form(e *Entry, kind uint8) *Entry {
	var room [512]byte
	key := e.appendFormKey(room[:0], kind)
	o := s.stored(s.hash(key), key)
	if o == nil || o.variants[0].formOf != e.id {
		return nil
	}
	if n := o.uses.Load(); n < maxUses {
		o.uses.Store(n + 1)
	}
	return o.variants[0]
}

// WantsForm reports whether it is time to make a form of e; then it is up to the caller.
func (s *Store) WantsForm(e *Entry, kind uint8) bool {
	now := s.now().UnixNano()
	last := atomic.LoadInt64(&e.formed[kind])
	return now-last >= int64(formPause) && atomic.CompareAndSwapInt64(&e.formed[kind], last, now)
}

// PutForm stores another form of e for as long as e is stored, or until it has to leave: a response head and a body, as for
// NewEntry. kind is below FormKinds. See Put.
func (s *Store) PutForm(e *Entry, kind uint8, template any, templateSize int, body []byte) error {
	form := &Entry{
		Template: template, Status: e.Status, Digest: e.Digest,
		received: e.received, initialAge: e.initialAge, lifetime: e.lifetime, terms: e.terms,
		key: e.appendFormKey(nil, kind), vhost: e.vhost, seq: s.seq.Load(), most: s.maxCost, length: -1, formOf: e.id,
		cost: entryOverhead + int64(templateSize),
	}
	form.complete(body)
	return s.Put(form)
}

// FormKinds is how many kinds of forms there are.
const FormKinds = 4
