package edge

import (
	"reflect"
	"testing"
	"time"
)

// A limit that somebody adds and forgets to give a default would be no limit.
func TestEveryLimitHasADefault(t *testing.T) {
	v := reflect.ValueOf(Limits{}.withDefaults())
	for f, value := range v.Fields() {
		if f.Name != "Connections" && value.IsZero() { // that one is the machine's
			t.Errorf("%s has no default", f.Name)
		}
	}
}

func TestLimitsThatAreSetStay(t *testing.T) {
	given := Limits{Header: 1, Body: -1, ConnectionsPerIP: -1, Idle: time.Second, MinRate: -1, DrainGrace: time.Minute}
	got := given.withDefaults()
	if got.Header != 1 || got.Body != -1 || got.ConnectionsPerIP != -1 || got.Idle != time.Second || got.MinRate != -1 || got.DrainGrace != time.Minute {
		t.Errorf("%+v", got)
	}
	if got.Target != 8<<10 || got.Stall != 30*time.Second {
		t.Errorf("the others got no default: %+v", got)
	}
	if again := got.withDefaults(); again != got {
		t.Errorf("applying the defaults twice changes %+v to %+v", got, again)
	}
}
