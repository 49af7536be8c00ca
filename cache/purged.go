package cache

import (
	"encoding/binary"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"gatehouse/internal/octets"
)

const (
	// maxPurged bounds what one scope remembers of purges by URL, host, tag and group: the older half of more is merged,
	// see purges.floor.
	maxPurged = 4096
	// maxPrefixes bounds those by prefix, each of which is compared with every entry.
	maxPrefixes = 256
	// maxPrefix is the longest prefix in bytes. Of a longer one, what it begins with is purged.
	maxPrefix = 2048
	// maxInvalidated is how many groups one answer may invalidate.
	maxInvalidated = 1000
)

// purged says when something was last purged: sequences of the Store, 0: never.
type purged struct {
	hard, soft uint64
	at         int64 // of the soft one, in unix nanoseconds
}

// add makes p the later of both, of each kind.
func (p *purged) add(q purged) {
	p.hard = max(p.hard, q.hard)
	if q.soft > p.soft {
		p.soft, p.at = q.soft, q.at
	}
}

func (p *purged) last() uint64 { return max(p.hard, p.soft) }

// purges are those of one scope: a vhost, a tenant, or the whole store.
type purges struct {
	last atomic.Uint64 // sequence of the last one

	mu sync.RWMutex
	// floor concerns all that was not checked since. It rises with a purge of all, and where purges are too many to be
	// told apart: then it takes the place of the oldest. So what is purged stays so, at the cost of other entries of the
	// scope that nobody has asked for since, and that no look through the store (see lurk) has reached.
	floor    purged
	tags     purged            // the last of any tag or group, but for those of one origin
	by       map[uint64]purged // by the hash of URL, host, tag, group, or origin of any group
	prefixes []purgedPrefix
}

type purgedPrefix struct {
	host, path string
	purged
}

// note notes a purge, and returns how many there are now and whether old ones were merged.
func (p *purges) note(what *Purge, when purged) (n int, merged bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch what.Kind {
	case PurgeURL:
		host, target := cutURL(what.Arg)
		p.mark(hashOf(nameURL, host, target), when)
	case PurgeHost:
		p.mark(hashOf(nameHost, what.Arg, ""), when)
	case PurgeTag:
		p.tags.add(when)
		p.mark(hashOf(nameTag, what.Arg, ""), when)
	case PurgeGroup:
		if what.origin == "" {
			p.tags.add(when)
		} else {
			p.mark(hashOf(nameOrigin, what.origin, ""), when)
		}
		p.mark(hashOf(nameGroup, what.Arg, what.origin), when)
	case PurgePrefix:
		p.markPrefix(what.Arg, when)
	default:
		p.floor.add(when)
	}
	if len(p.by) > maxPurged {
		p.mergeNames(p.median())
		merged = true
	}
	if n := len(p.prefixes); n > maxPrefixes {
		p.mergePrefixes(p.prefixes[n/2].last()) // the last noted stand last
		merged = true
	}
	return len(p.by) + len(p.prefixes), merged
}

func (p *purges) mark(hash uint64, when purged) {
	if p.by == nil {
		p.by = map[uint64]purged{}
	}
	m := p.by[hash]
	m.add(when)
	p.by[hash] = m
}

func (p *purges) markPrefix(arg string, when purged) {
	host, path := cutURL(arg)
	path = strings.Clone(path[:min(len(path), maxPrefix)])
	i := slices.IndexFunc(p.prefixes, func(x purgedPrefix) bool { return x.host == host && x.path == path })
	if i >= 0 {
		when.add(p.prefixes[i].purged)
		p.prefixes = slices.Delete(p.prefixes, i, i+1)
	}
	p.prefixes = append(p.prefixes, purgedPrefix{strings.Clone(host), path, when})
}

// median is the sequence that half of the purges are not later than.
func (p *purges) median() uint64 {
	all := make([]uint64, 0, len(p.by))
	for _, m := range p.by {
		all = append(all, m.last())
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// settle forgets purges up to the sequence old, or all where they are many, since all that is stored has been compared with
// them. A response to a request from before them is not stored any more.
func (p *purges) settle(old, all uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	upTo := old
	if len(p.by) > maxPurged/2 || len(p.prefixes) > maxPrefixes/2 {
		upTo = all
	}
	p.mergeNames(upTo)
	p.mergePrefixes(upTo)
	if len(p.by) == 0 {
		p.by = nil // a map does not give its memory back
	}
}

// mergeNames has the floor stand for purges by name up to a sequence.
func (p *purges) mergeNames(upTo uint64) {
	for hash, m := range p.by {
		if m.last() <= upTo {
			p.floor.add(m)
			delete(p.by, hash)
		}
	}
}

// mergePrefixes is mergeNames for those by prefix.
func (p *purges) mergePrefixes(upTo uint64) {
	p.prefixes = slices.DeleteFunc(p.prefixes, func(x purgedPrefix) bool {
		if x.last() > upTo {
			return false
		}
		p.floor.add(x.purged)
		return true
	})
}

// A subject is what purges are compared with.
type subject struct {
	key          []byte
	host, target string
	tags         []uint64 // or everyTag
}

// find adds to found when sub was purged.
func (p *purges) find(sub *subject, found *purged) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	found.add(p.floor)
	if len(p.by) > 0 {
		found.add(p.by[hashOf(nameURL, sub.host, sub.target)])
		found.add(p.by[hashOf(nameHost, sub.host, "")])
		for _, tag := range sub.tags {
			found.add(p.by[tag])
		}
	}
	if isEveryTag(sub.tags) {
		found.add(p.tags)
		if len(p.by) > 0 {
			found.add(p.by[hashOf(nameOrigin, originOf(sub.key), "")])
		}
	}
	for i := range p.prefixes {
		if x := &p.prefixes[i]; x.host == sub.host && strings.HasPrefix(sub.target, x.path) {
			found.add(x.purged)
		}
	}
}

// What a hash is of: a tag is no group, whatever its text.
const (
	nameURL byte = iota
	nameHost
	nameTag
	nameGroup  // with its origin, or without
	nameOrigin // any group of it
)

// hashSeed is of this process alone: names that have the same hash cannot be prepared. Two that do are purged together.
var hashSeed = maphash.MakeSeed()

func hashOf(kind byte, a, b string) uint64 {
	var h maphash.Hash
	h.SetSeed(hashSeed)
	_ = h.WriteByte(kind) // never fails, nor do the others
	_, _ = h.WriteString(a)
	_ = h.WriteByte(0)
	_, _ = h.WriteString(b)
	return h.Sum64()
}

// urlOf reads host and target from a key that AppendKey has made. They are valid for as long as the key.
func urlOf(key []byte) (host, target string, ok bool) {
	for range 3 { // tenant, vhost, scheme
		if _, key, ok = cutKey(key); !ok {
			return "", "", false
		}
	}
	var part []byte
	if part, key, ok = cutKey(key); !ok {
		return "", "", false
	}
	host = octets.Text(part)
	part, _, ok = cutKey(key)
	return host, octets.Text(part), ok
}

// originOf is the origin that a key of AppendKey belongs to, but for the port, of which keys do not tell: its scheme and host.
func originOf(key []byte) string {
	var parts [4][]byte // tenant, vhost, scheme, host
	for i := range parts {
		var ok bool
		if parts[i], key, ok = cutKey(key); !ok {
			return "?" // of no response
		}
	}
	return string(parts[2]) + "://" + string(parts[3])
}

// cutKey cuts the first part from what is left of a key; see appendPart.
func cutKey(key []byte) (part, rest []byte, ok bool) {
	n, size := binary.Uvarint(key)
	if size <= 0 || n > uint64(len(key)-size) {
		return nil, nil, false
	}
	key = key[size:]
	return key[:n], key[n:], true
}
