package gate

// A byteSet is a set of bytes. Its zero value is empty.
type byteSet [4]uint64

var (
	everyByte = bytesBetween(0x00, 0xff)
	highBytes = bytesBetween(0x80, 0xff) // of what is not ASCII
	hexDigits = bytesOf("0123456789abcdefABCDEF")
)

// bytesOf returns the bytes of a text. It looks at the text once, and again if that is not all ASCII.
func bytesOf(s string) (set byteSet) {
	var any byte
	if set[0], set[1], any = gather(s, &asciiBits); any >= 0x80 {
		set[2], set[3], _ = gather(s, &highBits)
	}
	return set
}

// bitsOf has two words of a set for each byte: a table is faster than shifts, and what is in registers than
// a bit set in memory, which waits for the one before it.
type bitsOf [256][2]uint64

var asciiBits, highBits = func() (ascii, high bitsOf) {
	for c := range 128 {
		ascii[c][c>>6] = 1 << (c & 63)
		high[0x80+c][c>>6] = 1 << (c & 63)
	}
	return ascii, high
}()

// gather joins the bits of all bytes of a text, and the bytes themselves.
func gather(s string, bits *bitsOf) (low, high uint64, any byte) {
	var low2, high2 uint64
	for ; len(s) >= 4; s = s[4:] {
		a, b, c, d := s[0], s[1], s[2], s[3]
		any |= a | b | c | d
		low |= bits[a][0] | bits[b][0]
		high |= bits[a][1] | bits[b][1]
		low2 |= bits[c][0] | bits[d][0]
		high2 |= bits[c][1] | bits[d][1]
	}
	for i := range len(s) {
		c := s[i]
		any |= c
		low |= bits[c][0]
		high |= bits[c][1]
	}
	return low | low2, high | high2, any
}

// bytesBetween returns the bytes from low to high, both included.
func bytesBetween(low, high byte) (set byteSet) {
	for c := int(low); c <= int(high); c++ {
		set.add(byte(c))
	}
	return set
}

func (s *byteSet) add(c byte) { s[c>>6] |= 1 << (c & 63) }

func (s *byteSet) has(c byte) bool { return s[c>>6]>>(c&63)&1 != 0 }

func (s byteSet) intersects(other byteSet) bool {
	return s[0]&other[0]|s[1]&other[1]|s[2]&other[2]|s[3]&other[3] != 0
}

func (s byteSet) union(other byteSet) byteSet {
	for i, word := range other {
		s[i] |= word
	}
	return s
}

func (s byteSet) without(other byteSet) byteSet {
	for i, word := range other {
		s[i] &^= word
	}
	return s
}
