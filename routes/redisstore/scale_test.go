package redisstore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"gatehouse/internal/edgetest"
	"gatehouse/routes"
	"gatehouse/routes/routestest"
)

// manySites are so many that what does not grow with them does not count.
const manySites = 100_000

// TestScale reads GATEHOUSE_SCALE sites (2,000 without) from a real Redis and says
// what they cost. It fails if something is wrong, or if they take more memory than they may: how long things take is
// the machine's affair, too. In full size:
//
//	make scale
func TestScale(t *testing.T) {
	sites := 2000
	if n, err := strconv.Atoi(os.Getenv("GATEHOUSE_SCALE")); err == nil {
		sites = n
	}
	server := edgetest.Redis(t, "--save", "")
	fillMany(t, server, sites)
	lastGood := filepath.Join(t.TempDir(), "routes")
	s := open(t, server, "")

	heap, cpu, begin := heapBytes(), cpuTime(), time.Now()
	w := routestest.StartFollow(t, s, lastGood)
	for w.Table().Len() < sites { // Until gives up earlier
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("%d sites are ready after %v, %v of processor time", sites, since(begin), round(cpuTime()-cpu))
	each := (heapBytes() - heap) / int64(sites)
	t.Logf("each takes %d bytes of memory", each)
	if sites >= manySites && each > 400 {
		t.Errorf("a site takes %d bytes, want at most 400", each)
	}

	lookups(t, w.Table(), sites)
	changes(t, server, w, sites)
	unknown(t, w.Table()) // what saving takes meanwhile would count
	w.Stop()
	if info, err := os.Stat(lastGood); err == nil {
		t.Logf("last good routes: %d MB", info.Size()>>20)
	}
	w = nil
	runtime.GC()

	server.Stop()
	cpu, begin = cpuTime(), time.Now()
	w = routestest.StartFollow(t, s, lastGood)
	if n := w.Table().Len(); n != sites {
		t.Errorf("%d sites come back from the disk, want %d", n, sites)
	}
	t.Logf("without Redis, from the disk: %v, %v of processor time", since(begin), round(cpuTime()-cpu))
}

func lookups(t *testing.T, table *routes.Table, sites int) {
	// Of any site: what leads to it lies in memory that no cache of the processor has. Of the sites that get requests: it does.
	t.Logf("a lookup of any site takes %v", bestLookup(t, table, sites))
	t.Logf("a lookup of one of 1,000 that are asked for all the time takes %v", bestLookup(t, table, min(sites, 1000)))
}

// unknown asks for a million hosts that nobody serves.
func unknown(t *testing.T, table *routes.Table) {
	heap := heapBytes()
	for i := range 1_000_000 {
		if table.Match("unknown-"+strconv.Itoa(i)+".example") != nil {
			t.Fatal("an unknown host is answered for")
		}
	}
	if grown := heapBytes() - heap; grown > 1<<20 {
		t.Errorf("a million unknown hosts have left %d bytes", grown)
	}
}

func bestLookup(t *testing.T, table *routes.Table, sites int) time.Duration {
	hosts := make([]string, 100_000)
	for i := range hosts {
		hosts[i] = fmt.Sprintf("h%d.test", rand.IntN(sites))
	}
	best := time.Hour // of a round: others use the processor, too
	for round := range slices.Chunk(hosts, 1000) {
		begin := time.Now()
		for _, host := range round {
			if table.Match(host) == nil {
				t.Fatalf("%s is not there", host)
			}
		}
		best = min(best, time.Since(begin)/time.Duration(len(round)))
	}
	return best
}

// changes makes some changes, one after the other.
func changes(t *testing.T, server *edgetest.RedisServer, w *routestest.Followed, sites int) {
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer client.Close()
	before, begin := cpuTime(), time.Now()
	if err := w.Save(); err != nil {
		t.Fatal(err)
	}
	t.Logf("the first state is on disk after another %v, %v of processor time", since(begin), round(cpuTime()-before))
	idle, n := 0.0, 30
	if sites >= manySites {
		idle, n = idleShare(), 300
	}
	var worst, total time.Duration
	before, begin = cpuTime(), time.Now()
	for i := range n {
		host := fmt.Sprintf("h%d.test", rand.IntN(sites))
		url := fmt.Sprintf("http://127.0.0.1:%d", 10000+i)
		begin := time.Now()
		if err := client.Set(context.Background(), "vhost:"+host, `{"backends":["`+url+`"]}`, 0).Err(); err != nil {
			t.Fatal(err)
		}
		w.UntilBackend(host, url)
		worst, total = max(worst, time.Since(begin)), total+time.Since(begin)
	}
	if err := w.Save(); err != nil {
		t.Fatal(err)
	}
	cost := cpuTime() - before - time.Duration(idle*float64(time.Since(begin)))
	t.Logf("a change is live after %v, at most %v, and takes %v of processor time, its saving and this client included, and the poll, which takes %.1f %% of a processor, not",
		round(total/time.Duration(n)), round(worst), round(cost/time.Duration(n)), 100*idle)
}

// idleShare returns which part of a processor is used while nothing changes.
func idleShare() float64 {
	before, begin := cpuTime(), time.Now()
	time.Sleep(2 * time.Second) // it is measured, not waited for
	return float64(cpuTime()-before) / float64(time.Since(begin))
}

func fillMany(t *testing.T, server *edgetest.RedisServer, sites int) {
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), ReadTimeout: time.Minute, WriteTimeout: time.Minute})
	defer client.Close()
	ctx := context.Background()
	for first := 0; first < sites; first += 10_000 {
		pipe := client.Pipeline()
		for i := first; i < min(sites, first+10_000); i++ {
			pipe.RPush(ctx, fmt.Sprintf("frontend:h%d.test", i), fmt.Sprintf("t%d", i/100), fmt.Sprintf("http://10.0.%d.%d:9000", i>>8&255, i&255))
		}
		if _, err := pipe.Exec(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

func heapBytes() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// cpuTime is what this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func since(t time.Time) time.Duration     { return round(time.Since(t)) }
func round(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }
