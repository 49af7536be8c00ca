package redisstore

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
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
	var body []byte
	var err error
	switch {
	case doc.Key.Kind == routes.KindTenant && doc.Tenant != nil:
		body, err = json.Marshal(doc.Tenant)
	case doc.Key.Kind == routes.KindVhost && doc.Vhost != nil:
		body, err = s.overlay(ctx, doc.Vhost, doc.Key)
	default:
		err = fmt.Errorf("%s: no document to write", doc.Key)
	}
	if err != nil {
		return err
	}
	key := canonical(s.prefix, doc.Key, partJSON)
	if parsed := routes.ParseJSON(doc.Key, key, body); len(parsed.Problems) > 0 {
		return fmt.Errorf("write %s: it would not be a good document, nothing is changed: %w", key, parsed.Problems)
	}
	if string(body) == "{}" && doc.Key.Kind == routes.KindVhost {
		err = s.writer.Del(ctx, key).Err()
	} else {
		err = s.writer.Set(ctx, key, body, 0).Err()
	}
	return s.failed("write "+key, err)
}

// overlay returns the JSON of the fields that have to stand in vhost: for the
// vhost to come out as wanted.
func (s *Store) overlay(ctx context.Context, want *routes.Vhost, doc routes.Key) ([]byte, error) {
	front, err := s.frontend(ctx, doc)
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
		body = append([]byte(`{"tenant":"",`), body[1:]...)
		body = bytes.Replace(body, []byte(",}"), []byte("}"), 1)
	}
	return body, err
}

// frontend returns what the host's list alone says, or nil if there is none
// that can be read.
func (s *Store) frontend(ctx context.Context, doc routes.Key) (*routes.Vhost, error) {
	for _, key := range s.odd.keysOf(s.prefix, doc) {
		if key.part != partList {
			continue
		}
		list, err := s.writer.LRange(ctx, key.raw, 0, maxBackends+1).Result()
		if redis.HasErrorPrefix(err, "WRONGTYPE") {
			return nil, fmt.Errorf("%s holds another type: delete it first", key.raw)
		}
		if err != nil {
			return nil, s.failed("read "+key.raw, err)
		}
		if len(list) > 0 {
			front := &routes.Vhost{Name: doc.Name}
			if bad := mergeList(front, &value{key: key, list: list}, nil); len(bad) > 0 {
				return nil, bad
			}
			return front, nil
		}
	}
	return nil, nil
}

func sameJSON(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// Delete removes all keys of a document at once; ErrNotFound if there is none.
func (s *Store) Delete(ctx context.Context, doc routes.Key) error {
	var raws []string
	for _, key := range s.odd.keysOf(s.prefix, doc) {
		raws = append(raws, key.raw)
	}
	n, err := s.writer.Del(ctx, raws...).Result()
	if err != nil {
		return s.failed("delete "+strings.Join(raws, ", "), err)
	}
	if n == 0 {
		return fmt.Errorf("%s: %w", doc, routes.ErrNotFound)
	}
	return nil
}

// Where returns the key of a document, vhost: before frontend:, or "" if there
// is none or Redis does not answer in time.
func (s *Store) Where(doc routes.Key) string {
	ctx, cancel := context.WithTimeout(context.Background(), redisconn.DialTimeout+redisconn.CallTimeout)
	defer cancel()
	found := ""
	for _, key := range s.odd.keysOf(s.prefix, doc) {
		n, err := s.client.Exists(ctx, key.raw).Result()
		if err != nil {
			return ""
		}
		if n > 0 && (found == "" || key.part == partJSON && strings.HasPrefix(found, s.prefix+frontendKey)) {
			found = key.raw
		}
	}
	return found
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
