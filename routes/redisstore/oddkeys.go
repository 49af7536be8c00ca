package redisstore

import (
	"slices"
	"sync"

	"gatehouse/routes"
)

// oddKeys remembers the few keys whose host is not canonical
// (frontend:WWW.Shop.test), so that a document is read from all its keys. The
// zero value is empty. Safe for concurrent use.
type oddKeys struct {
	mu   sync.Mutex
	keys map[routes.Key][]rawKey // sorted; maxOdd of a document at most
}

// maxOdd is how many further spellings of a document's keys are read: of a name of 60 letters there are as many as anybody
// likes, and each is read with each change. The first are kept, so that all nodes go by the same.
const maxOdd = 8

func (o *oddKeys) clear() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.keys = nil
}

func (o *oddKeys) add(key rawKey) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.keys == nil {
		o.keys = map[routes.Key][]rawKey{}
	}
	keys := o.keys[key.doc]
	if slices.Contains(keys, key) {
		return
	}
	// A fresh slice: keysOf has given the old one away.
	keys = append(slices.Clone(keys), key)
	slices.SortFunc(keys, func(a, b rawKey) int {
		if a.raw < b.raw {
			return -1
		}
		return 1
	})
	o.keys[key.doc] = keys[:min(len(keys), maxOdd)]
}

func (o *oddKeys) remove(key rawKey) {
	o.mu.Lock()
	defer o.mu.Unlock()
	keys, ok := o.keys[key.doc]
	if !ok {
		return
	}
	keys = slices.DeleteFunc(slices.Clone(keys), func(k rawKey) bool { return k == key })
	if len(keys) == 0 {
		delete(o.keys, key.doc)
		return
	}
	o.keys[key.doc] = keys
}

// keysOf returns the keys that a document may have, the canonical ones first.
func (o *oddKeys) keysOf(prefix string, doc routes.Key) []rawKey {
	var out []rawKey
	if doc.Kind == routes.KindVhost {
		out = append(out, rawKey{canonical(prefix, doc, partList), partList, doc})
	}
	out = append(out, rawKey{canonical(prefix, doc, partJSON), partJSON, doc})
	o.mu.Lock()
	defer o.mu.Unlock()
	return append(out, o.keys[doc]...)
}
