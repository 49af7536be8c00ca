package gate

import "strings"

// What cmdLine does with a byte; nothing is told of others.
const (
	commandDrop  = `"'\^`
	commandSpace = " ,;\t\r\n"
	commandGlue  = "/(" // no space may stand before these
)

var (
	commandDropped = bytesOf(commandDrop)
	commandSpaces  = bytesOf(commandSpace)
	commandUppers  = bytesBetween('A', 'Z')
	// commandLineBytes are those without which cmdLine changes nothing: / and ( matter only behind a space.
	commandLineBytes = bytesOf(commandDrop + commandSpace).union(commandUppers)
	// commandChanged change a text wherever they stand, a space only before another one or before glue.
	commandChanged     = commandLineBytes.without(bytesOf(" "))
	commandBehindSpace = bytesOf(" " + commandGlue)
)

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
	var b strings.Builder
	b.Grow(len(s))
	b.WriteString(s[:from])
	pending := false // a space that shows only if what follows lets it
	for i := from; i < len(s); i++ {
		c := s[i]
		switch {
		case commandDropped.has(c):
			continue
		case commandSpaces.has(c):
			pending = true
			continue
		case c == '/' || c == '(':
			pending = false
		case commandUppers.has(c):
			c += 'a' - 'A'
		}
		if pending {
			b.WriteByte(' ')
			pending = false
		}
		b.WriteByte(c)
	}
	if pending {
		b.WriteByte(' ')
	}
	return b.String()
}

// commandChange returns where the first byte is that cmdLine does not leave alone, or -1.
func commandChange(s string) int {
	for i := range len(s) {
		if commandChanged.has(s[i]) || s[i] == ' ' && i+1 < len(s) && commandBehindSpace.has(s[i+1]) {
			return i
		}
	}
	return -1
}
