package waf

import (
	"crypto/sha256"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	wafrules "gatehouse/waf-rules"
	"gatehouse/waf-rules/crstest"
)

// The engine with its own @rx, compiled before ours is put into its registry: what ours must be identical
// with. (What is mended of its parsers and of values of one name is mended in both: without, it differs from itself.)
var (
	stock      *Engine
	stockSetup *Engine // with the CRS's limits on; nil where GATEHOUSE_IDENTITY asks for nothing
	errStock   error
)

func TestMain(m *testing.M) {
	install := installRx
	installRx = func() {}
	stock, errStock = newEngine(Options{Gate: GateOff}, wafrules.Embedded().Directives())
	if errStock == nil && os.Getenv("GATEHOUSE_IDENTITY") != "" {
		stockSetup, errStock = newEngine(Options{Gate: GateOff}, crstest.Setup+"\n"+wafrules.Embedded().Directives())
	}
	installRx = install
	goleak.VerifyTestMain(m)
}

// identityRequests is how many requests are compared: 1 % of what make waf-identity does, unless
// GATEHOUSE_IDENTITY says otherwise.
func identityRequests(t *testing.T) int {
	t.Helper()
	if raceDetector { // tenfold the time; make test runs the rest without it
		return identitySetting(t, "GATEHOUSE_IDENTITY", 100)
	}
	return identitySetting(t, "GATEHOUSE_IDENTITY", 1000)
}

func identitySetting(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s=%q: %v", name, text, err)
	}
	return n
}

// Whatever is sent, and whatever a tenant's tuning, our engine says what the engine as it comes says: the
// same rules in the same order, on the same targets and with the same scores, and the same verdict, at every
// paranoia level.
//
// A failure names the number of its exchange, which is made of nothing but that number and
// GATEHOUSE_IDENTITY_SEED: with GATEHOUSE_IDENTITY_FIRST=number and GATEHOUSE_IDENTITY=1 it is compared alone.
func TestIdentityWithTheEngineAsItComes(t *testing.T) {
	if errStock != nil {
		t.Fatal(errStock)
	}
	want := identityRequests(t)
	if want >= 10_000 { // the garbage of the engine as it comes, half a megabyte a request
		defer debug.SetGCPercent(debug.SetGCPercent(400))
	}
	c := newComparison(t, want, pairOf(t, sharedEngine(t), stock))
	if stockSetup != nil {
		ours, err := crsEngine()
		if err != nil {
			t.Fatal(err)
		}
		c.pairs = append(c.pairs, pairOf(t, ours, stockSetup))
	}
	c.differs = func(text string) {
		if c.different <= 20 {
			t.Error(text)
		}
	}
	c.run()
	t.Logf("%d exchanges, %d different; of %v at paranoia 1 to 4, %v have a match", len(c.seen), c.different, c.compared[1:], c.matched[1:])
	if want >= 10_000 {
		t.Logf("%d rules matched, and never: %v", len(c.rules), c.never())
	}
	for level, n := range c.matched[1:] {
		if all := c.compared[level+1]; want >= 100 && n*100 < 30*all {
			t.Errorf("only %d of %d exchanges have a match at paranoia %d", n, all, level+1)
		}
	}
}

// The test itself sees what it is for: an engine that lacks rules, for requests or for answers, or has one that looks at
// less, or gives a score that is wrong.
func TestIdentityIsNotThatOfAnotherEngine(t *testing.T) {
	if errStock != nil || raceDetector {
		t.Skip("it takes half a minute")
	}
	for _, change := range []string{
		"SecRuleRemoveById 942100", "SecRuleRemoveById 951100-951999", `SecRuleUpdateTargetById 942100-942199 "!REQUEST_COOKIES"`,
		`SecAction "id:999998,phase:1,pass,nolog,setvar:tx.inbound_anomaly_score_pl1=+1"`,
	} {
		other, err := newEngine(Options{}, wafrules.Embedded().Directives()+change)
		if err != nil {
			t.Fatal(err)
		}
		c := newComparison(t, 5000, pairOf(t, other, stock))
		c.differs = func(string) { c.want = 0 } // that is enough
		c.run()
		t.Logf("with %s: %d of %d exchanges differ", change, c.different, len(c.seen))
		if c.different == 0 {
			t.Errorf("with %s: not noticed", change)
		}
		if err := other.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A comparison of our engine with the engine as it comes.
type comparison struct {
	differs  func(text string) // is called while mu is held
	pairs    []pair
	material *material
	seed     uint64
	want     int
	number   atomic.Uint64 // of the last exchange that was made

	mu                sync.Mutex
	seen              map[[sha256.Size]byte]struct{}
	compared, matched [5]int // by paranoia level
	rules             map[int]int
	different         int
}

// A pair is an engine of ours and the one as it comes, each with profiles of its own, since what is compiled of
// them belongs to one engine.
type pair struct {
	ours, stock         *Engine
	ofOurs, ofTheOthers identityProfiles
}

func pairOf(t testing.TB, ours, stock *Engine) pair {
	return pair{ours, stock, newIdentityProfiles(t), newIdentityProfiles(t)}
}

func newComparison(t *testing.T, want int, p pair) *comparison {
	c := &comparison{
		pairs: []pair{p}, want: want, material: sharedMaterial(t),
		seed:  uint64(identitySetting(t, "GATEHOUSE_IDENTITY_SEED", 7)),
		seen:  map[[sha256.Size]byte]struct{}{},
		rules: map[int]int{},
	}
	c.number.Store(uint64(identitySetting(t, "GATEHOUSE_IDENTITY_FIRST", 1)) - 1)
	return c
}

// run compares until enough different exchanges were.
func (c *comparison) run() {
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			g := newGenerator(c.material, c.seed)
			for {
				number := c.number.Add(1)
				x := g.exchange(number)
				fresh, enough := c.admit(&x)
				if enough {
					return
				}
				if fresh {
					c.compare(number, &x)
				}
			}
		})
	}
	workers.Wait()
}

// admit reports whether an exchange was not yet compared at its paranoia level, and whether enough were.
func (c *comparison) admit(x *exchange) (fresh, enough bool) {
	key := x.digest()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.seen) >= c.want {
		return false, true
	}
	before := len(c.seen)
	c.seen[key] = struct{}{}
	return len(c.seen) > before, false
}

func (c *comparison) compare(number uint64, x *exchange) {
	p := &c.pairs[0]
	if number%5 == 0 {
		p = &c.pairs[len(c.pairs)-1]
	}
	ours, wanted := p.both(x, c.material.chains)
	same := ours.text == wanted.text
	if same && number%3 == 0 { // what it may remember of the first time changes nothing
		ours = said(p.ours, p.ofOurs.of(x), x, c.material.chains)
		same = ours.text == wanted.text
	}
	// Some chains capture, and depend on the order of a map (v3.8.1): the engine does not always agree with
	// itself. Then what ours has said once is what the other has said once.
	if !same {
		said := [2]map[string]bool{{ours.text: true}, {wanted.text: true}}
		for try := 0; try < 12 && !same; try++ {
			a, b := p.both(x, c.material.chains)
			said[0][a.text], said[1][b.text] = true, true
			same = said[1][a.text] || said[0][b.text]
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.compared[x.paranoia]++
	if len(wanted.rules) > 0 {
		c.matched[x.paranoia]++
	}
	for _, id := range wanted.rules {
		c.rules[id]++
	}
	if same {
		return
	}
	c.different++
	c.differs(fmt.Sprintf("exchange %d, %s\n got %s\nwant %s", number, x, ours.text, wanted.text))
}

// never are the rules that could have matched, and did not in all the run.
func (c *comparison) never() (out []int) {
	for _, rule := range c.pairs[0].ours.Rules() {
		if c.rules[rule.ID] == 0 && rule.Message != "" && !rule.Bookkeeping {
			out = append(out, rule.ID)
		}
	}
	return out
}

// both returns what our engine says and what the engine as it comes says.
func (p *pair) both(x *exchange, chains map[int]bool) (ours, wanted report) {
	return said(p.ours, p.ofOurs.of(x), x, chains), said(p.stock, p.ofTheOthers.of(x), x, chains)
}

func (x *exchange) digest() [sha256.Size]byte {
	return sha256.Sum256(fmt.Appendf(nil, "%d %q %d %t %+v", x.paranoia, x.Request, x.length, x.cut, x.answer))
}
