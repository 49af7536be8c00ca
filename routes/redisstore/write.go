package redisstore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"gatehouse/internal/redisconn"
	"gatehouse/routes"
)

// Put writes a tenant to tenant:<id> and a vhost to vhost:<host>. If the host has
// a hipache list (frontend:), it is left as it is and vhost: gets only the fields
// in which the document differs from it; if it differs in none, vhost: is
// deleted.
func (s *Store) Put(ctx context.Context, doc routes.Document) error {
	return s.Edit(ctx, doc.Key, func(routes.Change) (routes.Document, error) { return doc, nil })
}

// editTries bounds how often a change is made again because others were faster. With ten nodes that change one
// document at once, the last one needs ten.
const editTries = 50

// Edit is Put of what change makes of the document that Redis holds now. What others write between
// reading and writing is seen by Redis itself (WATCH); in a Cluster only what they write to the key that is
// written, which is that of all verbs.
func (s *Store) Edit(ctx context.Context, doc routes.Key, change func(routes.Change) (routes.Document, error)) error {
	keys := s.odd.keysOf(s.prefix, doc)
	raws := make([]string, len(keys))
	for i, key := range keys {
		raws[i] = key.raw
	}
	target := canonical(s.prefix, doc, partJSON)
	if s.client.Cluster() {
		raws = []string{target} // the others may be of other slots, and on other servers
	}
	for range editTries {
		var refused error // by change, or what it made
		bare := false     // the list says it all
		err := s.withMaster(ctx, func() error {
			return s.writer.Watch(ctx, func(tx *redis.Tx) error {
				var from redis.Cmdable = tx
				if s.client.Cluster() {
					from = s.writer
				}
				values, err := present(ctx, from, keys)
				if err != nil {
					return err
				}
				var body []byte
				if body, refused = s.edited(doc, target, values, change); refused != nil {
					return nil
				}
				bare = string(body) == "{}" && doc.Kind == routes.KindVhost
				sent, err := tx.TxPipelined(ctx, func(p redis.Pipeliner) error {
					if bare {
						p.Del(ctx, target)
					} else {
						p.Set(ctx, target, body, 0)
					}
					return nil
				})
				if redis.HasErrorPrefix(err, "EXECABORT") && len(sent) > 0 {
					return sent[0].Err() // why the server did not take it
				}
				return err
			}, raws...)
		})
		if refused != nil {
			return refused
		}
		if !errors.Is(err, redis.TxFailedErr) {
			if err == nil && (bare || s.evictions.lostPart(doc)) { // what was evicted of it counts no more
				s.removed.add(doc)
			}
			return s.failed("write "+target, err)
		}
	}
	return fmt.Errorf("write %s: it is being changed by others all the time: try again", target)
}

// edited is the JSON that has to stand in the key target.
func (s *Store) edited(doc routes.Key, target string, values []value, change func(routes.Change) (routes.Document, error)) ([]byte, error) {
	present := compose(doc, values)
	if present.Vhost == nil && present.Tenant == nil {
		present.Draft = draft(doc, values)
	}
	if doc.Kind == routes.KindVhost {
		present.Base, _ = frontend(doc, values) // one that is bad says nothing, and is told of where it is written over
	}
	want, err := change(s.evictions.halved(present, values))
	if err != nil {
		return nil, err
	}
	var body []byte
	switch {
	case doc.Kind == routes.KindTenant && want.Tenant != nil:
		body, err = json.Marshal(want.Tenant)
	case doc.Kind == routes.KindVhost && want.Vhost != nil:
		body, err = overlay(want.Vhost, doc, values)
	default:
		err = fmt.Errorf("%s: no document to write", doc)
	}
	if err != nil {
		return nil, err
	}
	// Judged as it will be read: beside what the other keys hold.
	if next := compose(doc, written(doc, target, body, values)); next.Vhost == nil && next.Tenant == nil {
		return nil, fmt.Errorf("write %s: it would not be a good document, nothing is changed: %w", target, next.Problems)
	}
	return body, nil
}

// written are the values once body stands in the key target.
func written(doc routes.Key, target string, body []byte, values []value) []value {
	out := []value{{key: rawKey{target, partJSON, doc}, text: string(body)}} // the canonical key: before others of its part
	for _, v := range values {
		if v.key.raw != target {
			out = append(out, v)
		}
	}
	return out
}

// present reads what the keys hold.
func present(ctx context.Context, from redis.Cmdable, keys []rawKey) ([]value, error) {
	var out []value
	for _, key := range keys {
		v := value{key: key}
		var err error
		if key.part == partList {
			v.list, err = from.LRange(ctx, key.raw, 0, maxBackends+1).Result()
		} else {
			v.text, err = from.Get(ctx, key.raw).Result()
		}
		switch {
		case errors.Is(err, redis.Nil):
			continue
		case redis.HasErrorPrefix(err, "WRONGTYPE"):
			v.bad = "it holds another type: delete it first"
		case err != nil:
			return nil, err
		case key.part == partList && len(v.list) == 0:
			continue
		}
		out = append(out, v)
	}
	return out, nil
}

// overlay returns the JSON of the fields that have to stand in vhost: for the
// vhost to come out as wanted.
func overlay(want *routes.Vhost, doc routes.Key, values []value) ([]byte, error) {
	front, err := frontend(doc, values)
	if err != nil {
		return nil, err
	}
	if front == nil {
		return json.Marshal(want)
	}
	over := *want
	if over.Tenant == front.Tenant {
		over.Tenant = ""
	}
	if sameJSON(over.Backends, front.Backends) {
		over.Backends = nil
	}
	body, err := json.Marshal(&over)
	if err == nil && want.Tenant == "" && front.Tenant != "" {
		// Leaving the field out would mean the list's id.
		head := `{"tenant":""`
		if string(body) != "{}" {
			head += ","
		}
		body = append([]byte(head), body[1:]...)
	}
	return body, err
}

// frontend returns what the host's list alone says, or nil if there is none, or only one that is ignored once there is the key to be
// written: see compose. URLs that are bad are none:
// the vhost then has to say something in their place.
func frontend(doc routes.Key, values []value) (*routes.Vhost, error) {
	list, _, _ := partsOf(values)
	if list == nil || list.key.odd() {
		return nil, nil
	}
	front := &routes.Vhost{Name: doc.Name}
	if bad := mergeID(front, list, nil); len(bad) > 0 {
		return nil, bad
	}
	if bad := mergeURLs(front, list); len(bad) > 0 {
		front.Backends = nil
	}
	return front, nil
}

func sameJSON(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// Delete removes all keys of a document at once, in a Cluster one by one, the
// list first; ErrNotFound if there is none.
func (s *Store) Delete(ctx context.Context, doc routes.Key) error {
	var raws []string
	for _, key := range s.odd.keysOf(s.prefix, doc) {
		raws = append(raws, key.raw)
	}
	together := [][]string{raws}
	if s.client.Cluster() {
		together = slices.Collect(slices.Chunk(raws, 1))
	}
	var n int64
	for _, keys := range together {
		var deleted int64
		err := s.withMaster(ctx, func() (err error) {
			deleted, err = s.writer.Del(ctx, keys...).Result()
			return err
		})
		if err != nil {
			return s.failed("delete "+strings.Join(keys, ", "), err)
		}
		n += deleted
	}
	if n == 0 {
		return fmt.Errorf("%s: %w", doc, routes.ErrNotFound)
	}
	s.removed.add(doc)
	return nil
}

// Where returns the key of a document, vhost: before frontend:, or "" if there
// is none or Redis does not answer in time.
func (s *Store) Where(ctx context.Context, doc routes.Key) string {
	ctx, cancel := context.WithTimeout(ctx, redisconn.DialTimeout+redisconn.CallTimeout)
	defer cancel()
	var found rawKey
	for _, key := range s.odd.keysOf(s.prefix, doc) {
		n, err := s.client.Exists(ctx, key.raw).Result()
		if err != nil {
			return ""
		}
		if n > 0 && (found.raw == "" || key.part == partJSON && found.part == partList && key.odd() == found.odd()) {
			found = key
		}
	}
	return found.raw
}

// Places knows those of tenants, which have one key. Which keys a vhost has is not kept in memory: there may be a million.
func (s *Store) Places() func(routes.Key) string {
	return func(doc routes.Key) string {
		if doc.Kind == routes.KindVhost {
			return ""
		}
		return canonical(s.prefix, doc, partJSON)
	}
}

// failed says in words what a refusal of the server means.
func (s *Store) failed(doing string, err error) error {
	if err == nil {
		return nil
	}
	hint := ""
	switch {
	case redis.HasErrorPrefix(err, "OOM"):
		hint = " (Redis has no memory left: raise maxmemory)"
	case redis.HasErrorPrefix(err, "READONLY"):
		hint = " (this Redis is a replica: name the master)"
	case redis.HasErrorPrefix(err, "NOPERM"):
		hint = " (the ACL of this user does not allow it)"
	case redis.HasErrorPrefix(err, "MISCONF"):
		hint = " (Redis cannot save its data and takes no writes)"
	}
	return fmt.Errorf("redis: %s: %w%s", doing, err, hint)
}
