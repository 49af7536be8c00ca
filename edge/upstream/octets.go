package upstream

// isVisible reports whether b has no control character and no space.
func isVisible(b string) bool {
	for i := range len(b) {
		if b[i] <= ' ' || b[i] == 0x7f {
			return false
		}
	}
	return true
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f'
}
