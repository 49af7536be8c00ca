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
	return appendFormKey(dst, kind, e.variant(), e.key)
}

func appendFormKey(dst []byte, kind uint8, variant uint64, key []byte) []byte {
	dst = append(dst, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, kind) // no length has ten such bytes
	dst = binary.LittleEndian.AppendUint64(dst, variant)
	return append(dst, key...)
}

// beforeKey is how many bytes of a form's key stand before that of its entry.
const beforeKey = 10 + 1 + 8

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
// there is none. That of an entry before it is none of e, though it may be there still. It does not allocate.
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

// PutForm stores another form of e, if e is stored, for as long as it is, or until the form has to leave itself: a response head and
// a body, as for NewEntry. kind is below FormKinds. See Put.
func (s *Store) PutForm(e *Entry, kind uint8, template any, templateSize int, body []byte) error {
	if !s.holds(e.key, e.id) {
		return errSuperseded
	}
	form := &Entry{
		Template: template, Status: e.Status, Digest: e.Digest,
		received: e.received, initialAge: e.initialAge, lifetime: e.lifetime, terms: e.terms,
		key: e.appendFormKey(nil, kind), vhost: e.vhost, seq: s.seq.Load(), most: s.maxCost, length: -1, formOf: e.id,
		cost: entryOverhead + int64(templateSize),
	}
	form.complete(body)
	err := s.Put(form)
	if err == nil {
		s.dropForms(orphan{e.key, e.variant(), e.id}) // if e has left meanwhile
	}
	return err
}

// holds reports whether the entry with that key and id is stored and may be used, as far as it is known without asking purges.
func (s *Store) holds(key []byte, id uint64) bool { return s.entry(key, id) != nil }

func (s *Store) entry(key []byte, id uint64) *Entry {
	o := s.stored(s.hash(key), key)
	if o == nil || o.invalid.Load() {
		return nil
	}
	for _, e := range o.variants {
		if e.id == id {
			return e
		}
	}
	return nil
}

// An orphan is an entry that may have left the store, as far as its forms are concerned.
type orphan struct {
	key         []byte
	variant, id uint64
}

// exited takes an object off the books, and has the forms of its entries leave. ristretto calls it for whatever leaves, with all
// kinds of locks held: so the forms are left to the lurker, and where it cannot keep up they leave as what is used least does.
func (s *Store) exited(o *object) {
	s.ledger.release(o)
	if o == nil || s.ledger.closing.Load() {
		return
	}
	for _, e := range o.variants {
		if !e.mayHaveForms() {
			continue
		}
		select {
		case s.lurker.orphans <- orphan{e.key, e.variant(), e.id}:
		default:
		}
	}
}

func (e *Entry) mayHaveForms() bool {
	for kind := range e.formed {
		if atomic.LoadInt64(&e.formed[kind]) != 0 {
			return true
		}
	}
	return false
}

// dropForms drops the forms of an entry, if that is not stored any more. It may be, in an object that took the place of another.
func (s *Store) dropForms(of orphan) {
	if s.holds(of.key, of.id) {
		return
	}
	for kind := range uint8(FormKinds) {
		s.dropForm(appendFormKey(nil, kind, of.variant, of.key), of.id)
	}
}

func (s *Store) dropForm(key []byte, id uint64) {
	hash := s.hash(key)
	mu := &s.stripe[hash%stripes]
	mu.Lock()
	defer mu.Unlock()
	if o := s.stored(hash, key); o != nil && o.variants[0].formOf == id {
		s.cache.Del(hash)
	}
}

// orphaned reports whether a form is of no use, because its entry is not.
func (s *Store) orphaned(form *Entry) bool {
	e := s.entry(form.key[beforeKey:], form.formOf)
	return e == nil || !s.usable(e)
}

// FormKinds is how many kinds of forms there are.
const FormKinds = 4
