package octets

import (
	"bytes"
	"strings"
	"testing"
)

// Each octet, alone and at each place of a longer value.
func TestEveryOctet(t *testing.T) {
	for i := range 256 {
		c := byte(i)
		tchar := c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || c != 0 && strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
		if IsTokenByte(c) != tchar || IsToken([]byte{c}) != tchar || IsToken(string([]byte{'a', c})) != tchar {
			t.Errorf("token %q", c)
		}
		text := c == '\t' || c >= ' ' && c != 0x7f
		for length := 1; length < 20; length++ {
			for at := range length {
				b := bytes.Repeat([]byte{'\xff'}, length)
				b[at] = c
				if IsFieldText(b) != text {
					t.Fatalf("octet %#x at %d of %d", c, at, length)
				}
			}
		}
	}
	if IsToken("") || !IsFieldText(nil) {
		t.Error("nothing is text, and no token")
	}
}

func TestTrimAndCompare(t *testing.T) {
	for in, want := range map[string]string{"": "", " \t": "", "\ta b \t": "a b", "\ra\n": "\ra\n", "\u00a0a": "\u00a0a"} {
		if got := string(TrimOWS([]byte(in))); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
	for in, want := range map[string]bool{"Keep-Alive": true, "keep-alive": true, "KEEP-ALIVE": true, "keep-alivE ": false, "\u212aeep-alive": false, "keep\ralive": false} {
		if Is([]byte(in), "keep-alive") != want {
			t.Errorf("%q: %v", in, !want)
		}
	}
}

func TestViewsDoNotCopy(t *testing.T) {
	s, b := "text", []byte("bytes")
	if got := View(s); string(got) != s || string(View("")) != "" {
		t.Errorf("View(%q) = %q", s, got)
	}
	if got := Text(b); got != "bytes" || Text(nil) != "" {
		t.Errorf("Text = %q", got)
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = View(s), Text(b) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
