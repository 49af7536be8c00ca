package waf

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	wafrules "gatehouse/waf-rules"
)

// What is said of the gate is what the metric says.
func TestGateStatus(t *testing.T) {
	const plain = `SecRule ARGS "@rx ." "id:900001,phase:1,pass,nolog"` // and none of the base settings
	for name, c := range map[string]struct {
		mode       GateMode
		directives string
		missed     int
		want       GateStatus
		problem    string // its beginning
	}{
		"on":               {mode: GateOn, want: GateStatus{Mode: GateOn, Made: true}},
		"shadow":           {mode: GateShadow, want: GateStatus{Mode: GateShadow, Made: true}},
		"off":              {mode: GateOff, want: GateStatus{Mode: GateOff}},
		"missed":           {mode: GateOn, missed: 942100, want: GateStatus{Mode: GateOn, Made: true, Missed: 942100}, problem: "the gate was switched off, since it missed rule 942100: "},
		"missed in shadow": {mode: GateShadow, missed: 942100, want: GateStatus{Mode: GateShadow, Made: true, Missed: 942100}, problem: "the gate was switched off, since it missed rule 942100: "},
		"unfit":            {mode: GateOn, directives: plain, want: GateStatus{Mode: GateOn, Unfit: "the rules lack the base settings"}, problem: "the gate cannot be used with these rules, all of them run on each request: the rules lack the base settings"},
		"unfit and off":    {mode: GateOff, directives: plain, want: GateStatus{Mode: GateOff}},
	} {
		t.Run(name, func(t *testing.T) {
			directives := c.directives
			if directives == "" {
				directives = wafrules.BaseDirectives
			}
			metrics := prometheus.NewRegistry()
			e, err := newEngine(Options{Gate: c.mode, Registerer: metrics}, directives)
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			if c.missed != 0 {
				e.current.Load().screening.made.Load().broken.Store(&c.missed)
			}
			got := e.Gate()
			if got != c.want || !strings.HasPrefix(got.Problem(), c.problem) || (c.problem == "") != (got.Problem() == "") {
				t.Errorf("got %+v %q, want %+v %q…", got, got.Problem(), c.want, c.problem)
			}
			if active := c.mode == GateOn && c.problem == ""; got.Active() != active || gaugeOf(t, metrics, "gatehouse_waf_gate_active") != map[bool]float64{true: 1}[active] {
				t.Errorf("active is %t and the metric %v, want %t", got.Active(), gaugeOf(t, metrics, "gatehouse_waf_gate_active"), active)
			}
		})
	}
}

// gaugeOf returns the value of a gauge without labels.
func gaugeOf(t *testing.T, metrics prometheus.Gatherer, name string) float64 {
	t.Helper()
	families, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.Metric[0].GetGauge().GetValue()
		}
	}
	t.Fatal("no metric", name)
	return 0
}
