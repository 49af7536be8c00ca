package cache

import (
	"net/http"
	"testing"
	"time"
)

func TestParseDate(t *testing.T) {
	want := time.Date(1994, 11, 6, 8, 49, 37, 0, time.UTC)
	for _, tt := range []struct {
		text string
		want time.Time // zero: refused
	}{
		{"Sun, 06 Nov 1994 08:49:37 GMT", want},
		{" Sun, 06 Nov 1994 08:49:37 GMT\t", want},
		{"sUN, 06 nOV 1994 08:49:37 gmt", want}, // RFC 9111 §4.2: any case
		{"Mon, 06 Nov 1994 08:49:37 GMT", want}, // the wrong weekday says nothing about the date
		{"Sunday, 06-Nov-94 08:49:37 GMT", want},
		{"Wednesday, 04-Mar-26 05:06:07 GMT", epoch},
		{"Saturday, 04-Mar-76 00:00:00 GMT", time.Date(2076, 3, 4, 0, 0, 0, 0, time.UTC)},
		{"Friday, 04-Mar-77 00:00:00 GMT", time.Date(1977, 3, 4, 0, 0, 0, 0, time.UTC)},
		{"Sun Nov  6 08:49:37 1994", want},
		{"Sun Nov 06 08:49:37 1994", want},
		{"Sat, 31 Dec 2016 23:59:60 GMT", time.Date(2017, 1, 1, 0, 0, 0, 0, time.UTC)},
		{"Thu, 29 Feb 2024 00:00:00 GMT", time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC)},
		{"", time.Time{}},
		{"0", time.Time{}},
		{"-1", time.Time{}},
		{"Sun, 06 Nov 1994 08:49:37 UTC", time.Time{}},
		{"Sun, 06 Nov 1994 08:49:37 EST", time.Time{}},
		{"Sun, 06 Nov 1994 08:49:37 +00", time.Time{}},
		{"Sun, 06 Nov 94 08:49:37 GMT", time.Time{}},
		{"Sun, 06-Nov-1994 08:49:37 GMT", time.Time{}},
		{"Sun, 6 Nov 1994 08:49:37 GMT", time.Time{}},
		{"Sun, 06 Nov 1994 8:49:37 GMT", time.Time{}},
		{"Sun, 06 Nov 1994  8:49:37 GMT", time.Time{}},
		{"Sun  06 Nov 1994 08:49:37 GMT", time.Time{}},
		{"Sun,  06 Nov 1994 08:49:37 GMT", time.Time{}},
		{"Sun, 06 Now 1994 08:49:37 GMT", time.Time{}},
		{"Xyz, 06 Nov 1994 08:49:37 GMT", time.Time{}},
		{"Sun, 31 Feb 1994 08:49:37 GMT", time.Time{}},
		{"Sun, 00 Nov 1994 08:49:37 GMT", time.Time{}},
		{"Sun, 06 Nov 1994 24:49:37 GMT", time.Time{}},
		{"Sun, 06 Nov 1994 08:60:37 GMT", time.Time{}},
		{"Sun, 06 Nov 1994 08:49:61 GMT", time.Time{}},
		{"Sunnyday, 06-Nov-94 08:49:37 GMT", time.Time{}},
	} {
		got, ok := parseDate([]byte(tt.text), epoch)
		if ok != !tt.want.IsZero() || !got.Equal(tt.want) {
			t.Errorf("%q: got %v, %v, want %v", tt.text, got, ok, tt.want)
		}
	}
}

// FuzzDate: what is read can be written and read again, and where net/http
// reads the same text it reads the same time.
func FuzzDate(f *testing.F) {
	for _, s := range []string{
		epochDate, "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994",
		"Sat, 31 Dec 2016 23:59:60 GMT", "Thu, 29 Feb 2023 00:00:00 GMT", "Sun, 06 Nov 0000 08:49:37 GMT",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := parseDate([]byte(text), epoch)
		if !ok {
			return
		}
		again, ok := parseDate([]byte(got.Format(http.TimeFormat)), epoch)
		if got.Year() <= 9999 && (!ok || !again.Equal(got)) {
			t.Fatalf("%q: %v is read again as %v, %v", text, got, again, ok)
		}
		// net/http's two-digit years turn at 69, ours with the clock.
		if theirs, err := http.ParseTime(text); err == nil && text[3] == ',' && !theirs.Equal(got) {
			t.Fatalf("%q: %v, net/http reads %v", text, got, theirs)
		}
	})
}
