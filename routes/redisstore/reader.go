package redisstore

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"gatehouse/internal/redisconn"
	"gatehouse/routes"
)

const (
	scanCount = "2000" // keys that the server looks at per step: about two milliseconds of its time
	readBatch = 1000   // documents per pipeline at most, between whose commands the server looks after others
	// firstBatch is of how many the first one is, of whose size nothing is known: the next are twice as many, or as many as there was room for.
	firstBatch = 64
	// readRoom is how many bytes of a batch are kept: a thousand values of some megabytes each would be more than the node has.
	readRoom = 16 << 20
	// maxMisnamed is how many keys are named whose name means nothing: all of them are told of again with each change of anybody.
	maxMisnamed = 100
	maxKeySaid  = 300 // bytes
)

// A reader reads documents in one session.
type reader struct {
	prefix  string
	session *redisconn.Session
	odd     *oddKeys
	batch   int // documents that the next pipeline is for; 0: firstBatch
	// misnamed are keys of ours whose name cannot be a host or a tenant, maxMisnamed at most.
	misnamed map[string]*routes.Problem
	// between is called after each step of a long reading; nil: nothing is.
	between func() error
	// seen is told of all that values visits; nil: nobody is.
	seen func(routes.Key, []value)
	// tell is told how far a reading is; nil: nobody is.
	tell func(progress string)
	// asked are the raw keys of the last reading of some, and whether they were absent.
	asked map[string]bool
	// evictions knows which documents have lost a part; nil: none.
	evictions *evictions
}

// all reads every document. The change of each is in the batch, in the order of
// the names, so that nodes that start settle conflicts between aliases alike, where Redis does not remember them (aliasesKey).
func (r *reader) all() (routes.Batch, error) {
	r.asked = nil
	docs, err := r.names()
	if err != nil {
		return routes.Batch{}, err
	}
	changes, err := r.read(docs)
	if err != nil {
		return routes.Batch{}, err
	}
	changes = slices.DeleteFunc(changes, func(c routes.Change) bool { return c.Gone() })
	return routes.Batch{Full: true, Changes: changes, Problems: r.problems(), Places: r.places()}, nil
}

// names returns which documents have keys, sorted.
func (r *reader) names() ([]routes.Key, error) {
	var docs []routes.Key
	misnamed := map[string]*routes.Problem{}
	masters := len(r.session.Masters())
	for i := range masters {
		if err := r.scan(i, &docs, misnamed); err != nil {
			return nil, err
		}
	}
	// A key that moves from a later master to an earlier one meanwhile was on
	// neither when we looked: once more, the other way round.
	for i := range masters - 1 {
		if err := r.scan(masters-2-i, &docs, misnamed); err != nil {
			return nil, err
		}
	}
	r.misnamed = misnamed
	slices.SortFunc(docs, compareKeys)
	return slices.Compact(docs), nil
}

// scan adds the documents that have keys on one master, and the keys that can
// belong to none.
func (r *reader) scan(master int, docs *[]routes.Key, misnamed map[string]*routes.Problem) error {
	for cursor := "0"; ; {
		replies, err := r.session.On(master, []string{"SCAN", cursor, "MATCH", globEscape(r.prefix) + scanPattern, "COUNT", scanCount})
		if err != nil {
			return err
		}
		if len(replies[0].Items) != 2 {
			return errors.New("redis: SCAN: not an answer to it")
		}
		cursor = replies[0].Items[0].Text
		for _, item := range replies[0].Items[1].Items {
			if key, ok := r.sort(item.Text, misnamed); ok {
				*docs = append(*docs, key)
			}
		}
		if r.tell != nil {
			r.tell(fmt.Sprintf("%d names so far", len(*docs)))
		}
		if cursor == "0" {
			return nil
		}
		if err := r.pause(); err != nil {
			return err
		}
	}
}

// places says on which masters a document may be; nil: there is one.
func (r *reader) places() func(routes.Key) [2]int {
	if len(r.session.Masters()) == 1 {
		return nil
	}
	return func(doc routes.Key) [2]int {
		return [2]int{
			r.session.MasterOf(canonical(r.prefix, doc, partList)),
			r.session.MasterOf(canonical(r.prefix, doc, partJSON)),
		}
	}
}

// some reads the documents that raw keys belong to.
func (r *reader) some(raws []string) (routes.Batch, error) {
	var docs []routes.Key
	r.asked = make(map[string]bool, len(raws))
	for _, raw := range raws {
		r.asked[raw] = false
		doc, ok := r.sort(raw, r.misnamed)
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
	replies, err := r.must([]string{"EXISTS", raw})
	return err == nil && replies[0].Text != "0", err
}

// must is Session.Do for one command that the server may not refuse.
func (r *reader) must(command []string) ([]redisconn.Reply, error) {
	replies, err := r.session.Do(command)
	if err == nil && replies[0].Failed {
		err = fmt.Errorf("redis: %s: %w", command[0], replies[0].Err())
	}
	return replies, err
}

// sort says which document a raw key belongs to, and remembers names that are
// not canonical.
func (r *reader) sort(raw string, misnamed map[string]*routes.Problem) (routes.Key, bool) {
	key, ok, err := parseKey(r.prefix, raw)
	if !ok {
		return routes.Key{}, false
	}
	if err != nil {
		if len(misnamed) < maxMisnamed {
			misnamed[raw] = &routes.Problem{File: shortKey(raw), Reason: err.Error()}
		}
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
	if len(out) == maxMisnamed {
		out = append(out, &routes.Problem{Reason: "there may be more keys whose name cannot be a host or a tenant: delete these first"})
	}
	return out
}

// shortKey keeps a message readable: a key may have megabytes.
func shortKey(raw string) string {
	if len(raw) <= maxKeySaid {
		return raw
	}
	return strings.ToValidUTF8(raw[:maxKeySaid], "") + "…"
}

func compareKeys(a, b routes.Key) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
}

// read reads the present state of the documents.
func (r *reader) read(docs []routes.Key) ([]routes.Change, error) {
	out := make([]routes.Change, 0, len(docs))
	err := r.values(docs, func(doc routes.Key, values []value) { out = append(out, r.compose(doc, values)) })
	return out, err
}

// compose is compose, but for what an eviction has left of a document.
func (r *reader) compose(doc routes.Key, values []value) routes.Change {
	change := compose(doc, values)
	if r.evictions == nil {
		return change
	}
	return r.evictions.halved(change, values)
}

// values reads what the keys of each document hold, and visits the documents in
// their order. The values are only lent.
func (r *reader) values(docs []routes.Key, visit func(routes.Key, []value)) error {
	var keys []rawKey
	var commands [][]string
	read, total := 0, len(docs)
	for len(docs) > 0 {
		if r.batch == 0 {
			r.batch = firstBatch
		}
		batch := docs[:min(len(docs), r.batch)]
		keys, commands = keys[:0], commands[:0]
		for _, doc := range batch {
			for _, key := range r.odd.keysOf(r.prefix, doc) {
				keys = append(keys, key)
				commands = append(commands, command(key))
			}
		}
		room := readRoom
		if len(batch) == 1 {
			room = math.MaxInt // of a few values
		}
		replies, err := r.session.Read(room, commands...)
		if err != nil {
			return err
		}
		done, size, err := r.visit(batch, keys, replies, visit)
		if err != nil {
			return err
		}
		switch docs = docs[done:]; {
		case done < len(batch):
			r.batch = max(1, done)
		case len(batch) == r.batch && size < readRoom/4:
			r.batch = min(2*r.batch, readBatch)
		}
		if read += done; r.tell != nil {
			r.tell(fmt.Sprintf("%d of %d so far", read, total))
		}
		if err := r.pause(); err != nil {
			return err
		}
	}
	return nil
}

// visit visits the documents of a batch up to one that there was no room for, and returns how many they are and how large.
func (r *reader) visit(batch []routes.Key, keys []rawKey, replies []redisconn.Reply, visit func(routes.Key, []value)) (done, size int, err error) {
	var found []value
	next := 0 // of keys: those of a document stand together
	for _, doc := range batch {
		found = found[:0]
		for ; next < len(keys) && keys[next].doc == doc; next++ {
			if replies[next].Left {
				return done, size, nil
			}
			v, there, err := valueOf(keys[next], &replies[next])
			if err != nil {
				return done, size, err
			}
			size += sizeOf(&replies[next])
			replies[next] = redisconn.Reply{} // what was read goes when it has been visited
			if there {
				found = append(found, v)
				continue
			}
			r.odd.remove(keys[next])
			if _, asked := r.asked[keys[next].raw]; asked {
				r.asked[keys[next].raw] = true
			}
		}
		visit(doc, found)
		if r.seen != nil {
			r.seen(doc, found)
		}
		done++
	}
	return done, size, nil
}

// sizeOf is how many bytes of text a reply has.
func sizeOf(reply *redisconn.Reply) int {
	n := len(reply.Text)
	for i := range reply.Items {
		n += len(reply.Items[i].Text)
	}
	return n
}

// pause lets the poll look after what is in use in the middle of a long pass.
func (r *reader) pause() error {
	if r.between == nil {
		return nil
	}
	return r.between()
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
	case reply.TooLarge || sizeOf(reply) > routes.MaxDocument:
		v.bad = fmt.Sprintf("it is too large: at most %d MiB are read", routes.MaxDocument>>20)
		return v, true, nil
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
