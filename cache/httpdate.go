package cache

import (
	"time"

	"gatehouse/internal/octets"
)

// months and weekdays in lower case: a cache matches dates case-insensitively
// (RFC 9111 §4.2).
const (
	months   = "janfebmaraprmayjunjulaugsepoctnovdec"
	weekdays = "sunmontuewedthufrisat"
)

var longWeekdays = [...]string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}

// parseDate reads an HTTP-date in its three forms (RFC 9110 §5.6.7):
//
//	Sun, 06 Nov 1994 08:49:37 GMT
//	Sunday, 06-Nov-94 08:49:37 GMT
//	Sun Nov  6 08:49:37 1994
//
// It is strict about everything but case and whether the weekday fits the day:
// what it refuses counts as stale. A two-digit year more than 50 years after
// now is of the past century.
func parseDate(b []byte, now time.Time) (time.Time, bool) {
	b = octets.TrimOWS(b)
	switch {
	case len(b) == 29 && b[3] == ',':
		return parseFixdate(b)
	case len(b) == 24 && b[3] == ' ':
		return parseAsctime(b)
	case len(b) >= 30:
		return parseRFC850(b, now)
	}
	return time.Time{}, false
}

func parseFixdate(b []byte) (time.Time, bool) {
	day, okD := digits(b[5:7])
	month, okM := monthOf(b[8:11])
	year, okY := digits(b[12:16])
	if !okD || !okM || !okY || !isWeekday(b[:3]) ||
		b[4] != ' ' || b[7] != ' ' || b[11] != ' ' || b[16] != ' ' || !octets.Is(b[25:], " gmt") {
		return time.Time{}, false
	}
	return civil(year, month, day, b[17:25])
}

func parseAsctime(b []byte) (time.Time, bool) {
	dayText := b[8:10]
	if dayText[0] == ' ' {
		dayText = dayText[1:]
	}
	day, okD := digits(dayText)
	month, okM := monthOf(b[4:7])
	year, okY := digits(b[20:24])
	if !okD || !okM || !okY || !isWeekday(b[:3]) || b[7] != ' ' || b[10] != ' ' || b[19] != ' ' {
		return time.Time{}, false
	}
	return civil(year, month, day, b[11:19])
}

func parseRFC850(b []byte, now time.Time) (time.Time, bool) {
	const tail = len(", 06-Nov-94 08:49:37 GMT")
	name, b := b[:len(b)-tail], b[len(b)-tail:]
	known := false
	for _, w := range longWeekdays {
		known = known || octets.Is(name, w)
	}
	day, okD := digits(b[2:4])
	month, okM := monthOf(b[5:8])
	year, okY := digits(b[9:11])
	if !known || !okD || !okM || !okY ||
		b[0] != ',' || b[1] != ' ' || b[4] != '-' || b[8] != '-' || b[11] != ' ' || !octets.Is(b[20:], " gmt") {
		return time.Time{}, false
	}
	year += now.Year() / 100 * 100
	switch {
	case year > now.Year()+50:
		year -= 100
	case year <= now.Year()-50:
		year += 100
	}
	return civil(year, month, day, b[12:20])
}

// civil joins the parts, clock being hh:mm:ss. Second 60 is a leap second.
func civil(year int, month time.Month, day int, clock []byte) (time.Time, bool) {
	h, okH := digits(clock[0:2])
	m, okM := digits(clock[3:5])
	s, okS := digits(clock[6:8])
	if !okH || !okM || !okS || clock[2] != ':' || clock[5] != ':' || h > 23 || m > 59 || s > 60 || day < 1 {
		return time.Time{}, false
	}
	// time.Date turns 31 February into 3 March instead of refusing it.
	if d := time.Date(year, month, day, 0, 0, 0, 0, time.UTC); d.Day() != day {
		return time.Time{}, false
	}
	return time.Date(year, month, day, h, m, s, 0, time.UTC), true
}

func digits(b []byte) (int, bool) {
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}

func monthOf(b []byte) (time.Month, bool) {
	for i := 0; i < len(months); i += 3 {
		if octets.Is(b, months[i:i+3]) {
			return time.Month(i/3 + 1), true
		}
	}
	return 0, false
}

func isWeekday(b []byte) bool {
	for i := 0; i < len(weekdays); i += 3 {
		if octets.Is(b, weekdays[i:i+3]) {
			return true
		}
	}
	return false
}
