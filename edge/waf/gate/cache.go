package gate

import (
	"hash/maphash"
	"math/bits"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A cache remembers across requests what was found in values, most often: nothing. Any number of goroutines may
// use it. What stands in it never changes, so a look into it takes no lock; only what comes in does, for a moment.
//
// Values lie on shelves by their length, and a shelf has the room that its ways take if all are full of its
// longest. So no count of bytes is kept, none can be overdrawn, and who holds half of the ways holds half of the
// bytes at most: long values can drive out no short ones.
//
// Of the eight ways of a set a tenant may hold four. A flood therefore takes what is free and after that what is
// its own. To be kept at all, a value of a tenant with no way in a full set needs one that nobody asked for in
// more than a minute. Nobody can aim at a set: the hash is of a seed that does not leave the process.
type cache struct {
	seed    maphash.Seed
	salt    uint64 // what a key is mixed with
	start   time.Time
	last    atomic.Int64  // since start: when the tick began
	tick    atomic.Uint32 // see now
	shelves [len(shelfPlan)]shelf
	tags    []atomic.Uint64               // by set: a byte for each of its ways, of the hash of what is there
	ways    []atomic.Pointer[cachedValue] // cacheWays for each set
	locks   []cacheLock                   // a set's is the one at its number, modulo
}

// A cacheKey says in which place of a request a value stood, and all else that what was found depends on.
type cacheKey struct {
	row, env uint32
	share    uint32 // whose value it is; 0: it is nobody's secret
}

const (
	cacheWays  = 8
	shareWays  = cacheWays / 2 // that a tenant may hold in a set
	maxFound   = 8             // a value in which more was found is not kept
	cacheLocks = 64            // a power of two

	// maxCachedText is the length in bytes of the longest value that is kept.
	maxCachedText = 16 << 10

	// cacheOverhead is what the cache itself, its locks and the allocator's rounding of its tables take.
	cacheOverhead = 24 << 10
)

// A cachedValue is what is known of a value. Only its mark changes.
type cachedValue struct {
	key   cacheKey
	text  string
	share uint32
	mark  atomic.Uint32 // the tick when it was put; once hit: hitMark and the tick when it last was
	found [maxFound]uint16
	count uint8
	room  uint16 // bytes that its text takes
}

// valueBytes is what the allocator gives a cachedValue.
const valueBytes = 64

// hitMark is above all ticks: of two marks the lower one is that of the value which is the smaller loss.
const hitMark = 1 << 31

// A shelf is sets in a row for values of like lengths.
type shelf struct{ first, sets int }

// shelfPlan has, by shelf, the longest text, which must be what the allocator gives for it as well, four times that
// of the shelf before; and its part of the memory. Most values are short.
var shelfPlan = [...]struct{ longest, sixteenths int }{{64, 6}, {256, 4}, {1 << 10, 2}, {4 << 10, 3}, {maxCachedText, 1}}

// A cacheLock is for whoever puts a value into one of its sets, and counts what stands there.
type cacheLock struct {
	sync.Mutex
	values, bytes int
	_             [40]byte // to a line of the processor's cache, so that neighbours are not in each other's way
}

// newCache makes a cache that holds that many bytes of memory at most, its tables included. With room for
// nothing it keeps nothing.
func newCache(bytes int) *cache {
	c := &cache{seed: maphash.MakeSeed(), salt: rand.Uint64(), start: time.Now(), locks: make([]cacheLock, cacheLocks)}
	bytes = max(bytes-cacheOverhead, 0)
	sets := 0
	for i, plan := range shelfPlan {
		const tables = 8 * (cacheWays + 1)
		n := bytes / 16 * plan.sixteenths / (cacheWays*(valueBytes+plan.longest) + tables)
		c.shelves[i] = shelf{sets, n}
		sets += n
	}
	c.tags = make([]atomic.Uint64, sets)
	c.ways = make([]atomic.Pointer[cachedValue], cacheWays*sets)
	return c
}

// get returns what was found in a value, nil: nothing; false: it is not known. What it returns must not be changed.
// Whose value it is does not matter: what is in it does not depend on that.
func (c *cache) get(key cacheKey, _ uint32, text string) ([]uint16, bool) {
	set, tag, ok := c.locate(key, text)
	if !ok {
		return nil, false
	}
	for likely := tagged(c.tags[set].Load(), tag); likely != 0; likely &= likely - 1 {
		v := c.ways[set*cacheWays+bits.TrailingZeros64(likely)>>3].Load()
		if v == nil || v.key != key || v.text != text {
			continue
		}
		// Written once in a tick, or a value that all ask for would go from processor to processor.
		if mark := hitMark | c.tick.Load(); v.mark.Load() != mark {
			v.mark.Store(mark)
		}
		if v.count == 0 {
			return nil, true
		}
		return v.found[:v.count:v.count], true
	}
	return nil, false
}

// put remembers what was found in a value of a tenant, if there is room. It copies both. What is known of a value
// already stays: the key says all that it depends on.
func (c *cache) put(key cacheKey, share uint32, text string, found []uint16) {
	set, tag, ok := c.locate(key, text)
	if !ok || len(found) > maxFound {
		return
	}
	v := newCachedValue(key, share, text, found) // before the lock: the allocator may have to collect
	now := c.now()
	v.mark.Store(now)

	lock := &c.locks[set%cacheLocks]
	lock.Lock()
	defer lock.Unlock()
	way := c.wayFor(v, set, tag, now)
	if way < 0 {
		return
	}
	if old := c.ways[set*cacheWays+way].Swap(v); old != nil {
		lock.values--
		lock.bytes -= old.bytes()
	}
	lock.values++
	lock.bytes += v.bytes()
	shift := 8 * way
	c.tags[set].Store(c.tags[set].Load()&^(0xff<<shift) | uint64(tag)<<shift)
}

// locate returns the set that a value belongs to and its tag there, which is never that of a free way; false if
// it is one that is not kept.
func (c *cache) locate(key cacheKey, text string) (set int, tag uint8, ok bool) {
	if len(text) > maxCachedText {
		return 0, 0, false
	}
	const shortest = 6 // bits of the length of the first shelf's longest, less one
	s := c.shelves[(bits.Len(uint(max(len(text), 1)-1)|(1<<shortest-1))-shortest+1)/2]
	high, low := bits.Mul64(maphash.String(c.seed, text), c.salt^(uint64(key.row)<<32|uint64(key.env))^bits.RotateLeft64(uint64(key.share)*0x9e3779b97f4a7c15, 16))
	hash := high ^ low
	number, _ := bits.Mul64(hash, uint64(s.sets))
	return s.first + int(number), max(uint8(hash), 1), s.sets > 0
}

// tagged returns the high bits of the bytes of a word that are the tag, and seldom that of one more.
func tagged(word uint64, tag uint8) uint64 {
	const ones = 0x0101010101010101
	differ := word ^ ones*uint64(tag)
	return (differ - ones) &^ differ & (ones << 7)
}

// cacheTick is how long a tick lasts at least, and cachePatience after how many a value that was neither put nor
// hit in one of them may have to go: there is more than a minute in them.
const (
	cacheTick     = 15 * time.Second
	cachePatience = 4
)

// now returns the tick. Only who puts asks for the time, and moves on by one tick however long nobody did: what
// was hit meanwhile bears the mark of the tick before, and shall not be taken for forgotten.
func (c *cache) now() uint32 {
	since := int64(time.Since(c.start))
	if last := c.last.Load(); since-last >= int64(cacheTick) && c.last.CompareAndSwap(last, since) {
		return c.tick.Add(1)
	}
	return c.tick.Load()
}

func newCachedValue(key cacheKey, share uint32, text string, found []uint16) *cachedValue {
	var b strings.Builder // knows what the allocator gave
	b.Grow(len(text))
	b.WriteString(text)
	v := &cachedValue{key: key, share: share, text: b.String(), room: uint16(max(b.Cap(), 16))}
	v.count = uint8(copy(v.found[:], found))
	return v
}

func (v *cachedValue) bytes() int { return valueBytes + int(v.room) }

// wayFor returns the way of a set where a new value goes, -1 if nowhere or if it is there.
//
//  1. Where nothing is, if its tenant holds less than his share.
//  2. In place of one of the tenant's: one that was never hit, else the one that was not for longest.
//  3. Where he has none, in place of another's, chosen alike, that was neither put nor hit for cachePatience.
//  4. Else in place of one that was never hit, of a tenant who holds his whole share: two floods of values that never come again shut nobody out.
func (c *cache) wayFor(v *cachedValue, set int, tag uint8, now uint32) int {
	likely := tagged(c.tags[set].Load(), tag)
	ways := c.ways[set*cacheWays:][:cacheWays]
	held, free, own, stale := 0, -1, -1, -1
	var ownMark, staleMark uint32
	for i := range cacheWays {
		way := (int(tag) + i) % cacheWays // among equals not always the first
		old := ways[way].Load()
		if old == nil {
			free = way
			continue
		}
		mark := old.mark.Load()
		switch {
		case likely>>(8*way)&(1<<7) != 0 && old.key == v.key && old.text == v.text:
			return -1
		case old.share == v.share:
			held++
			if own < 0 || mark < ownMark {
				own, ownMark = way, mark
			}
		case now-mark&^hitMark > cachePatience && (stale < 0 || mark < staleMark):
			stale, staleMark = way, mark
		}
	}
	switch {
	case free >= 0 && held < shareWays:
		return free
	case held > 0:
		return own
	case stale >= 0:
		return stale
	}
	return crowded(ways)
}

// crowded returns a way whose value was never hit, of a tenant who holds his whole share of a full set; -1: there is none.
func crowded(ways []atomic.Pointer[cachedValue]) int {
	for way := range ways {
		v, held := ways[way].Load(), 0
		if v.mark.Load()&hitMark != 0 {
			continue
		}
		for other := range ways {
			if ways[other].Load().share == v.share {
				held++
			}
		}
		if held >= shareWays {
			return way
		}
	}
	return -1
}

// size says how many values are kept, and how many bytes of memory the cache holds.
func (c *cache) size() (entries, bytes int) {
	for i := range c.locks {
		lock := &c.locks[i]
		lock.Lock()
		entries += lock.values
		bytes += lock.bytes
		lock.Unlock()
	}
	return entries, bytes + 8*(len(c.tags)+len(c.ways))
}
