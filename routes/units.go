package routes

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// A Duration is a time span in a document: Go's notation ("300ms", "1h30m") and
// whole days ("180d"). The zero value means "not set".
type Duration time.Duration

// ParseDuration reads Go's notation, or a whole number of days followed by "d".
// Negative spans are refused.
func ParseDuration(s string) (Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, fmt.Errorf("bad duration %q: want a whole number of days such as \"180d\"", s)
		}
		return Duration(time.Duration(n) * 24 * time.Hour), nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("bad duration %q: want a number with a unit, such as \"500ms\", \"60s\", \"5m\" or \"2d\"", s)
	}
	if d < 0 {
		return 0, fmt.Errorf("bad duration %q: it must not be negative", s)
	}
	return Duration(d), nil
}

// String writes the shortest form that ParseDuration reads back.
func (d Duration) String() string {
	const day = 24 * time.Hour
	t := time.Duration(d)
	if t != 0 && t%day == 0 {
		return strconv.FormatInt(int64(t/day), 10) + "d"
	}
	s := t.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := ParseDuration(string(b))
	if err != nil {
		return err
	}
	*d = v
	return nil
}

// A Size is a number of bytes in a document: "512", "64KiB", "1MiB", "2GiB".
// The zero value means "not set".
type Size int64

var sizeUnits = []struct {
	suffix string
	factor int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"B", 1}, {"", 1}}

var errSize = errors.New(`want a number of bytes with KiB, MiB or GiB, such as "64KiB"`)

// ParseSize reads a whole number with an optional unit B, KiB, MiB or GiB.
func ParseSize(s string) (Size, error) {
	for _, u := range sizeUnits {
		digits, ok := strings.CutSuffix(s, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 63)
		if err != nil || int64(n) > math.MaxInt64/u.factor {
			return 0, fmt.Errorf("bad size %q: %w", s, errSize)
		}
		return Size(int64(n) * u.factor), nil
	}
	return 0, fmt.Errorf("bad size %q: %w", s, errSize)
}

// String writes the largest unit that divides the size.
func (s Size) String() string {
	for _, u := range []struct {
		suffix string
		factor Size
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if s != 0 && s%u.factor == 0 {
			return strconv.FormatInt(int64(s/u.factor), 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// MarshalText implements encoding.TextMarshaler.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Size) UnmarshalText(b []byte) error {
	v, err := ParseSize(string(b))
	if err != nil {
		return err
	}
	*s = v
	return nil
}

// ErrNotSupportedYet is the reason given for a value that the format knows and this version does not
// act on: a setting is never silently ignored.
var ErrNotSupportedYet = errors.New("not supported yet")
