package compress

import (
	"bytes"

	"gatehouse/internal/octets"
)

// MinLength is the length below which a body of known length is left alone. With its head it fits into one
// packet of 1,460 bytes of TCP as it is: a coding would cost both sides time and make no client wait less.
const MinLength = 1 << 10

// A Head is what the head of an answer without a coding says about a coded form of it. Set Method, Status
// and Length, then Add every field line; a stored answer is the same as one that has just come. It is
// not safe for concurrent use.
type Head struct {
	// Method is the request's. The answer to HEAD has the fields that the one to GET would have (RFC
	// 9110 §9.3.2).
	Method string
	// Status is the final status.
	Status int
	// Length is the body's in bytes, as announced; -1: unknown.
	Length int64

	worth   bool
	barred  bool
	varying bool
}

// Add takes note of one field line.
func (h *Head) Add(name, value []byte) {
	switch {
	case octets.Is(name, "content-type"):
		h.worth = Worth(value)
	case octets.Is(name, "vary"):
		h.varying = h.varying || anyMember(value, "accept-encoding") || anyMember(value, "*")
	case octets.Is(name, "content-encoding"):
		h.barred = h.barred || !octets.Is(octets.TrimOWS(value), Identity.String())
	case octets.Is(name, "cache-control"):
		h.barred = h.barred || anyMember(value, "no-transform") // RFC 9110 §7.7
	case octets.Is(name, "content-range"), octets.Is(name, "content-digest"), octets.Is(name, "repr-digest"),
		octets.Is(name, "digest"), octets.Is(name, "content-md5"):
		h.barred = true // a part, or a sum that would be wrong (RFC 9530 §2, §3)
	}
}

// Eligible reports whether the answer has a coded form: a whole body of a type that is worth it, long enough as
// far as that is known, without a coding, and without anything that forbids or contradicts one. If so, the
// answer varies by Accept-Encoding, also where the client gets it without a coding.
func (h *Head) Eligible() bool {
	return h.worth && !h.barred && whole(h.Status) && (h.Length < 0 || h.Length >= MinLength)
}

// Varying reports whether Vary names Accept-Encoding, or everything, already. Where it does not, an eligible answer
// needs [VaryName] with [VaryValue] (RFC 9110 §12.5.5).
func (h *Head) Varying() bool { return h.varying }

// The field line that an eligible answer has in every form.
const (
	VaryName  = "Vary"
	VaryValue = "Accept-Encoding"
)

// ContentEncoding is the name of the field that the coded form has, with the coding as its value.
const ContentEncoding = "Content-Encoding"

// whole reports whether a final answer of that status has a body of its own that is not a part of another.
func whole(status int) bool {
	switch status {
	case 204, 205, 206, 226, 304: // 226: a change to what the client has (RFC 3229)
		return false
	}
	return status >= 200
}

// Coded returns what the value of a field line becomes in the coded form; false: the line goes. Appended to room, if it
// is another. Content-Length goes and is known again when the body is, Accept-Ranges goes since parts of a coded
// form that is made anew each time cannot be put together, and Content-Encoding goes where it said
// identity: it is the caller's to add.
//
// A strong entity tag becomes a weak one: the forms of an answer share it and are not the same
// octets (RFC 9110 §8.8.3.3). If-None-Match goes by weak comparison, so revalidation works; If-Match
// and If-Range do not take weak tags. What an unsafe method answers with is the tag of what it has made (RFC 9110 §8.8), not
// of the body that is coded, and stays. A tag that is malformed goes, since nothing can be said of it.
func (h *Head) Coded(room, name, value []byte) ([]byte, bool) {
	switch len(name) {
	case len("etag"):
		if octets.Is(name, "etag") && (h.Method == "GET" || h.Method == "HEAD") {
			return Weak(room, value)
		}
	case len("accept-ranges"):
		return value, !octets.Is(name, "accept-ranges")
	case len("content-length"):
		return value, !octets.Is(name, "content-length")
	case len(ContentEncoding):
		return value, !octets.Is(name, "content-encoding")
	}
	return value, true
}

// Weak returns the weak form of an entity tag (RFC 9110 §8.8.3): the tag itself where it is weak, else appended to room.
// false: it is malformed.
func Weak(room, tag []byte) ([]byte, bool) {
	tag = octets.TrimOWS(tag)
	opaque, weak := bytes.CutPrefix(tag, []byte("W/"))
	if len(opaque) < 2 || opaque[0] != '"' || bytes.IndexByte(opaque[1:], '"') != len(opaque)-2 {
		return nil, false
	}
	if weak {
		return tag, true
	}
	return append(append(room, "W/"...), tag...), true
}

// anyMember reports whether a comma-separated list has word, which is in lower case. What stands in quotes may be
// taken for a member: whoever writes "no-transform" into a text is not transformed.
func anyMember(list []byte, word string) bool {
	for len(list) > 0 {
		var member []byte
		member, list, _ = bytes.Cut(list, []byte(","))
		if octets.Is(octets.TrimOWS(member), word) {
			return true
		}
	}
	return false
}
