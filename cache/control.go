package cache

import "gatehouse/internal/octets"

// maxSeconds caps a delta-seconds value (RFC 9111 §1.2.2: a cache that cannot
// represent a value uses 2^31).
const maxSeconds = 1 << 31

// seconds is a directive's delta-seconds argument. Several of one name count as
// the smallest; an invalid one counts as 0, which is stale (RFC 9111 §4.2.1).
type seconds struct {
	set bool
	n   int64
}

func (s *seconds) take(arg []byte) {
	n, ok := parseSeconds(arg)
	if !ok {
		n = 0
	}
	if !s.set || n < s.n {
		s.n = n
	}
	s.set = true
}

// parseSeconds reads delta-seconds: digits only, capped at maxSeconds.
func parseSeconds(b []byte) (int64, bool) {
	if len(b) == 0 {
		return 0, false
	}
	var n int64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		if n < maxSeconds {
			n = n*10 + int64(c-'0')
		}
	}
	return min(n, maxSeconds), true
}

// control is a parsed Cache-Control of a request or a response (RFC 9111 §5.2).
// Unknown directives are ignored (§5.2.3).
type control struct {
	present   bool // there is a field line, even an empty one
	malformed bool // some member does not follow the grammar; what follows it in its line is not read

	noStore        bool
	noCache        bool // with or without field names: all of it is revalidated
	private        bool // with or without field names
	public         bool
	mustRevalidate bool
	proxyRevalid   bool // proxy-revalidate: must-revalidate for shared caches
	mustUnderstand bool
	onlyIfCached   bool
	immutable      bool // RFC 8246

	maxAge     seconds
	sMaxAge    seconds
	minFresh   seconds
	revalidate seconds // stale-while-revalidate (RFC 5861 §3)
	onError    seconds // stale-if-error (RFC 5861 §4)
}

// parseControl reads all lines of a Cache-Control field. Each line is read for
// itself: a quoted string cannot reach from one line into the next.
func parseControl(lines [][]byte) control {
	var c control
	for _, line := range lines {
		c.present = true
		if !c.parseLine(line) {
			c.malformed = true
		}
	}
	return c
}

// parseLine reads `name[=token|"quoted"]` members divided by commas and reports
// whether the whole line follows the grammar.
func (c *control) parseLine(b []byte) bool {
	for {
		for len(b) > 0 && (b[0] == ',' || b[0] == ' ' || b[0] == '\t') {
			b = b[1:]
		}
		if len(b) == 0 {
			return true
		}
		n := tokenLen(b)
		if n == 0 {
			return false
		}
		name := b[:n]
		b = b[n:]
		var arg []byte
		hasArg := len(b) > 0 && b[0] == '='
		if hasArg {
			var ok bool
			if arg, b, ok = cutArgument(b[1:]); !ok {
				c.apply(name, nil, true)
				return false
			}
		}
		c.apply(name, arg, hasArg)
		if b = octets.TrimOWS(b); len(b) > 0 && b[0] != ',' {
			return false
		}
	}
}

// cutArgument cuts a token or a quoted string (without its quotes, escapes left
// as they are: no argument read here has a use for them) from b.
func cutArgument(b []byte) (arg, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != '"' {
		n := tokenLen(b)
		return b[:n], b[n:], n > 0
	}
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return b[1:i], b[i+1:], true
		}
	}
	return nil, nil, false
}

// apply takes one directive. A directive that forbids counts whatever argument
// it has; one that permits counts only in the form the RFC gives it.
func (c *control) apply(name, arg []byte, hasArg bool) {
	switch {
	case octets.Is(name, "no-store"):
		c.noStore = true
	case octets.Is(name, "no-cache"):
		c.noCache = true
	case octets.Is(name, "private"):
		c.private = true
	case octets.Is(name, "public"):
		c.public = c.public || !hasArg
	case octets.Is(name, "must-revalidate"):
		c.mustRevalidate = c.mustRevalidate || !hasArg
	case octets.Is(name, "proxy-revalidate"):
		c.proxyRevalid = c.proxyRevalid || !hasArg
	case octets.Is(name, "immutable"):
		c.immutable = c.immutable || !hasArg
	case octets.Is(name, "must-understand"):
		c.mustUnderstand = c.mustUnderstand || !hasArg
	case octets.Is(name, "only-if-cached"):
		c.onlyIfCached = true
	case octets.Is(name, "max-age"):
		c.maxAge.take(arg)
	case octets.Is(name, "s-maxage"):
		c.sMaxAge.take(arg)
	case octets.Is(name, "min-fresh"):
		c.minFresh.take(arg)
	case octets.Is(name, "stale-while-revalidate"):
		c.revalidate.take(arg)
	case octets.Is(name, "stale-if-error"):
		c.onError.take(arg)
	}
}
