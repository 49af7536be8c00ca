package gate

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
)

const testCache = 8 << 20

// foundIn is what the tests find in a value: of one in two nothing.
func foundIn(key cacheKey, text string) (out []uint16) {
	h := fnv.New32a()
	fmt.Fprint(h, key.row, key.env, text)
	if sum := h.Sum32(); sum&1 == 0 {
		for i := range 1 + sum>>1%maxFound {
			out = append(out, uint16(sum>>i))
		}
	}
	return out
}

// mustBeSound checks what always holds of a cache.
func mustBeSound(t *testing.T, c *cache) {
	t.Helper()
	values, bytes := 0, 8*(len(c.tags)+len(c.ways))
	for set := range c.tags {
		held := map[uint32]int{}
		for way := range cacheWays {
			tag := uint8(c.tags[set].Load() >> (8 * way))
			v := c.ways[set*cacheWays+way].Load()
			if v == nil {
				if tag != 0 {
					t.Fatalf("set %d: tag %#x of nothing", set, tag)
				}
				continue
			}
			values++
			bytes += v.bytes()
			held[v.share]++
			if at, want, _ := c.locate(v.key, v.text); at != set || tag != want || tag == 0 {
				t.Fatalf("%.40q is in set %d with tag %#x, which has %d and %#x", v.text, at, want, set, tag)
			}
		}
		for share, n := range held {
			if n > shareWays {
				t.Fatalf("set %d: tenant %d holds %d ways", set, share, n)
			}
		}
	}
	if n, size := c.size(); n != values || size != bytes {
		t.Fatalf("size says %d values in %d bytes, there are %d in %d", n, size, values, bytes)
	}
}

// Whatever is put in whatever order, what is known of a value is what was put for it.
func TestCacheKnowsWhatWasPut(t *testing.T) {
	type value struct {
		key  cacheKey
		text string
	}
	random := rand.New(rand.NewPCG(1, 2))
	c := newCache(1 << 20)
	put := map[value]bool{}
	known := 0
	for range 100_000 {
		v := value{cacheKey{row: random.Uint32N(3), env: random.Uint32N(2)}, strings.Repeat("v", random.IntN(80)) + fmt.Sprint(random.IntN(20))}
		if random.IntN(20) == 0 {
			v.text = strings.Repeat("w", random.IntN(64)*maxCachedText/60)
		}
		if random.IntN(2) == 0 {
			c.put(v.key, random.Uint32N(5), v.text, foundIn(v.key, v.text))
			put[v] = true
			continue
		}
		found, ok := c.get(v.key, 0, v.text)
		if !ok {
			continue
		}
		known++
		if want := foundIn(v.key, v.text); !put[v] || !slices.Equal(found, want) || (found == nil) != (want == nil) {
			t.Fatalf("%v %.40q: %v, want %v, put: %v", v.key, v.text, found, want, put[v])
		}
	}
	if known < 10_000 {
		t.Errorf("only %d were known", known)
	}
	mustBeSound(t, c)
}

func TestCacheTellsValuesApart(t *testing.T) {
	c := newCache(testCache)
	c.put(cacheKey{row: 1, env: 2}, 3, "text", []uint16{4})
	for _, test := range []struct {
		key  cacheKey
		text string
		want bool
	}{
		{cacheKey{row: 1, env: 2}, "text", true},
		{cacheKey{row: 2, env: 1}, "text", false},
		{cacheKey{row: 1, env: 3}, "text", false},
		{cacheKey{row: 2, env: 2}, "text", false},
		{cacheKey{row: 1, env: 2}, "Text", false},
		{cacheKey{row: 1, env: 2}, "tex", false},
		{cacheKey{row: 1, env: 2}, "text\x00", false},
		{cacheKey{row: 1, env: 2}, "", false},
	} {
		for _, share := range []uint32{3, 7} { // whose it is does not matter
			if _, ok := c.get(test.key, share, test.text); ok != test.want {
				t.Errorf("%v %q: %v", test.key, test.text, ok)
			}
		}
	}
}

// A key whose hash is as good as that of another is told apart all the same.
func TestCacheComparesKeys(t *testing.T) {
	c := newCache(cacheOverhead + 4096)
	c.put(cacheKey{}, 0, "text", nil)
	set, tag, _ := c.locate(cacheKey{}, "text")
	for like, n := 0, uint32(1); like < 20; n++ {
		for _, key := range []cacheKey{{row: n}, {env: n}} {
			if s, g, _ := c.locate(key, "text"); s != set || g != tag {
				continue
			}
			like++
			if _, ok := c.get(key, 0, "text"); ok {
				t.Fatalf("%v is taken for another", key)
			}
		}
	}
}

func TestCacheLimits(t *testing.T) {
	nine := make([]uint16, maxFound+1)
	for _, test := range []struct {
		name   string
		bytes  int
		length int
		found  []uint16
		want   bool
	}{
		{"no room", 0, 4, nil, false},
		{"less than no room", -1, 4, nil, false},
		{"little room", cacheOverhead + 4096, 4, nil, true},
		{"little room, long", cacheOverhead + 4096, 4096, nil, false},
		{"empty", testCache, 0, nil, true},
		{"longest", testCache, maxCachedText, nil, true},
		{"too long", testCache, maxCachedText + 1, nil, false},
		{"most found", testCache, 4, nine[:maxFound], true},
		{"too much found", testCache, 4, nine, false},
	} {
		c := newCache(test.bytes)
		text := strings.Repeat("x", test.length)
		c.put(cacheKey{}, 0, text, test.found)
		found, ok := c.get(cacheKey{}, 0, text)
		if ok != test.want || ok && !slices.Equal(found, test.found) {
			t.Errorf("%s: %v, %v", test.name, found, ok)
		}
		mustBeSound(t, c)
	}
}

// A text of each length lies on the first shelf that is high enough.
func TestShelfOfLength(t *testing.T) {
	c := newCache(testCache)
	text := strings.Repeat("x", maxCachedText)
	shelf := 0
	for n := range maxCachedText + 1 {
		if n > shelfPlan[shelf].longest {
			shelf++
		}
		set, _, ok := c.locate(cacheKey{}, text[:n])
		if s := c.shelves[shelf]; !ok || set < s.first || set >= s.first+s.sets {
			t.Fatalf("%d bytes: set %d, which is not on the shelf %v", n, set, s)
		}
	}
}

func TestTagged(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 10_000 {
		word, tag := random.Uint64()&random.Uint64(), uint8(1+random.IntN(255))
		way := random.IntN(cacheWays)
		word = word&^(0xff<<(8*way)) | uint64(tag)<<(8*way)
		if got := tagged(word, tag); got>>(8*way)&0x80 == 0 || got&^0x8080808080808080 != 0 {
			t.Fatalf("%#x, tag %#x: %#x", word, tag, got)
		}
	}
	if got := tagged(0, 1); got != 0 {
		t.Errorf("of free ways: %#x", got)
	}
}

func TestCacheCopies(t *testing.T) {
	c := newCache(testCache)
	text, found := []byte("some text"), []uint16{1, 2}
	c.put(cacheKey{}, 0, unsafe.String(&text[0], len(text)), found)
	text[0], found[0] = 'X', 9
	got, ok := c.get(cacheKey{}, 0, "some text")
	if !ok || !slices.Equal(got, []uint16{1, 2}) {
		t.Errorf("%v, %v", got, ok)
	}
	one, other := append(got, 7), append(got, 8)
	if one[2] != 7 || other[2] != 8 {
		t.Error("who appends to what was found writes into the cache")
	}
}

// However long the values are, the heap holds no more than was allowed, and what size says.
func TestCacheMemory(t *testing.T) {
	heap := func() int {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	text := strings.Repeat("x", maxCachedText)
	sizes := []int{1 << 20, testCache}
	if raceDetector {
		sizes = sizes[:1]
	}
	for _, bytes := range sizes {
		for _, test := range []struct {
			name   string
			length func(i int) int
		}{
			{"short", func(int) int { return 20 }},
			{"tiny", func(int) int { return 4 }},
			{"longest of each shelf", func(i int) int {
				shelf := 0
				for left := i%16 - shelfPlan[0].sixteenths; left >= 0; left -= shelfPlan[shelf].sixteenths {
					shelf++
				}
				return shelfPlan[shelf].longest
			}},
			{"any", func(i int) int { return i * 7919 % (maxCachedText + 1) }},
			{"of a shelf more", func(i int) int { return min(shelfPlan[i%len(shelfPlan)].longest+1, maxCachedText) }},
		} {
			before := heap()
			c := newCache(bytes)
			for i := range bytes / 64 {
				c.put(cacheKey{row: uint32(i)}, uint32(i%3), text[:test.length(i)], nil)
			}
			held := heap() - before
			values, size := c.size()
			t.Logf("%s in %d KiB: %d KiB, %d values in %d KiB", test.name, bytes>>10, held>>10, values, size>>10)
			if held > bytes || size > bytes {
				t.Errorf("%s: %d bytes in a cache of %d, which says %d", test.name, held, bytes, size)
			}
			if d := held - size; d < -size/20-cacheOverhead || d > size/20+cacheOverhead {
				t.Errorf("%s: %d bytes, and the cache says %d", test.name, held, size)
			}
			mustBeSound(t, c)
		}
	}
}

// commonValues are distinct, of 10 to 60 bytes.
func commonValues(n int) (out []string) {
	for i := range n {
		text := fmt.Sprintf("%010d", i)
		out = append(out, text+strings.Repeat("x", i%51))
	}
	return out
}

// warm puts values of a tenant and asks for them as often as requests do. It returns those that were kept.
func warm(c *cache, share uint32, texts []string) (kept []string) {
	for range 3 {
		for _, text := range texts {
			if _, ok := c.get(cacheKey{}, share, text); !ok {
				c.put(cacheKey{}, share, text, nil)
			}
		}
	}
	for _, text := range texts {
		if _, ok := c.get(cacheKey{}, share, text); ok {
			kept = append(kept, text)
		}
	}
	return kept
}

// flood puts unique values of a tenant.
func flood(c *cache, share uint32, n, length int) {
	pad := strings.Repeat("f", length)
	for i := range n {
		c.put(cacheKey{}, share, fmt.Sprintf("%d-%d-%s", share, i, pad)[:length], nil)
	}
}

// Alone on a node, a tenant has room for the values that its visitors have in common.
func TestCacheOfOneTenant(t *testing.T) {
	c := newCache(testCache)
	if kept := warm(c, 1, commonValues(5000)); len(kept) < 4750 {
		t.Errorf("%d of 5000 values are kept", len(kept))
	}
}

// A flood takes nothing from others, whether it was there first or not, and however long its values are.
func TestFloodTakesNothingFromOthers(t *testing.T) {
	n := 1_000_000
	if testing.Short() || raceDetector {
		n = 100_000
	}
	for _, test := range []struct {
		name      string
		n, length int
	}{
		{"short", n, 20},
		{"middle", n / 10, 200},
		{"longest", n / 50, maxCachedText},
	} {
		texts := commonValues(500)
		for i := range 10 {
			texts = append(texts, fmt.Sprintf("%05d", i)+strings.Repeat("y", 200), fmt.Sprintf("%05d", i)+strings.Repeat("z", 10_000))
		}
		t.Run(test.name+" after", func(t *testing.T) {
			c := newCache(testCache)
			kept := warm(c, 1, texts)
			flood(c, 2, test.n, test.length)
			for _, text := range kept {
				if _, ok := c.get(cacheKey{}, 1, text); !ok {
					t.Errorf("%.40q was evicted", text)
				}
			}
			if len(kept) < 510 {
				t.Errorf("%d of %d were kept", len(kept), len(texts))
			}
		})
		t.Run(test.name+" before", func(t *testing.T) {
			c := newCache(testCache)
			flood(c, 2, test.n, test.length)
			if kept := warm(c, 1, texts); len(kept) < 510 {
				t.Errorf("%d of %d are kept", len(kept), len(texts))
			}
		})
	}
}

// oneSet returns texts that lie in one set.
func oneSet(c *cache, n int) (out []string) {
	want := -1
	for i := 0; len(out) < n; i++ {
		text := fmt.Sprint("value ", i)
		if set, _, _ := c.locate(cacheKey{}, text); want < 0 || set == want {
			want = set
			out = append(out, text)
		}
	}
	return out
}

func knows(c *cache, text string) bool {
	set, _, _ := c.locate(cacheKey{}, text)
	for way := range cacheWays {
		if v := c.ways[set*cacheWays+way].Load(); v != nil && v.text == text {
			return true
		}
	}
	return false
}

// pass lets time go by while others put.
func pass(c *cache, ticks int) {
	for range ticks {
		time.Sleep(cacheTick)
		c.now()
	}
}

// Two tenants that flood the cache shut nobody out.
func TestCacheHasRoomForAThirdTenant(t *testing.T) {
	c := newCache(testCache)
	texts := oneSet(c, cacheWays+1)
	for n := range cacheWays {
		c.put(cacheKey{}, uint32(n%2), texts[n], nil)
	}
	for n := 1; n < cacheWays; n++ {
		c.get(cacheKey{}, 0, texts[n])
	}
	c.put(cacheKey{}, 2, texts[cacheWays], nil)
	if !knows(c, texts[cacheWays]) || knows(c, texts[0]) {
		t.Errorf("the third's is kept: %t, the one that was never hit: %t", knows(c, texts[cacheWays]), knows(c, texts[0]))
	}
}

func TestCacheReplaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(testCache)
		texts := oneSet(c, 2*cacheWays)
		put := func(share uint32, number int) { c.put(cacheKey{}, share, texts[number], nil) }
		hit := func(numbers ...int) {
			for _, n := range numbers {
				c.get(cacheKey{}, 0, texts[n])
			}
		}
		mustHave := func(when string, numbers ...int) {
			t.Helper()
			for n, text := range texts {
				if want := slices.Contains(numbers, n); knows(c, text) != want {
					t.Errorf("%s: value %d is kept: %v", when, n, !want)
				}
			}
		}
		put(1, 0)
		put(1, 1)
		put(1, 3)
		hit(0, 1, 3)
		pass(c, 1)
		put(1, 2)
		put(1, 4)
		mustHave("the one that was never hit", 0, 1, 3, 4)
		hit(0, 3, 4)
		pass(c, 1)
		put(1, 5)
		mustHave("the one not hit for longest", 0, 3, 4, 5)

		for n := 6; n < 10; n++ {
			put(2, n)
		}
		hit(5, 6, 7, 8, 9)
		put(3, 10)
		mustHave("no way for a third tenant", 0, 3, 4, 5, 6, 7, 8, 9)
		pass(c, cachePatience)
		hit(0, 3, 4, 5, 7, 8, 9)
		put(3, 10)
		mustHave("not yet", 0, 3, 4, 5, 6, 7, 8, 9)
		pass(c, 1)
		put(3, 10)
		mustHave("one that nobody wants", 0, 3, 4, 5, 7, 8, 9, 10)
		put(3, 11)
		mustHave("his own, in a full set", 0, 3, 4, 5, 7, 8, 9, 11)
		put(1, 11)
		mustHave("another's value again", 0, 3, 4, 5, 7, 8, 9, 11)
		mustBeSound(t, c)
	})
}

// What was hit while nothing was put is not taken for forgotten when at last something is.
func TestCacheClockAfterPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(testCache)
		texts := oneSet(c, cacheWays+1)
		for n := range cacheWays {
			c.put(cacheKey{}, uint32(n/shareWays), texts[n], nil)
		}
		for range 100 {
			time.Sleep(time.Minute)
			for _, text := range texts {
				c.get(cacheKey{}, 0, text)
			}
		}
		c.put(cacheKey{}, 9, texts[cacheWays], nil)
		if knows(c, texts[cacheWays]) {
			t.Error("it drove out a value that was just hit")
		}
	})
}

func TestCacheGetAllocatesNothing(t *testing.T) {
	c := newCache(testCache)
	texts := commonValues(100)
	for _, text := range texts {
		c.put(cacheKey{}, 0, text, []uint16{1})
	}
	i := 0
	if n := testing.AllocsPerRun(1000, func() {
		if _, ok := c.get(cacheKey{}, 0, texts[i%len(texts)]); !ok {
			t.Error("not kept")
		}
		c.get(cacheKey{row: 1}, 0, texts[i%len(texts)])
		i++
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Goroutines that put, replace and ask for the same values see none that is not what was put.
func TestCacheOfManyGoroutines(t *testing.T) {
	c := newCache(128 << 10)
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			random := rand.New(rand.NewPCG(5, uint64(g)))
			for range 10_000 {
				key, text := cacheKey{row: random.Uint32N(2)}, fmt.Sprint("value ", random.IntN(2000))
				if found, ok := c.get(key, uint32(g), text); !ok {
					c.put(key, uint32(g), text, foundIn(key, text))
				} else if want := foundIn(key, text); !slices.Equal(found, want) {
					t.Errorf("%v %q: %v, want %v", key, text, found, want)
				}
				if random.IntN(1000) == 0 {
					c.size()
				}
			}
		})
	}
	all.Wait()
	mustBeSound(t, c)
}
