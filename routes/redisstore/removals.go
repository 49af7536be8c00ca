package redisstore

import (
	"sync"

	"gatehouse/routes"
)

// removals are the documents that verbs of this node have deleted, wholly or a key of them: that they are gone is meant, however many are.
type removals struct {
	some chan struct{} // holds a token while there are any

	mu   sync.Mutex
	docs map[routes.Key]struct{}
}

func newRemovals() *removals {
	return &removals{some: make(chan struct{}, 1), docs: map[routes.Key]struct{}{}}
}

func (r *removals) add(doc routes.Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.docs[doc] = struct{}{}
	select {
	case r.some <- struct{}{}:
	default:
	}
}

// take empties it. What cannot be acted upon is added again.
func (r *removals) take() (docs []routes.Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for doc := range r.docs {
		docs = append(docs, doc)
	}
	clear(r.docs)
	return docs
}

// removed reads what verbs have deleted, and yields that it is gone, if it still is.
func (f *follower) removed() error {
	docs := f.store.removed.take()
	if len(docs) == 0 {
		return nil
	}
	keys := make([]string, len(docs))
	for i, doc := range docs {
		f.store.evictions.forget(doc)
		delete(f.missing, doc)
		keys[i] = canonical(f.store.prefix, doc, partJSON)
	}
	batch, err := f.reader.some(keys)
	if err != nil {
		for _, doc := range docs {
			f.store.removed.add(doc)
		}
		return err
	}
	f.tell(batch, false)
	for _, doc := range docs {
		if f.during != nil {
			f.during[doc] = struct{}{}
		}
	}
	return nil
}
