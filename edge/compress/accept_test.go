package compress

import (
	"bytes"
	"strconv"
	"strings"
	"testing"

	"gatehouse/internal/octets"
)

func best(lines ...string) Coding {
	var a Accepts
	for _, l := range lines {
		a.Add([]byte(l))
	}
	return a.Best()
}

// RFC 9110 §12.5.3 and §12.4.2.
func TestAcceptEncodingRFC9110(t *testing.T) {
	for _, c := range []struct {
		rule  string
		lines []string
		want  Coding
	}{
		{"no field: the answer without a coding is right for everybody", nil, Identity},
		{"an empty field takes no coding", []string{""}, Identity},
		{"one that we have", []string{"gzip"}, Gzip},
		{"names are case-insensitive", []string{"GZip"}, Gzip},
		{"x-gzip is gzip", []string{"x-gzip"}, Gzip},
		{"ours decides between equals", []string{"gzip, deflate, br, zstd"}, Zstd},
		{"ours decides between equals, whatever their order", []string{"br, gzip"}, Brotli},
		{"equal weights in words", []string{"gzip;q=0.5, zstd;q=0.5, br;q=0.50"}, Zstd},
		{"the client's weights come first", []string{"gzip;q=1.0, br;q=0.8, zstd;q=0.2"}, Gzip},
		{"a weight is 1 where none is given", []string{"br;q=0.999, gzip"}, Gzip},
		{"three digits count", []string{"br;q=0.001, gzip;q=0.002"}, Gzip},
		{"q=0 refuses", []string{"gzip;q=0"}, Identity},
		{"q=0.000 refuses", []string{"zstd;q=0.000, br;q=0., gzip"}, Gzip},
		{"a star is any that is not named", []string{"*"}, Zstd},
		{"a star with a weight", []string{"*;q=0.1, gzip"}, Gzip},
		{"a star is not what is named", []string{"zstd;q=0, *"}, Brotli},
		{"a star that refuses", []string{"gzip, *;q=0"}, Gzip},
		{"a star that refuses all", []string{"*;q=0"}, Identity},
		{"nothing is acceptable: without a coding rather than nothing", []string{"identity;q=0"}, Identity},
		{"identity refused, another taken", []string{"identity;q=0, gzip;q=0.1"}, Gzip},
		{"identity preferred", []string{"gzip;q=0.5, identity"}, Identity},
		{"identity as welcome as a coding", []string{"gzip, identity"}, Gzip},
		{"identity preferred to a star", []string{"identity;q=1, *;q=0.3"}, Identity},
		{"several lines are one list (§5.3)", []string{"gzip;q=0.5", "br"}, Brotli},
		{"several lines, one refuses", []string{"*", "zstd;q=0, br;q=0"}, Gzip},
		{"unknown ones are passed over", []string{"deflate, compress, dcb, aes128gcm"}, Identity},
		{"white space around the weight (§5.6.3)", []string{" gzip\t;\t q=0.7 ,br ; Q=0.9"}, Brotli},
		{"empty members are none (§5.6.1)", []string{",, gzip ,,"}, Gzip},
		{"the same twice: the smaller weight", []string{"gzip, br, gzip;q=0.1"}, Brotli},
		{"the same twice: a refusal stays one", []string{"gzip;q=0, gzip;q=1"}, Identity},
	} {
		if got := best(c.lines...); got != c.want {
			t.Errorf("%s: %q: %v, want %v", c.rule, c.lines, got, c.want)
		}
	}
}

func TestMalformedMembersAreNotThere(t *testing.T) {
	for _, member := range []string{
		"br;q=2", "br;q=1.001", "br;q=0.1234", "br;q=.5", "br;q=-1", "br;q=", "br;q", "br;", "br;level=1", "br;q=1;x=y",
		"br;q = 1", "br;q=1 2", "br q=1", `br;q="1"`, "br;q=0x", "br;q=1,5;", "b r", "br/1", "\x00", "\xff;q=1",
	} {
		if got := best(member + ", gzip;q=0.1"); got != Gzip && !strings.Contains(member, ",") {
			t.Errorf("%q beside gzip: %v", member, got)
		}
		if got := best(member); got == Zstd || got == Gzip {
			t.Errorf("%q: %v", member, got)
		}
	}
}

// Never a panic, never a coding that the field refuses, never one that it does not take.
func FuzzAccepts(f *testing.F) {
	for _, seed := range []string{
		"", "gzip, deflate, br, zstd", "gzip;q=1.0, identity; q=0.5, *;q=0", "*", "br;q=0, *;q=0.5", "x-gzip;q=0,gzip", ",;q=,;", "zstd;q=0.0005",
	} {
		f.Add(seed, "")
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		got := best(first, second)
		if got >= codings {
			t.Fatalf("%d", got)
		}
		if got == Identity {
			return
		}
		named := false
		for _, line := range []string{first, second} {
			for member := range strings.SplitSeq(line, ",") {
				name, parameter, weighted := strings.Cut(member, ";")
				name, parameter = string(octets.TrimOWS([]byte(name))), string(octets.TrimOWS([]byte(parameter)))
				mine := octets.Is([]byte(name), got.String()) || got == Gzip && octets.Is([]byte(name), "x-gzip")
				if !mine && name != "*" {
					continue
				}
				q := 1.0
				if weighted {
					var err error
					if q, err = strconv.ParseFloat(string(bytes.TrimPrefix(bytes.ToLower([]byte(parameter)), []byte("q="))), 64); err != nil {
						continue
					}
				}
				if mine && q == 0 {
					t.Fatalf("%q, %q: %v, which is refused", first, second, got)
				}
				named = named || q > 0
			}
		}
		if !named {
			t.Fatalf("%q, %q: %v, which nobody named", first, second, got)
		}
	})
}

func TestAcceptsDoesNotAllocate(t *testing.T) {
	line := []byte("gzip, deflate, br;q=0.9, zstd;q=0.8, *;q=0.1")
	if n := testing.AllocsPerRun(100, func() {
		var a Accepts
		a.Add(line)
		if a.Best() != Gzip {
			t.Fail()
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Clients that take the same ask in the same words.
func TestAllHasOneFormForClientsThatTakeTheSame(t *testing.T) {
	for accept, want := range map[string]string{
		"gzip, deflate, br, zstd": "zstd, br, gzip", "zstd,br;q=0.5,gzip;q=0.1": "zstd, br, gzip", "*": "zstd, br, gzip", "br, gzip, deflate": "br, gzip",
		"gzip": "gzip", "gzip;q=0": "identity", "*;q=0.3, br;q=0": "zstd, gzip", "deflate": "identity", "": "identity", "identity": "identity",
	} {
		var a Accepts
		a.Add([]byte(accept))
		if got := a.All(); got != want {
			t.Errorf("%q: %q, want %q", accept, got, want)
		}
	}
}
