package loadtest

import "time"

// A Result is what a run found: the JSON form of `gatehouse loadtest`. Times are
// in microseconds where the name says so. The warm-up is in none of its numbers.
type Result struct {
	Schema  int       `json:"schema"` // 1
	Started time.Time `json:"started"`
	Load    Load      `json:"load"`

	Seconds  float64 `json:"seconds"`  // how long was measured
	Requests int64   `json:"requests"` // answered, whatever the status; of a load of handshakes: handshakes
	// Rate is Requests per second: of a closed load of Seconds; of an open one of the time
	// for which requests were planned, or until the last answer came if that was later.
	// Waiting for an answer that does not come is no part of it.
	Rate     float64          `json:"rate"`
	Errors   map[string]int64 `json:"errors"`   // requests that got no answer, by kind: connect, tls, timeout, reset, protocol, …
	Statuses map[string]int64 `json:"statuses"` // answers by status: "200"
	// Causes has, of each kind in Errors, what the first one was in words, as it was found
	// in 200 bytes at most: "tls": "TLS with shop.test:443: …".
	Causes map[string]string `json:"causes,omitempty"`
	// Unexpected counts the answers whose status is none that the target expects
	// (Target.Expect). They are in Requests, too.
	Unexpected int64 `json:"unexpected"`
	BytesIn    int64 `json:"bytes_in"` // of answers as received, heads included, without TLS
	BytesOut   int64 `json:"bytes_out"`

	Connections Connections `json:"connections"`
	Latency     Latency     `json:"latency"`
	// Late counts the requests of an open load that could not be sent within a
	// millisecond of their time: all connections were busy, or the machine of the
	// generator was. They are not lost: their latency counts from the planned time.
	Late int64 `json:"late"`
	// Unsent counts planned requests that the run's end came before.
	Unsent int64 `json:"unsent"`
	// Interrupted says that the run was ended from outside before its time.
	Interrupted bool `json:"interrupted,omitempty"`

	Percentiles []Percentile `json:"percentiles"` // for a plot: ascending
	Series      []Interval   `json:"series"`      // one a second
	Targets     []TargetPart `json:"targets"`     // in the plan's order

	SLOs   []Objective `json:"slos,omitempty"`
	Missed bool        `json:"missed"` // at least one of SLOs was
}

// A Load is the plan in words, for a reader of the result.
type Load struct {
	Model       string  `json:"model"`          // "closed" or "open"
	Rate        float64 `json:"rate,omitempty"` // planned requests per second; open
	Connections int     `json:"connections"`    // clients: connections in use at once, at most
	Streams     int     `json:"streams"`        // requests under way on one connection, at most
	HTTP        string  `json:"http"`           // "1.1" or "2"
	TLS         string  `json:"tls"`            // "none", "full", "resumed"
	Curve       string  `json:"curve,omitempty"`
	KeepAlive   bool    `json:"keep_alive"`
	Handshakes  bool    `json:"handshakes,omitempty"` // connections only, no request on them
	Warmup      float64 `json:"warmup_seconds"`
	Duration    float64 `json:"duration_seconds"` // the bound
}

// Connections are totals of the measured time, but for Before.
type Connections struct {
	Opened   int64   `json:"opened"`
	Before   int64   `json:"opened_before"`       // by the warm-up: those that were kept are in use in the measured time
	Resumed  int64   `json:"resumed"`             // TLS sessions resumed
	MeanUS   float64 `json:"handshake_mean_us"`   // TCP and TLS together
	MedianUS float64 `json:"handshake_median_us"` // the same
}

// Latency is from the time that counts (see Result.Late) to the answer's last byte, in microseconds.
type Latency struct {
	Min  float64 `json:"min_us"`
	Mean float64 `json:"mean_us"`
	SD   float64 `json:"sd_us"`
	P50  float64 `json:"p50_us"`
	P75  float64 `json:"p75_us"`
	P90  float64 `json:"p90_us"`
	P95  float64 `json:"p95_us"`
	P99  float64 `json:"p99_us"`
	P999 float64 `json:"p999_us"`
	Max  float64 `json:"max_us"`
}

// A Percentile is one point of the distribution.
type Percentile struct {
	P  float64 `json:"p"` // 0 to 100
	US float64 `json:"us"`
}

// An Interval is one second of the measured time; the last may be shorter. An open
// load may have some after its duration, while the last answers are waited for.
type Interval struct {
	At       float64 `json:"at"` // seconds since the measuring began, of its end
	Seconds  float64 `json:"seconds"`
	Requests int64   `json:"requests"`
	Errors   int64   `json:"errors"` // no answer, or one with an unexpected status
	BytesIn  int64   `json:"bytes_in"`
	P50      float64 `json:"p50_us"`
	P90      float64 `json:"p90_us"`
	P99      float64 `json:"p99_us"`
	Max      float64 `json:"max_us"`
}

// A TargetPart is one target's share of the result.
type TargetPart struct {
	Name     string           `json:"name"` // "GET https://shop.test/a"
	Weight   float64          `json:"weight"`
	Requests int64            `json:"requests"`
	Errors   int64            `json:"errors"` // no answer, or one with an unexpected status
	Statuses map[string]int64 `json:"statuses"`
	Latency  Latency          `json:"latency"`
}

// An Objective is a service level that the line asked for.
type Objective struct {
	Text   string  `json:"slo"` // as given: "p99<50ms"
	Value  float64 `json:"value"`
	Limit  float64 `json:"limit"`
	Unit   string  `json:"unit"` // "us", "%", "/s"
	Missed bool    `json:"missed"`
}
