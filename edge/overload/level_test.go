package overload

import "testing"

func TestLevelRisesAtOnceAndFallsThreePointsLower(t *testing.T) {
	for _, tc := range []struct {
		from  Level
		share float64
		want  Level
	}{
		{Normal, 0, Normal},
		{Normal, 0.849, Normal},
		{Normal, 0.85, NoKeepAlive},
		{Normal, 0.92, NoConnections},
		{Normal, 0.97, Shed},
		{Normal, 1.5, Shed},
		{NoKeepAlive, 0.83, NoKeepAlive},
		{NoKeepAlive, 0.819, Normal},
		{NoConnections, 0.90, NoConnections},
		{NoConnections, 0.88, NoKeepAlive},
		{Shed, 0.94, Shed},
		{Shed, 0.925, NoConnections},
		{Shed, 0.83, NoKeepAlive},
		{Shed, 0.5, Normal},
	} {
		if got := tc.from.next(tc.share); got != tc.want {
			t.Errorf("%v at %.3f: %v, want %v", tc.from, tc.share, got, tc.want)
		}
	}
}

func TestEveryLevelHasAName(t *testing.T) {
	names := map[string]bool{}
	for l := Normal; l <= Shed; l++ {
		names[l.String()] = true
	}
	if len(names) != 4 || names["unknown"] || Level(9).String() != "unknown" {
		t.Errorf("%v", names)
	}
}
