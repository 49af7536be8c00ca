package report

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// none stands where there is no number: nothing was measured.
const none = "–"

// duration formats microseconds with the unit that suits: 870 µs, 1.25 ms, 3.1 s.
func duration(us float64) string {
	switch {
	case !finite(us):
		return none
	case us == 0:
		return "0"
	case us < 999.5:
		return digits(us) + " µs"
	case us < 999.5e3:
		return digits(us/1e3) + " ms"
	default:
		return digits(us/1e6) + " s"
	}
}

// measured is duration, for a number that is zero when nothing was measured.
func measured(us float64) string {
	if us <= 0 {
		return none
	}
	return duration(us)
}

// digits formats with three digits that count, whole numbers with commas.
func digits(v float64) string {
	a := math.Abs(v)
	switch {
	case !finite(v):
		return none
	case a >= 99.95 || a == 0:
		return count(int64(math.Round(v)))
	case a >= 9.995:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case a >= 0.0995:
		return strconv.FormatFloat(v, 'f', 2, 64)
	default:
		return strconv.FormatFloat(v, 'g', 2, 64)
	}
}

// roundDuration is duration for round numbers: 10 ms, not 10.0 ms.
func roundDuration(us float64) string {
	switch {
	case us == 0:
		return "0"
	case us < 1e3:
		return short(us) + " µs"
	case us < 1e6:
		return short(us/1e3) + " ms"
	default:
		return short(us/1e6) + " s"
	}
}

// count puts commas between the thousands.
func count(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

func perSecond(v float64) string { return digits(v) + "/s" }

// size formats octets.
func size(n float64) string {
	const kib = 1024
	switch {
	case n < kib:
		return digits(n) + " B"
	case n < kib*kib:
		return digits(n/kib) + " KiB"
	case n < kib*kib*kib:
		return digits(n/kib/kib) + " MiB"
	default:
		return digits(n/kib/kib/kib) + " GiB"
	}
}

// percent formats part of whole; a part that is not nothing never reads as 0 %.
func percent(part, whole int64) string {
	switch {
	case whole <= 0:
		return none
	case part == 0:
		return "0 %"
	case float64(part) < 1e-5*float64(whole):
		return "< 0.001 %"
	default:
		return digits(100*float64(part)/float64(whole)) + " %"
	}
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// plain makes a name fit to be shown: what is not printable (control sequences of a
// terminal, marks that turn the direction of writing, octets that are no UTF-8) is
// written as an escape. The result has at most limit runes.
func plain(s string, limit int) string {
	var b strings.Builder
	left := limit
	for i, r := range s {
		piece := string(r)
		if r == utf8.RuneError && s[i] != '\xef' {
			piece = fmt.Sprintf(`\x%02x`, s[i])
		} else if !strconv.IsPrint(r) {
			quoted := strconv.QuoteRune(r)
			piece = quoted[1 : len(quoted)-1]
		}
		n := utf8.RuneCountInString(piece)
		if n > left || n == left && i+utf8.RuneLen(r) < len(s) {
			return b.String() + "…"
		}
		left -= n
		b.WriteString(piece)
	}
	return b.String()
}

// A tally is one key of a map of counts.
type tally struct {
	Name  string
	Count int64
}

// tallies lists a map of counts, the greatest first, then by name.
func tallies(m map[string]int64) []tally {
	var out []tally
	for _, name := range slices.Sorted(maps.Keys(m)) {
		out = append(out, tally{name, m[name]})
	}
	slices.SortStableFunc(out, func(a, b tally) int { return cmp.Compare(b.Count, a.Count) })
	return out
}

func sum(m map[string]int64) int64 {
	var total int64
	for _, n := range m {
		total += n
	}
	return total
}
