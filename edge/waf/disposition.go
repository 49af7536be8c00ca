// Derived from internal/bodyprocessors/multipart.go of OWASP Coraza v3.8.1,
// Copyright 2022 Juan Pablo Tosso and the OWASP Coraza contributors,
// licensed under the Apache License, Version 2.0 (https://www.apache.org/licenses/LICENSE-2.0).
// Changed: split into functions, comments shortened. What is read, and what is flagged, is the same; what may
// be no file name is told, too.

package waf

import (
	"mime"
	"strings"
)

// disposition is what a part's Content-Disposition field (RFC 7578, section 4.2) says about its
// file name. Backends disagree on which parameter wins, so each reading is kept for the rules, and every
// sign of a disagreement is flagged.
type disposition struct {
	filename       string
	altFilename    string // the plain filename, where a filename* says otherwise; else empty
	charset        string // of filename*
	language       string // of filename*; often empty
	hasExtended    bool   // there is a filename* of the right shape
	malformed      bool   // the field does not parse, or a file name in it does not decode
	duplicateParam bool   // a parameter occurs twice
	invalidQuoting bool   // filename* is quoted, which RFC 5987, section 3.2.1, does not allow
	maybeField     bool   // there is a file name, but not in every reading of the field: see plainFilename
}

// dispositionOf reads the value of a Content-Disposition field. An absent field (empty value) is
// nothing to complain of.
func dispositionOf(value string) disposition {
	var d disposition
	_, params, err := mime.ParseMediaType(value)
	if err != nil {
		if value != "" {
			d.malformed = true
			d.duplicateParam = hasDuplicateParam(value)
		}
		return d
	}
	d.filename = params["filename"]
	continued := hasFilenameContinuation(value)
	d.malformed = continued
	if raw, ok := findParam(value, "filename*"); ok {
		d.readExtended(value, raw)
	} else if continued {
		d.readContinued(value)
	}
	d.maybeField = (d.filename != "" || d.altFilename != "") && !plainFilename(value)
	return d
}

// plainFilename reports whether a backend that knows nothing of filename* and, like PHP, takes single quotes for
// quotes too, and a backslash for one only before the quote, sees a file name. Where it sees none, what
// is an upload for others is a field there.
func plainFilename(value string) bool {
	for value != "" {
		var param string
		param, value = phpWord(value, ';')
		key, raw, _ := strings.Cut(param, "=")
		if strings.EqualFold(strings.Trim(key, " \t\r\n"), "filename") && strings.Trim(raw, " \t\"'") != "" {
			return true
		}
	}
	return false
}

// phpWord returns what stands before stop, outside of quotes, and what follows it.
func phpWord(s string, stop byte) (word, rest string) {
	for i := 0; i < len(s); i++ {
		switch quote := s[i]; quote {
		case stop:
			return s[:i], s[i+1:]
		case '"', '\'':
			for i++; i < len(s) && s[i] != quote; i++ {
				if s[i] == '\\' && i+1 < len(s) && s[i+1] == quote {
					i++
				}
			}
		}
	}
	return s, ""
}

// readContinued handles filename*0=, filename*1= and so on (RFC 2231, section 3). They are not put
// together here, since few backends do; mime.ParseMediaType may have let them replace the plain
// filename, so that one is read again from the field.
func (d *disposition) readContinued(value string) {
	raw, ok := findParam(value, "filename")
	if !ok {
		return
	}
	raw, _ = unquote(raw)
	if d.filename != "" && d.filename != raw {
		d.altFilename = d.filename
	}
	d.filename = raw
}

// readExtended handles filename*=charset'language'value.
func (d *disposition) readExtended(value, raw string) {
	raw, d.invalidQuoting = unquote(raw)
	parts := strings.SplitN(raw, "'", 3)
	if len(parts) != 3 {
		d.malformed = true
		return
	}
	decoded, invalidEscape := percentDecode(parts[2])
	d.filename, d.charset, d.language, d.hasExtended = decoded, parts[0], parts[1], true
	// mime.ParseMediaType has put the decoded value in place of the plain filename for some charsets,
	// so the plain one is read from the field here, too.
	if plain, ok := findParam(value, "filename"); ok {
		if plain, _ = unquote(plain); plain != "" && plain != decoded {
			d.altFilename = plain
		}
	}
	d.malformed = d.malformed || invalidEscape
}

// unquote removes the quotes of a quoted-string and reports whether there were any.
func unquote(s string) (string, bool) {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return s, false
	}
	inner := s[1 : len(s)-1]
	var b strings.Builder
	b.Grow(len(inner))
	for i := 0; i < len(inner); i++ {
		if inner[i] == '\\' && i+1 < len(inner) {
			i++
		}
		b.WriteByte(inner[i])
	}
	return b.String(), true
}

// hasFilenameContinuation reports whether there is a parameter filename*N or filename*N*, N decimal.
func hasFilenameContinuation(value string) bool {
	found := false
	eachParam(value, func(param string) bool {
		key, _, ok := strings.Cut(param, "=")
		if !ok {
			return true
		}
		key = strings.TrimSuffix(strings.TrimSpace(key), "*")
		digits, ok := strings.CutPrefix(strings.ToLower(key), "filename*")
		found = ok && digits != "" && strings.Trim(digits, "0123456789") == ""
		return !found
	})
	return found
}

// findParam returns the raw value of a parameter, whatever the case of its name.
func findParam(value, key string) (raw string, ok bool) {
	eachParam(value, func(param string) bool {
		k, v, found := strings.Cut(param, "=")
		if !found || !strings.EqualFold(strings.TrimSpace(k), key) {
			return true
		}
		raw, ok = strings.TrimSpace(v), true
		return false
	})
	return raw, ok
}

// hasDuplicateParam reports whether a parameter occurs twice. The sender chooses how many there are, so
// a set and not a list.
func hasDuplicateParam(value string) bool {
	seen := map[string]struct{}{}
	duplicate := false
	eachParam(value, func(param string) bool {
		key, _, found := strings.Cut(param, "=")
		if !found {
			return true
		}
		key = strings.ToLower(strings.TrimSpace(key))
		_, duplicate = seen[key]
		seen[key] = struct{}{}
		return !duplicate
	})
	return duplicate
}

// eachParam calls visit with each "name=value" of the field until it returns false. A semicolon in a
// quoted string separates nothing.
func eachParam(value string, visit func(param string) bool) {
	quoted := false
	start := 0
	for i := 0; i < len(value); i++ {
		switch {
		case value[i] == '\\' && quoted:
			i++
		case value[i] == '"':
			quoted = !quoted
		case value[i] == ';' && !quoted:
			if !visit(value[start:i]) {
				return
			}
			start = i + 1
		}
	}
	visit(value[start:])
}

// percentDecode decodes %XX. What does not decode is left as it is, since the result is matched by
// rules and hiding it would help the sender; it is reported, for a backend may read it differently.
func percentDecode(s string) (decoded string, invalidEscape bool) {
	if !strings.Contains(s, "%") {
		return s, false
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			hi, lo := unhex(s[i+1]), unhex(s[i+2])
			if hi >= 0 && lo >= 0 {
				b.WriteByte(byte(hi<<4 | lo))
				i += 2
				continue
			}
		}
		invalidEscape = invalidEscape || s[i] == '%'
		b.WriteByte(s[i])
	}
	return b.String(), invalidEscape
}

// unhex returns the value of a hexadecimal digit, or -1.
func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
