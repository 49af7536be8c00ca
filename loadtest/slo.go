package loadtest

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// An SLO is a service level that a load must find: "p99<50ms", "errors<0.1%",
// "rate>1000". ParseSLO makes it; the zero value is none.
type SLO struct {
	text    string
	metric  string
	percent float64 // of metric "p"
	op      string
	limit   float64 // in the unit
	unit    string
}

// String is the text as given.
func (s SLO) String() string { return s.text }

// An UnknownMetricError says that an SLO names something that is not measured.
type UnknownMetricError struct{ Metric string }

func (e *UnknownMetricError) Error() string {
	return fmt.Sprintf("unknown metric %q: want one of %s", e.Metric, strings.Join(Metrics(), ", "))
}

// Metrics are the names that an SLO may begin with; p with any number up to 100
// besides those here.
func Metrics() []string {
	return []string{"p50", "p75", "p90", "p95", "p99", "p99.9", "mean", "min", "max", "errors", "rate"}
}

// ParseSLO reads a metric, one of < <= > >=, and a value: a duration for latencies
// ("50ms"), a share for errors ("0.1%"), requests per second for rate ("1000",
// "1000/s"). Errors are requests without an answer, with an unexpected status or, in
// an open load that ran to its end, never sent. The error is an *UnknownMetricError,
// or says what is wrong with the rest.
func ParseSLO(text string) (SLO, error) {
	s := SLO{text: strings.TrimSpace(text)}
	at := strings.IndexAny(s.text, "<>")
	if at < 0 {
		return SLO{}, fmt.Errorf("bad SLO %q: want a metric, < or >, and a limit, such as \"p99<50ms\"", text)
	}
	s.metric = strings.ToLower(strings.TrimSpace(s.text[:at]))
	value := s.text[at:]
	s.op = value[:1]
	if strings.HasPrefix(value[1:], "=") {
		s.op = value[:2]
	}
	value = strings.TrimSpace(value[len(s.op):])
	if err := s.knowMetric(); err != nil {
		return SLO{}, err
	}
	if err := s.readLimit(value); err != nil {
		return SLO{}, fmt.Errorf("bad SLO %q: %w", text, err)
	}
	return s, nil
}

func (s *SLO) knowMetric() error {
	switch s.metric {
	case "errors":
		s.unit = "%"
		return nil
	case "rate":
		s.unit = "/s"
		return nil
	case "mean", "min", "max":
		s.unit = "us"
		return nil
	case "p999", "p9999": // as a result's fields are called
		s.metric = "p99." + s.metric[len("p99"):]
	}
	rest, ok := strings.CutPrefix(s.metric, "p")
	percent, err := strconv.ParseFloat(rest, 64)
	if !ok || err != nil || !(percent > 0 && percent <= 100) || strings.Trim(rest, "0123456789.") != "" {
		return &UnknownMetricError{Metric: s.metric}
	}
	s.metric, s.percent, s.unit = "p", percent, "us"
	return nil
}

func (s *SLO) readLimit(value string) error {
	if s.unit == "us" {
		d, err := time.ParseDuration(value)
		if err != nil || d < 0 {
			return fmt.Errorf("want a duration with its unit, such as \"50ms\", not %q", value)
		}
		s.limit = float64(d) / 1e3
		return nil
	}
	limit, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(value, s.unit)), 64)
	if err != nil || math.IsNaN(limit) || math.IsInf(limit, 0) || limit < 0 {
		example := "1000/s"
		if s.unit == "%" {
			example = "0.1%"
		}
		return fmt.Errorf("want a number such as %q, not %q", example, value)
	}
	s.limit = limit
	return nil
}

// judge compares what was found with the limit. missing: there is nothing to compare.
func (s *SLO) judge(value float64, missing bool) Objective {
	o := Objective{Text: s.text, Value: value, Limit: s.limit, Unit: s.unit}
	c := cmp.Compare(value, s.limit)
	o.Missed = missing || !slices.Contains(map[string][]int{"<": {-1}, "<=": {-1, 0}, ">": {1}, ">=": {0, 1}}[s.op], c)
	return o
}
