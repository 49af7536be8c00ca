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

// MaxPercentile is the greatest percentile that an SLO may name; the 100th is max.
const MaxPercentile = 99.999

// An UnknownMetricError says that an SLO names something that is not measured.
type UnknownMetricError struct{ Metric string }

func (e *UnknownMetricError) Error() string {
	return fmt.Sprintf("unknown metric %q: want p0 to p%v, mean, min, max, errors or rate", e.Metric, MaxPercentile)
}

// Metrics are names that an SLO may begin with, to guess from: of the percentiles, which
// may be any from p0 to MaxPercentile, only the usual ones.
func Metrics() []string {
	return []string{"p50", "p75", "p90", "p95", "p99", "p99.9", "mean", "min", "max", "errors", "rate"}
}

// ParseSLO reads a metric, one of < <= > >=, and a value: a duration for latencies
// ("50ms"), a share of all requests for errors ("0.1%"; only of 0 the sign may be left
// out), requests per second for rate ("1000", "1000/s"). Errors are requests without an
// answer, with an unexpected status or, in an open load that ran to its end, never sent.
// The error is an *UnknownMetricError, or says what is wrong with the rest.
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
	case "p999", "p9999", "p99999": // the first as a result's field is called
		s.metric = "p99." + s.metric[len("p99"):]
	}
	rest, ok := strings.CutPrefix(s.metric, "p")
	percent, err := strconv.ParseFloat(rest, 64)
	switch {
	case !ok || err != nil || strings.Trim(rest, "0123456789.") != "":
		return &UnknownMetricError{Metric: s.metric}
	case percent == 100:
		return fmt.Errorf("bad SLO %q: the greatest latency is called max", s.text)
	case percent > MaxPercentile:
		return &UnknownMetricError{Metric: s.metric}
	case percent == 0:
		s.metric, s.unit = "min", "us"
		return nil
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
	number, hasUnit := strings.CutSuffix(value, s.unit)
	limit, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	switch {
	case err != nil || math.IsNaN(limit) || math.IsInf(limit, 0) || limit < 0:
		example := "1000/s"
		if s.unit == "%" {
			example = "0.1%"
		}
		return fmt.Errorf("want a number such as %q, not %q", example, value)
	case s.unit == "%" && !hasUnit && limit != 0: // a share of 1 would be meant by half of those who write 1
		return fmt.Errorf("want a share of all requests with its sign, such as \"0.1%%\", not %q", value)
	case s.unit == "%" && limit > 100:
		return fmt.Errorf("want a share from 0%% to 100%%, not %q", value)
	case limit == 0 && s.op == "<":
		return fmt.Errorf("nothing is below 0: want <=%s", value)
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
