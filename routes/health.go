package routes

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Health is how a vhost's backends are checked, whether requests come or not: GET Path, by one node for all that share a Redis.
type Health struct {
	// Path is asked for, query included. Default "/".
	Path string `yaml:"path,omitempty" json:"path,omitempty"`
	// Host is sent as Host. Default: the host in the vhost's name; of one with a wildcard, the backend's own address.
	Host string `yaml:"host,omitempty" json:"host,omitempty"`
	// Interval is the time between two checks of a backend, 1s to 1h. Default 3s.
	Interval Duration `yaml:"interval,omitempty" json:"interval,omitempty" zero:"must be at least 1s"`
	// Timeout bounds a check, connection and TLS included; it is at most Interval. Default 1s.
	Timeout Duration `yaml:"timeout,omitempty" json:"timeout,omitempty" zero:"must be more than 0s"`
	// Rise is how many checks in a row have to succeed until a backend that is down is up again. Default 2.
	Rise int `yaml:"rise,omitempty" json:"rise,omitempty" zero:"must be at least 1"`
	// Fall is how many checks in a row have to fail until a backend is down. Default 5.
	Fall int `yaml:"fall,omitempty" json:"fall,omitempty" zero:"must be at least 1"`
	// Status are the statuses of a success: numbers and ranges, with commas. Default "200-399".
	Status string `yaml:"status,omitempty" json:"status,omitempty"`
	// Body is a text that the first 64 KiB of the answer's body have to contain. Default: any body will do.
	Body string `yaml:"body,omitempty" json:"body,omitempty"`
}

// Resolved is h with what is not set filled in, but Host and Body; nil of nil.
func (h *Health) Resolved() *Health {
	if h == nil {
		return nil
	}
	out := h.withDefaults()
	return &out
}

func (h Health) withDefaults() Health {
	h.Path = or(h.Path, "/")
	h.Interval, h.Timeout = or(h.Interval, Duration(3*time.Second)), or(h.Timeout, Duration(time.Second))
	h.Rise, h.Fall = or(h.Rise, 2), or(h.Fall, 5)
	h.Status = or(h.Status, "200-399")
	return h
}

const (
	minHealthInterval = Duration(time.Second)
	maxHealthInterval = Duration(time.Hour)
	maxHealthCount    = 100  // of Rise and Fall
	maxHealthPath     = 1024 // bytes
	maxHealthBody     = 256  // bytes
)

func checkHealth(field string, given *Health) []finding {
	if given == nil {
		return nil
	}
	h := given.withDefaults()
	var out []finding
	bad := func(name, format string, args ...any) {
		out = append(out, finding{field: field + "." + name, reason: fmt.Sprintf(format, args...)})
	}
	if h.Path[0] != '/' || len(h.Path) > maxHealthPath || strings.ContainsFunc(h.Path, func(c rune) bool { return c <= ' ' || c >= 0x7f || c == '#' }) {
		bad("path", "bad path %q: want one such as /healthz, of up to %d visible ASCII characters", shortText(h.Path), maxHealthPath)
	}
	if h.Host != "" {
		if _, err := CanonicalHost(h.Host); err != nil {
			bad("host", "bad host %q: %v", shortText(h.Host), err)
		}
	}
	if h.Interval < minHealthInterval || h.Interval > maxHealthInterval {
		bad("interval", "bad interval %v: want %v to %v", h.Interval, minHealthInterval, maxHealthInterval)
	}
	if h.Timeout > h.Interval {
		bad("timeout", "bad timeout %v: it is longer than the interval, %v", h.Timeout, h.Interval)
	}
	for _, c := range []struct {
		name  string
		value int
	}{{"rise", h.Rise}, {"fall", h.Fall}} {
		if c.value < 1 || c.value > maxHealthCount {
			bad(c.name, "bad number %d: want 1 to %d checks", c.value, maxHealthCount)
		}
	}
	if _, err := ParseStatuses(h.Status); err != nil {
		bad("status", "%v", err)
	}
	if len(h.Body) > maxHealthBody {
		bad("body", "%d bytes: at most %d are looked for", len(h.Body), maxHealthBody)
	}
	return out
}

// Statuses are ranges of statuses, each with its ends.
type Statuses [][2]int

// ParseStatuses reads numbers and ranges with commas between them: "200", "200-399", "200-299, 401".
func ParseStatuses(text string) (Statuses, error) {
	var out Statuses
	for part := range strings.SplitSeq(text, ",") {
		from, to, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			to = from
		}
		first, err1 := strconv.Atoi(from)
		last, err2 := strconv.Atoi(to)
		if err1 != nil || err2 != nil || first < 100 || last > 599 || first > last {
			return nil, fmt.Errorf("bad statuses %q: want numbers of 100 to 599 such as 200, 200-399 or 200-299,401", shortText(text))
		}
		out = append(out, [2]int{first, last})
	}
	return out, nil
}

// Has reports whether a status is one of them.
func (s Statuses) Has(status int) bool {
	for _, r := range s {
		if status >= r[0] && status <= r[1] {
			return true
		}
	}
	return false
}
