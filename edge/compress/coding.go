package compress

import "gatehouse/internal/octets"

// A Coding is a content coding. The zero value is Identity.
type Coding uint8

// The codings that there are, from the one that is wanted least to the one that is wanted most
// where a client takes several as gladly. As measured on pages, scripts and JSON of 2 to 500 KB
// (docs/performance.md): zstd takes a tenth less time here than gzip for bodies as long as its own, and a fraction of it in
// the browser. br makes bodies a tenth shorter and takes five times as long: dear for a body that is made anew for each client, so
// zstd comes first, but for a browser that has no zstd, an old or a mobile one, the shorter body is worth it. gzip is for all others.
const (
	// Identity is no coding at all.
	Identity Coding = iota
	// Gzip is RFC 1952.
	Gzip
	// Brotli is RFC 7932.
	Brotli
	// Zstd is RFC 8878, with a window far below the 8 MiB that a client must have (RFC 9659 §3).
	Zstd

	codings
)

var tokens = [codings]string{"identity", "gzip", "br", "zstd"}

// String returns the coding's name as it stands in Accept-Encoding and Content-Encoding
// (RFC 9110 §8.4.1, §12.5.3).
func (c Coding) String() string { return tokens[c] }

// codingOf returns the coding of a name, whatever its case. x-gzip is gzip (RFC 9110 §8.4.1.3).
func codingOf(name []byte) (Coding, bool) {
	for c, token := range tokens {
		if octets.Is(name, token) {
			return Coding(c), true
		}
	}
	return Gzip, octets.Is(name, "x-gzip")
}
