package routes

import (
	"testing"
	"time"
)

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0s": 0, "300ms": 300 * time.Millisecond, "1h30m": 90 * time.Minute, "180d": 180 * 24 * time.Hour, "0d": 0, "1.5s": 1500 * time.Millisecond,
	} {
		if got, err := ParseDuration(text); err != nil || time.Duration(got) != want {
			t.Errorf("%s: got %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "5", "-1s", "1.5d", "-1d", "d", "99999d", "1y", "1 s"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("%q: got %v", text, got)
		}
	}
	for d, want := range map[time.Duration]string{0: "0s", time.Minute: "1m", 90 * time.Minute: "1h30m", time.Hour: "1h", 48 * time.Hour: "2d", 1500 * time.Millisecond: "1.5s", 10 * time.Second: "10s"} {
		if got := Duration(d).String(); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]Size{"0": 0, "512": 512, "64B": 64, "64KiB": 64 << 10, "1 MiB": 1 << 20, "2GiB": 2 << 30} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("%s: got %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "KiB", "-1", "1.5MiB", "1MB", "1kib", "9223372036854775808", "9223372036GiB", "0x10"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("%q: got %v", text, got)
		}
	}
	for size, want := range map[Size]string{0: "0", 1: "1", 1024: "1KiB", 1536: "1536", 1 << 20: "1MiB", 1536 << 10: "1536KiB", 3 << 30: "3GiB"} {
		if got := size.String(); got != want {
			t.Errorf("%d: got %s, want %s", size, got, want)
		}
	}
}

func FuzzUnits(f *testing.F) {
	for _, seed := range []string{"1h", "2d", "64KiB", "0", "-1", "1e9s", "9999999999GiB"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if d, err := ParseDuration(text); err == nil {
			if back, err := ParseDuration(d.String()); err != nil || back != d || d < 0 {
				t.Errorf("%q is %v, which is %v (%v)", text, d, back, err)
			}
		}
		if s, err := ParseSize(text); err == nil {
			if back, err := ParseSize(s.String()); err != nil || back != s || s < 0 {
				t.Errorf("%q is %v, which is %v (%v)", text, s, back, err)
			}
		}
	})
}
