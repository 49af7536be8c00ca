package wire

// A Refusal is why a message is not let in, with the status that says so. It is
// an error; the reason is for the client and quotes nothing of what it sent.
type Refusal struct {
	Status int
	Reason string
}

// Error implements error.
func (r *Refusal) Error() string { return r.Reason }

// What is refused. Each has one value, so that a refusal costs nothing.
var (
	errBareLF        = &Refusal{400, "line ends without CR (RFC 9112 §2.2)"}
	errBareCR        = &Refusal{400, "CR without LF (RFC 9112 §2.2)"}
	errEmptyLines    = &Refusal{400, "more than one empty line before a request (RFC 9112 §2.2)"}
	errRequestLine   = &Refusal{400, "malformed request line (RFC 9112 §3)"}
	errMethod        = &Refusal{501, "method too long"}
	errVersion       = &Refusal{505, "HTTP version not supported"}
	errTarget        = &Refusal{400, "malformed request target (RFC 9112 §3.2)"}
	errTargetLong    = &Refusal{414, "request target too long"}
	errAuthority     = &Refusal{400, "request target and Host disagree (RFC 9112 §3.2.2)"}
	errConnect       = &Refusal{405, "method not allowed"}
	errFieldName     = &Refusal{400, "malformed field name (RFC 9112 §5.1)"}
	errFieldValue    = &Refusal{400, "control character in a field value (RFC 9110 §5.5)"}
	errFold          = &Refusal{400, "field continued on the next line (RFC 9112 §5.2)"}
	errFields        = &Refusal{431, "too many header fields"}
	errHeadLong      = &Refusal{431, "request header fields too large"}
	errHost          = &Refusal{400, "exactly one Host field is required (RFC 9112 §3.2)"}
	errLength        = &Refusal{400, "malformed Content-Length (RFC 9112 §6.3)"}
	errCoding        = &Refusal{501, "transfer coding not supported (RFC 9112 §6.1)"}
	errCoding10      = &Refusal{400, "Transfer-Encoding in HTTP/1.0 (RFC 9112 §6.1)"}
	errFraming       = &Refusal{400, "ambiguous message framing (RFC 9112 §6.3)"}
	errExpectation   = &Refusal{417, "expectation not supported (RFC 9110 §10.1.1)"}
	errInternal      = &Refusal{500, "internal error"}
	errHeadCut       = &Refusal{400, "the request ended early"}
	errHeadTime      = &Refusal{408, "the request took too long"}
	errChunk         = &Refusal{400, "malformed chunk (RFC 9112 §7.1)"}
	errChunkExt      = &Refusal{400, "chunk extensions too long (RFC 9112 §7.1.1)"}
	errTrailer       = &Refusal{400, "malformed trailer (RFC 9112 §7.1.2)"}
	errTrailerField  = &Refusal{400, "field not allowed in a trailer (RFC 9110 §6.5.1)"}
	errTrailersLarge = &Refusal{431, "trailers too large"}
	errBodyCut       = &Refusal{400, "the request body ended early"}
	errBodySlow      = &Refusal{408, "the request body came too slowly"}
)
