package gate

import "strings"

// replaceComments is its namesake: each /*…*/ becomes a space; one without an end reaches to the end.
var replaceComments = decoding("/", func(rest string) (string, int) {
	if !strings.HasPrefix(rest, "/*") {
		return "", 0
	}
	if end := strings.Index(rest[2:], "*/"); end >= 0 {
		return " ", 2 + end + 2
	}
	return " ", len(rest)
})

// removeCommentMarks is removeCommentsChar: what begins or ends a comment goes, the comment stays.
var removeCommentMarks = decoding("/*<-#", func(rest string) (string, int) {
	for _, mark := range [...]string{"/*", "*/", "<!--", "-->", "--", "#"} {
		if strings.HasPrefix(rest, mark) {
			return "", len(mark)
		}
	}
	return "", 0
})

// removeComments is its namesake: a comment of C or HTML goes, and everything from a # or -- on.
//
// Coraza's has its ways, which are kept to: either kind of comment ends with whichever end comes first; the
// byte behind an end is never looked at, so that a comment that begins there is none; at the end of the text this
// byte is a NUL; and a comment without an end becomes a space.
var removeComments = decoding("/<-#", func(rest string) (string, int) {
	var begin int
	switch {
	case rest[0] == '#', strings.HasPrefix(rest, "--"):
		return "", len(rest)
	case strings.HasPrefix(rest, "/*"):
		begin = len("/*")
	case strings.HasPrefix(rest, "<!--"):
		begin = len("<!--")
	default:
		return "", 0
	}
	end := commentEnd(rest, begin)
	switch {
	case end < 0:
		return " ", len(rest)
	case end == len(rest):
		return "\x00", end
	}
	return rest[end : end+1], end + 1
})

// commentEnd returns where the first */ or --> from a place on ends, or -1.
func commentEnd(s string, from int) int {
	for i := from; i < len(s); i++ {
		switch {
		case s[i] == '*' && strings.HasPrefix(s[i:], "*/"):
			return i + 2
		case s[i] == '-' && strings.HasPrefix(s[i:], "-->"):
			return i + 3
		}
	}
	return -1
}
