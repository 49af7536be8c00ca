package events

import (
	"strconv"
	"sync"
	"time"
	"unicode/utf8"
)

// lines hold an event while its line is put together.
var lines = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

// appendLine writes the event as encoding/json would, but for HTML's characters, which
// stay as they are: attacks are readable, and found as they are written. It is put
// together by hand, since reflection would take longer than all the rest of an event.
func appendLine(dst []byte, e *Event) []byte {
	dst = append(dst, `{"time":"`...)
	dst = e.Time.AppendFormat(dst, time.RFC3339Nano)
	dst = appendMember(dst, `","id":`, e.ID)
	dst = appendMember(dst, `,"node":`, e.Node)
	if e.Tenant != "" {
		dst = appendMember(dst, `,"tenant":`, e.Tenant)
	}
	dst = appendMember(dst, `,"vhost":`, e.Vhost)
	dst = append(dst, `,"client":"`...)
	if e.Client.IsValid() {
		dst = e.Client.AppendTo(dst)
	}
	dst = appendMember(dst, `","method":`, e.Method)
	dst = appendMember(dst, `,"path":`, e.Path)
	dst = appendMember(dst, `,"phase":`, e.Phase)
	dst = appendMember(dst, `,"mode":`, e.Mode)
	dst = appendMember(dst, `,"verdict":`, e.Verdict)
	dst = strconv.AppendInt(append(dst, `,"score":`...), int64(e.Score), 10)
	dst = strconv.AppendInt(append(dst, `,"threshold":`...), int64(e.Threshold), 10)
	if e.RefusedBy != 0 {
		dst = strconv.AppendInt(append(dst, `,"refused_by":`...), int64(e.RefusedBy), 10)
	}
	dst = append(dst, `,"rules":[`...)
	for i := range e.Rules {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendRule(dst, &e.Rules[i])
	}
	dst = append(dst, ']')
	if e.Cut {
		dst = append(dst, `,"cut":true`...)
	}
	if e.LeftOut != 0 {
		dst = strconv.AppendInt(append(dst, `,"left_out":`...), e.LeftOut, 10)
	}
	return append(dst, "}\n"...)
}

func appendRule(dst []byte, r *Rule) []byte {
	dst = strconv.AppendInt(append(dst, `{"id":`...), int64(r.ID), 10)
	for _, m := range [...]struct{ name, text string }{{`,"message":`, r.Message}, {`,"severity":`, r.Severity}} {
		if m.text != "" {
			dst = appendMember(dst, m.name, m.text)
		}
	}
	for i, tag := range r.Tags {
		if i == 0 {
			dst = append(dst, `,"tags":[`...)
		} else {
			dst = append(dst, ',')
		}
		dst = appendString(dst, tag)
	}
	if len(r.Tags) > 0 {
		dst = append(dst, ']')
	}
	for _, m := range [...]struct{ name, text string }{{`,"target":`, r.Target}, {`,"data":`, r.Data}} {
		if m.text != "" {
			dst = appendMember(dst, m.name, m.text)
		}
	}
	dst = strconv.AppendInt(append(dst, `,"score":`...), int64(r.Score), 10)
	if r.Partial {
		dst = append(dst, `,"partial":true`...)
	}
	return append(dst, '}')
}

// appendMember writes what stands before a text, and the text.
func appendMember(dst []byte, before, text string) []byte {
	return appendString(append(dst, before...), text)
}

const hex = "0123456789abcdef"

// appendString writes s as a string of JSON (RFC 8259 §7). As with encoding/json, what is
// not UTF-8 becomes U+FFFD, and the line separators of Unicode are escaped, since some
// readers of lines take them for an end.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	begin := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		if c < utf8.RuneSelf {
			dst = append(dst, s[begin:i]...)
			if c == '"' || c == '\\' {
				dst = append(dst, '\\', c)
			} else {
				dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
			}
			i++
			begin = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 || r == '\u2028' || r == '\u2029' {
			dst = append(dst, s[begin:i]...)
			dst = append(dst, '\\', 'u', hex[r>>12&0xf], hex[r>>8&0xf], hex[r>>4&0xf], hex[r&0xf])
			begin = i + size
		}
		i += size
	}
	return append(append(dst, s[begin:]...), '"')
}
