package waf

import (
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	wafrules "gatehouse/waf-rules"
)

// slackRules are those of the CRS that have room in a list of excluded targets as they are compiled,
// which is where v3.8.1 writes while requests run. See slack.go.
var slackRules = []int{920274, 942340, 942420, 942421}

// ruleText returns the text of rules of the CRS, as it stands there.
func ruleText(t testing.TB, ids ...int) string {
	t.Helper()
	var all strings.Builder
	for _, name := range []string{"@owasp_crs/REQUEST-920-PROTOCOL-ENFORCEMENT.conf", "@owasp_crs/REQUEST-942-APPLICATION-ATTACK-SQLI.conf"} {
		text, err := fs.ReadFile(wafrules.Embedded().FS(), name)
		if err != nil {
			t.Fatal(err)
		}
		all.WriteString("\n" + strings.ReplaceAll(string(text), "\\\n", ""))
	}
	var out string
	for _, id := range ids {
		for line := range strings.Lines(all.String()) {
			if strings.HasPrefix(line, "SecRule ") && strings.Contains(line, `"id:`+strconv.Itoa(id)+",") {
				out += line
			}
		}
	}
	if got := strings.Count(out, "SecRule "); got != len(ids) {
		t.Fatalf("%d of the rules %v were found", got, ids)
	}
	return out
}

// Two tenants exclude different targets of the same rules, at the same time: neither ever gets
// the other's exclusion. APART_TRIES=600000 is the long form.
func TestOneTenantsExclusionNeverOpensAnothersDoor(t *testing.T) {
	tries := 6000
	if v := os.Getenv("APART_TRIES"); v != "" {
		var err error
		if tries, err = strconv.Atoi(v); err != nil {
			t.Fatal(err)
		}
	}
	e := smallEngine(t, ruleText(t, slackRules...))
	excluding := func(name string) *Profile {
		var list []Exclusion
		for _, target := range []string{"ARGS:", "REQUEST_COOKIES:", "REQUEST_HEADERS:"} {
			list = append(list, Exclusion{Rules: [][2]int32{{1, 999999}}, Target: target + name})
		}
		return &Profile{Mode: Block, Paranoia: 4, Exclusions: NewExclusions(list)}
	}
	// The same attack on both names; each tenant has one of them excluded.
	attack := sample{target: "/?p-a=in+(+select+*+from&p-b=in+(+select+*+from", header: [][2]string{
		{"Cookie", "p-a=~~~~~~~~~; p-b=~~~~~~~~~"}, {"P-A", "{}"}, {"P-B", "{}"},
	}}
	var group sync.WaitGroup
	for i := range max(4, runtime.GOMAXPROCS(0)) {
		own, other := "p-a", "p-b"
		if i%2 == 1 {
			own, other = other, own
		}
		p := excluding(own)
		group.Go(func() {
			wrong := 0
			for range tries / 4 {
				seen := map[int]bool{}
				for _, m := range inspect(e, p, attack).matches {
					name := strings.ToLower(m.Target[strings.Index(m.Target, ":")+1:])
					switch name {
					case own:
						wrong++
					case other:
						seen[m.ID] = true
					}
				}
				if len(seen) != len(slackRules) {
					wrong++
				}
			}
			if wrong > 0 {
				t.Errorf("the tenant that excludes %s: %d of %d inspections are wrong", own, wrong, tries/4)
			}
		})
	}
	group.Wait()
}

// typical is the tuning of a tenant with a few false positives.
func typical(n int) *Profile {
	return &Profile{
		Mode: Block, Paranoia: 2, InboundThreshold: 10 + n%50, OutboundThreshold: 8,
		Exclusions: NewExclusions([]Exclusion{
			{Rules: [][2]int32{{942100, 942100}, {942120, 942120}, {920230, 920230}}},
			{Rules: one(932120), Target: "ARGS:icon"},
			{Rules: one(941100), Target: "ARGS:comment"},
		}),
	}
}

// A tenant's tuning is at most 1 KB, exclusions and their compiled form included.
func TestTuningTakesLittleMemory(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector has memory of its own")
	}
	const tenants = 10_000
	e := sharedEngine(t)
	profiles := make([]*Profile, tenants)
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // what pools hold goes with the second
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	e.Begin(typical(0), "warm").Close()
	each := 2048.0
	for try := 0; try < 3 && each > 1024; try++ { // what others have left behind goes meanwhile
		clear(profiles)
		before := heap()
		for i := range profiles {
			profiles[i] = typical(i)
			e.Begin(profiles[i], "x").Close()
		}
		each = (float64(heap()) - float64(before)) / tenants
		t.Logf("%.0f bytes each", each)
	}
	if each > 1024 {
		t.Errorf("a tenant's tuning takes %.0f bytes, want at most 1024", each)
	}
	runtime.KeepAlive(profiles)
}
