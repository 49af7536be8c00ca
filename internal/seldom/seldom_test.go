package seldom

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestTheFirstOfAKindIsToldAndThenHowMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var teller Teller
		tell := func(of, kind string, want bool, args ...any) {
			t.Helper()
			got, ok := teller.Tell(of, kind)
			if ok != want || !slices.Equal(got.Args(), args) {
				t.Errorf("%s of %s: %t, %v", kind, of, ok, got.Args())
			}
		}
		tell("a", "refused", true)
		for range 1000 {
			tell("a", "refused", false)
		}
		tell("a", "reset", true)
		tell("a", "reset", false)
		tell("b", "refused", true)
		time.Sleep(Every)
		tell("a", "refused", true, "suppressed", 1000, "suppressed_others", 1)
		tell("a", "refused", false)
		tell("a", "reset", true)
		time.Sleep(Every)
		tell("a", "reset", true, "suppressed_others", 1)
	})
}

// A tenant may have any number of vhosts.
func TestLinesOfAnOwnerAreBoundedWhateverTheyTell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var teller Teller
		told := 0
		var last Telling
		for i := range 10_000 {
			if got, ok := teller.Tell("a", i); ok {
				told, last = told+1, got
			}
		}
		if told != Most || fmt.Sprint(last.Args()) != "[others counted, not told, for 30s]" {
			t.Errorf("%d lines, the last with %v", told, last.Args())
		}
		time.Sleep(Every)
		if got, ok := teller.Tell("a", "x"); !ok || got.others != 10_000-Most {
			t.Errorf("then %t with %v", ok, got.Args())
		}
	})
}

func TestOwnersOfWhomNothingIsToldAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var teller Teller
		for i := range 10 * many {
			teller.Tell(fmt.Sprint(i), "x")
		}
		time.Sleep(2 * Every)
		teller.Tell("one more", "x")
		if len(teller.of) != 1 {
			t.Errorf("%d are kept", len(teller.of))
		}
	})
}
