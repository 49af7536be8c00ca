package gate

// What cmdLine does with a byte.
const (
	commandKeep  = iota
	commandDrop  // what a shell reads over
	commandSpace // a separator
	commandGlue  // no space may stand before it
	commandUpper
)

var commandKinds = func() (kinds [256]byte) {
	for kind, set := range map[byte]string{commandDrop: `"'\^`, commandSpace: " ,;\t\r\n", commandGlue: "/(", commandUpper: "ABCDEFGHIJKLMNOPQRSTUVWXYZ"} {
		for i := range len(set) {
			kinds[set[i]] = kind
		}
	}
	return kinds
}()

// commandTriggers are the bytes without which cmdLine changes nothing: glue matters only behind a space.
var commandTriggers = func() (set byteSet) {
	for c, kind := range commandKinds {
		if kind != commandKeep && kind != commandGlue {
			set.add(byte(c))
		}
	}
	return set
}()

// commandLine is cmdLine: what a shell reads over goes, separators become one space, none is left before a slash
// or parenthesis, and ASCII is lowered.
func commandLine(s string) string {
	from := commandChange(s)
	if from < 0 {
		return s
	}
	if from > 0 && s[from-1] == ' ' {
		from-- // it may be the first of several
	}
	out := make([]byte, len(s))
	n := copy(out, s[:from])
	pending := false // a space that shows only if what follows lets it
	for i := from; i < len(s); i++ {
		c := s[i]
		switch commandKinds[c] {
		case commandDrop:
			continue
		case commandSpace:
			pending = true
			continue
		case commandGlue:
			pending = false
		case commandUpper:
			c += 'a' - 'A'
		}
		if pending {
			out[n] = ' '
			n++
			pending = false
		}
		out[n] = c
		n++
	}
	if pending {
		out[n] = ' '
		n++
	}
	return string(out[:n])
}

// commandChange returns where the first byte is that cmdLine does not leave alone, or -1.
func commandChange(s string) int {
	for i := range len(s) {
		switch commandKinds[s[i]] {
		case commandKeep, commandGlue:
			continue
		}
		if s[i] != ' ' {
			return i
		}
		if i+1 < len(s) {
			if next := commandKinds[s[i+1]]; next == commandSpace || next == commandGlue {
				return i
			}
		}
	}
	return -1
}
