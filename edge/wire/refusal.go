package wire

import "slices"

// A Refusal is why a message is not let in, with the status that says so. It is
// an error; the reason is for the client and quotes nothing of what it sent.
type Refusal struct {
	Status int
	// Code names the refusal in counters: one of RefusalCodes. It stays what it is
	// from version to version.
	Code   string
	Reason string
}

// Error implements error.
func (r *Refusal) Error() string { return r.Reason }

// refusalCodes are those of all refusals below.
var refusalCodes []string

func newRefusal(status int, code, reason string) *Refusal {
	refusalCodes = append(refusalCodes, code)
	return &Refusal{Status: status, Code: code, Reason: reason}
}

// RefusalCodes returns the codes of all refusals that there are.
func RefusalCodes() []string { return slices.Clone(refusalCodes) }

// What is refused. Each has one value, so that a refusal costs nothing.
var (
	errBareLF        = newRefusal(400, "bare_lf", "line ends without CR (RFC 9112 §2.2)")
	errBareCR        = newRefusal(400, "bare_cr", "CR without LF (RFC 9112 §2.2)")
	errEmptyLines    = newRefusal(400, "empty_lines", "more than one empty line before a request (RFC 9112 §2.2)")
	errRequestLine   = newRefusal(400, "request_line", "malformed request line (RFC 9112 §3)")
	errMethod        = newRefusal(501, "method_long", "method too long")
	errVersion       = newRefusal(505, "version", "HTTP version not supported")
	errTarget        = newRefusal(400, "target", "malformed request target (RFC 9112 §3.2)")
	errTargetLong    = newRefusal(414, "target_long", "request target too long")
	errAuthority     = newRefusal(400, "authority", "request target and Host disagree (RFC 9112 §3.2.2)")
	errConnect       = newRefusal(405, "method", "method not allowed")
	errFieldName     = newRefusal(400, "field_name", "malformed field name (RFC 9112 §5.1)")
	errFieldValue    = newRefusal(400, "field_value", "control character in a field value (RFC 9110 §5.5)")
	errFold          = newRefusal(400, "field_folded", "field continued on the next line (RFC 9112 §5.2)")
	errFields        = newRefusal(431, "fields", "too many header fields")
	errHeadLong      = newRefusal(431, "head_large", "request header fields too large")
	errHost          = newRefusal(400, "host", "exactly one Host field is required (RFC 9112 §3.2)")
	errLength        = newRefusal(400, "length", "malformed Content-Length (RFC 9112 §6.3)")
	errCoding        = newRefusal(501, "coding", "transfer coding not supported (RFC 9112 §6.1)")
	errCoding10      = newRefusal(400, "coding_http10", "Transfer-Encoding in HTTP/1.0 (RFC 9112 §6.1)")
	errFraming       = newRefusal(400, "framing", "ambiguous message framing (RFC 9112 §6.3)")
	errExpectation   = newRefusal(417, "expectation", "expectation not supported (RFC 9110 §10.1.1)")
	errInternal      = newRefusal(500, "internal", "internal error")
	errHeadCut       = newRefusal(400, "head_cut", "the request ended early")
	errHeadTime      = newRefusal(408, "head_time", "the request took too long")
	errChunk         = newRefusal(400, "chunk", "malformed chunk (RFC 9112 §7.1)")
	errChunkExt      = newRefusal(400, "chunk_extension", "chunk extensions too long (RFC 9112 §7.1.1)")
	errTrailer       = newRefusal(400, "trailer", "malformed trailer (RFC 9112 §7.1.2)")
	errTrailerField  = newRefusal(400, "trailer_field", "field not allowed in a trailer (RFC 9110 §6.5.1)")
	errTrailersLarge = newRefusal(431, "trailers_large", "trailers too large")
	errBodyCut       = newRefusal(400, "body_cut", "the request body ended early")
	errBodySlow      = newRefusal(408, "body_time", "the request body came too slowly")
)
