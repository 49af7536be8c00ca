package loadtest

import (
	"errors"
	"strings"
	"testing"
)

func TestSLOsAreReadAndJudged(t *testing.T) {
	tests := []struct {
		text  string
		limit float64
		unit  string
		good  float64
		bad   float64
	}{
		{"p99<50ms", 50_000, "us", 49_999, 50_000},
		{" p99.9 <= 1.5s ", 1_500_000, "us", 1_500_000, 1_500_001},
		{"p999<100us", 100, "us", 99, 100},
		{"P50<1ms", 1000, "us", 0, 1001},
		{"mean<2ms", 2000, "us", 1, 3000},
		{"min>=1us", 1, "us", 1, 0.5},
		{"max<1s", 1e6, "us", 1, 1e6},
		{"errors<0.1%", 0.1, "%", 0.09, 0.1},
		{"errors<=0", 0, "%", 0, 0.001},
		{"errors<=0%", 0, "%", 0, 0.001},
		{"errors < 1 %", 1, "%", 0.99, 1},
		{"errors<=100%", 100, "%", 100, 100.1},
		{"p0>=1us", 1, "us", 1, 0.5},
		{"p42<1ms", 1000, "us", 999, 1000},
		{"p99.999<1ms", 1000, "us", 999, 1000},
		{"p99999<1ms", 1000, "us", 999, 1000},
		{"rate>1000", 1000, "/s", 1000.5, 1000},
		{"rate>=1000/s", 1000, "/s", 1000, 999},
	}
	for _, tt := range tests {
		s, err := ParseSLO(tt.text)
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		good, bad, missing := s.judge(tt.good, false), s.judge(tt.bad, false), s.judge(tt.good, true)
		if good.Limit != tt.limit || good.Unit != tt.unit || good.Text != strings.TrimSpace(tt.text) || good.Value != tt.good {
			t.Errorf("%s: got %+v", tt.text, good)
		}
		if good.Missed || !bad.Missed || !missing.Missed {
			t.Errorf("%s: %v missed: %v; %v missed: %v; nothing measured, missed: %v", tt.text, tt.good, good.Missed, tt.bad, bad.Missed, missing.Missed)
		}
	}
}

func TestWrongSLOsSayWhatIsWanted(t *testing.T) {
	for text, says := range map[string]string{
		"":             "want a metric",
		"p99":          "want a metric",
		"p99=50ms":     "want a metric",
		"p99<":         "want a duration",
		"p99<50":       "want a duration",
		"p99<-1ms":     "want a duration",
		"errors<1ms":   "want a number",
		"errors<-1%":   "want a number",
		"errors<nan":   "want a number",
		"rate>inf":     "want a number",
		"rate>fast":    "want a number",
		"p101<1ms":     "want p0 to p99.999, mean, min, max, errors or rate",
		"errors<1":     "with its sign, such as \"0.1%\"", // 1 %, one request or all of them?
		"errors<0.5":   "with its sign",
		"errors<150%":  "from 0% to 100%",
		"errors<0%":    "nothing is below 0: want <=0%",
		"rate<0":       "nothing is below 0",
		"rate>10%":     "want a number",
		"p100<1ms":     "the greatest latency is called max",
		"p99.9999<1ms": "unknown metric",
		"p-1<1ms":      "unknown metric",
		"p<1ms":        "unknown metric",
		"p1e1<1ms":     "unknown metric",
		"latency<50ms": "unknown metric",
	} {
		if s, err := ParseSLO(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %+v, error %v, want %q in it", text, s, err, says)
		}
	}
	var unknown *UnknownMetricError
	if _, err := ParseSLO("errorz<1%"); !errors.As(err, &unknown) || unknown.Metric != "errorz" {
		t.Errorf("got %v", err)
	}
}

// FuzzSLO: what is taken prints as it was given and is taken again, with the same meaning.
func FuzzSLO(f *testing.F) {
	for _, seed := range []string{"p99<50ms", "errors<=0.1%", "rate>1000/s", " p99.9 >= 1h ", "max<1", "<", "p<1ms"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSLO(text)
		if err != nil {
			return
		}
		again, err := ParseSLO(s.String())
		if err != nil || again != s {
			t.Fatalf("%q: %+v, then %+v (%v)", text, s, again, err)
		}
		if !(s.limit >= 0) || s.unit == "" {
			t.Fatalf("%q: %+v", text, s)
		}
	})
}
