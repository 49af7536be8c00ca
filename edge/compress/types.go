package compress

import (
	"bytes"
	"strings"

	"gatehouse/internal/octets"
)

// worthTypes are the types outside text/* that become much smaller. What is compressed in itself is not among
// them: pictures, video, archives, PDF, WOFF and WOFF2 would cost time and gain nothing.
var worthTypes = func() map[string]bool {
	out := map[string]bool{}
	for name := range strings.FieldsSeq(`
		application/javascript application/x-javascript application/ecmascript application/wasm
		application/json application/x-json application/json-seq application/ndjson application/x-ndjson application/jsonl
		application/xml application/xml-dtd application/graphql application/sql
		application/yaml application/x-yaml application/toml application/rtf application/x-sh
		application/vnd.ms-fontobject application/x-font-ttf application/x-font-otf application/font-sfnt
		font/ttf font/otf font/sfnt font/collection
		image/bmp image/x-icon image/vnd.microsoft.icon
	`) {
		out[name] = true
	}
	return out
}()

// longestType is longer than any type that is worth it.
const longestType = 127

// Worth reports whether bodies of a Content-Type are worth a coding: text, JSON, XML, scripts, SVG,
// WebAssembly, fonts and pictures that are not compressed in themselves. Parameters and case do not
// count. text/event-stream is worth it as other text is, since a [Reader] holds nothing back. An
// empty value is not: without a type nothing is known of the body.
func Worth(contentType []byte) bool {
	bare, _, _ := bytes.Cut(contentType, []byte(";"))
	bare = octets.TrimOWS(bare)
	if len(bare) > longestType {
		return false
	}
	var room [longestType]byte
	lower := room[:0]
	for _, c := range bare {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		lower = append(lower, c)
	}
	switch {
	case bytes.HasPrefix(lower, []byte("text/")):
		return true
	case bytes.HasSuffix(lower, []byte("+json")), bytes.HasSuffix(lower, []byte("+xml")), bytes.HasSuffix(lower, []byte("+yaml")): // RFC 6839
		return true
	}
	return worthTypes[string(lower)]
}
