package redisstore

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"gatehouse/internal/redisconn"
	"gatehouse/routes"
)

const (
	scanCount = "1000" // keys that the server looks at per step: about a millisecond of its time
	readBatch = 250    // documents per pipeline
)

// A reader reads documents over one connection.
type reader struct {
	prefix string
	conn   *redisconn.Conn
	odd    *oddKeys
	// misnamed are keys of ours whose name cannot be a host or a tenant.
	misnamed map[string]*routes.Problem
}

// all reads every document. The change of each is in the batch, in the order of
// the names, so that all nodes settle conflicts between aliases alike.
func (r *reader) all() (routes.Batch, error) {
	r.misnamed = map[string]*routes.Problem{}
	r.odd.clear()
	found := map[routes.Key]bool{}
	cursor := "0"
	for {
		replies, err := r.conn.Must([]string{"SCAN", cursor, "MATCH", globEscape(r.prefix) + scanPattern, "COUNT", scanCount})
		if err != nil {
			return routes.Batch{}, err
		}
		if len(replies[0].Items) != 2 {
			return routes.Batch{}, errors.New("redis: SCAN: not an answer to it")
		}
		cursor = replies[0].Items[0].Text
		for _, item := range replies[0].Items[1].Items {
			if key, ok := r.sort(item.Text); ok {
				found[key] = true
			}
		}
		if cursor == "0" {
			break
		}
	}
	docs := make([]routes.Key, 0, len(found))
	for key := range found {
		docs = append(docs, key)
	}
	slices.SortFunc(docs, compareKeys)
	changes, err := r.read(docs)
	if err != nil {
		return routes.Batch{}, err
	}
	changes = slices.DeleteFunc(changes, func(c routes.Change) bool { return c.Gone() })
	return routes.Batch{Full: true, Changes: changes, Problems: r.problems()}, nil
}

// some reads the documents that raw keys belong to.
func (r *reader) some(raws []string) (routes.Batch, error) {
	var docs []routes.Key
	for _, raw := range raws {
		doc, ok := r.sort(raw)
		if ok {
			docs = append(docs, doc)
			continue
		}
		if r.misnamed[raw] == nil {
			continue
		}
		if there, err := r.exists(raw); err != nil {
			return routes.Batch{}, err
		} else if !there {
			delete(r.misnamed, raw)
		}
	}
	slices.SortFunc(docs, compareKeys)
	docs = slices.Compact(docs)
	changes, err := r.read(docs)
	return routes.Batch{Changes: changes, Problems: r.problems()}, err
}

func (r *reader) exists(raw string) (bool, error) {
	replies, err := r.conn.Must([]string{"EXISTS", raw})
	return err == nil && replies[0].Text != "0", err
}

// sort says which document a raw key belongs to, and remembers names that are
// not canonical.
func (r *reader) sort(raw string) (routes.Key, bool) {
	key, ok, err := parseKey(r.prefix, raw)
	if !ok {
		return routes.Key{}, false
	}
	if err != nil {
		r.misnamed[raw] = &routes.Problem{File: raw, Reason: err.Error()}
		return routes.Key{}, false
	}
	if raw != canonical(r.prefix, key.doc, key.part) {
		r.odd.add(key)
	}
	return key.doc, true
}

func (r *reader) problems() routes.Problems {
	var out routes.Problems
	for _, p := range r.misnamed {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b *routes.Problem) int { return cmp.Compare(a.File, b.File) })
	return out
}

func compareKeys(a, b routes.Key) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
}

// read reads the present state of the documents.
func (r *reader) read(docs []routes.Key) ([]routes.Change, error) {
	out := make([]routes.Change, 0, len(docs))
	for batch := range slices.Chunk(docs, readBatch) {
		var keys []rawKey
		var commands [][]string
		for _, doc := range batch {
			for _, key := range r.odd.keysOf(r.prefix, doc) {
				keys = append(keys, key)
				commands = append(commands, command(key))
			}
		}
		replies, err := r.conn.Do(commands...)
		if err != nil {
			return nil, err
		}
		values := map[routes.Key][]value{}
		for i := range replies {
			v, there, err := valueOf(keys[i], &replies[i])
			if err != nil {
				return nil, err
			}
			if there {
				values[keys[i].doc] = append(values[keys[i].doc], v)
			} else {
				r.odd.remove(keys[i])
			}
		}
		for _, doc := range batch {
			out = append(out, compose(doc, values[doc]))
		}
	}
	return out, nil
}

func command(key rawKey) []string {
	if key.part == partList {
		// The id, all backends that are allowed, and one to see that there are more.
		return []string{"LRANGE", key.raw, "0", strconv.Itoa(maxBackends + 1)}
	}
	return []string{"GET", key.raw}
}

// valueOf reads a reply. A key of another type is a problem of its document; any
// other refusal is one of the connection.
func valueOf(key rawKey, reply *redisconn.Reply) (value, bool, error) {
	v := value{key: key}
	switch {
	case reply.Failed && strings.HasPrefix(reply.Text, "WRONGTYPE"):
		v.bad = "it holds another type: want a string with a JSON object (SET)"
		if key.part == partList {
			v.bad = "it holds another type: want a list of an id and URLs (RPUSH)"
		}
	case reply.Failed:
		return v, false, fmt.Errorf("redis: read %s: %w", key.raw, reply.Err())
	case reply.TooLarge:
		v.bad = "it is too large"
	case key.part == partList:
		for i := range reply.Items {
			v.list = append(v.list, reply.Items[i].Text)
		}
		return v, len(v.list) > 0, nil
	case reply.Null:
		return v, false, nil
	}
	v.text = reply.Text
	return v, true, nil
}
