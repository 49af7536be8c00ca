package gate

// A byteSet is a set of bytes. Its zero value is empty.
type byteSet [4]uint64

// bytesOf returns the bytes of a text.
func bytesOf(s string) (set byteSet) {
	for i := range len(s) {
		set.add(s[i])
	}
	return set
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
