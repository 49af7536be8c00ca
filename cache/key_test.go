package cache

import (
	"encoding/binary"
	"testing"
)

func FuzzKey(f *testing.F) {
	f.Add("a", "b", "c", "d", "e", "a", "b", "c", "d", "e")
	f.Add("ab", "", "https", "h", "/", "a", "b", "https", "h", "/")
	f.Add("t", "v", "http", "h", "/\x01/", "t", "v", "http", "h/", "\x01/")
	f.Fuzz(func(t *testing.T, a1, a2, a3, a4, a5, b1, b2, b3, b4, b5 string) {
		a, b := [...]string{a1, a2, a3, a4, a5}, [...]string{b1, b2, b3, b4, b5}
		keyA := AppendKey(nil, a1, a2, a3, a4, a5)
		keyB := AppendKey(nil, b1, b2, b3, b4, b5)
		if (string(keyA) == string(keyB)) != (a == b) {
			t.Fatalf("%q and %q: keys %q and %q", a, b, keyA, keyB)
		}
		// The parts can be read back, so no two sets share a key.
		rest := keyA
		for i, want := range a {
			n, size := binary.Uvarint(rest)
			if size <= 0 || uint64(len(rest)-size) < n {
				t.Fatalf("%q: part %d cannot be read", keyA, i)
			}
			if got := string(rest[size : size+int(n)]); got != want {
				t.Fatalf("part %d is %q, want %q", i, got, want)
			}
			rest = rest[size+int(n):]
		}
		if len(rest) > 0 {
			t.Fatalf("%q is left over", rest)
		}
	})
}
