package waf

import (
	"runtime"
	"slices"
	"testing"

	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
)

func TestPatternsOfBytesAreToldApart(t *testing.T) {
	for pattern, bytes := range map[string]bool{
		`abc`: false, `\x41`: false, `\xac\xed`: true, `\x{ac}`: true, `[\x80-\xff]`: true, `é`: false, `\xc3\xa9`: false, `\x{1F600}`: false,
		`\x`: false, `\xa`: false, `\x{`: false, `\x{a}`: false, `\xzz`: false, `\\xac`: true, "\xff": true, `\x{aczz}`: true, `\x{ac`: false, ``: false,
	} {
		if got := meansBytes(pattern); got != bytes {
			t.Errorf("%s: %v", pattern, got)
		}
	}
}

// captures is the part of a transaction that operators see.
type captures struct {
	plugintypes.TransactionState
	want   bool
	groups []string
}

func (c *captures) Capturing() bool { return c.want }

func (c *captures) CaptureField(i int, text string) {
	if i != len(c.groups) {
		panic("out of order")
	}
	c.groups = append(c.groups, text)
}

func TestRxTellsTheGroups(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		groups        []string
	}{
		{`a(b)?(c)`, "xac", []string{"ac", "", "c"}},
		{`a(b)?(c)`, "xab", nil},
		{`(1)(2)(3)(4)(5)(6)(7)(8)(9)(a)`, "123456789a", []string{"123456789a", "1", "2", "3", "4", "5", "6", "7", "8"}},
		{`\xac(.)`, "\xacz", []string{"\xacz", "z"}},
		{`\xac(.)`, "z", nil},
	} {
		op, err := newRx(plugintypes.OperatorOptions{Arguments: c.pattern})
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []bool{true, false} {
			tx := &captures{want: want}
			if got := op.Evaluate(tx, c.text); got != (c.groups != nil) {
				t.Errorf("%s on %q: %v", c.pattern, c.text, got)
			}
			if want && !slices.Equal(tx.groups, c.groups) || !want && tx.groups != nil {
				t.Errorf("%s on %q: groups %q, want %q", c.pattern, c.text, tx.groups, c.groups)
			}
		}
	}
	if _, err := newRx(plugintypes.OperatorOptions{Arguments: `a(`}); err == nil {
		t.Error("a bad pattern was taken")
	}
	if _, err := newRx(plugintypes.OperatorOptions{Arguments: `\xac(`}); err == nil {
		t.Error("a bad pattern of bytes was taken")
	}
}

// The automatons of the rules stay small, whatever comes: every request of the CRS's tests, changed ones, and
// harmless ones.
func TestAutomatonsAreBounded(t *testing.T) {
	e := sharedEngine(t)
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	g := newGenerator(sharedMaterial(t), 7)
	p := &Profile{Mode: Block, Paranoia: 4}
	requests := uint64(2000)
	if raceDetector { // tenfold the time; make waf-identity runs the rest without it
		requests = 200
	}
	before := heap()
	for number := range requests {
		x := g.exchange(number)
		said(e, p, &x, nil)
	}
	after := heap()
	t.Logf("%.1f MB more after %d requests", (float64(after)-float64(before))/1e6, requests)
	if after > before+20<<20 {
		t.Errorf("%d bytes before, %d after", before, after)
	}
	runtime.KeepAlive(g)
}
