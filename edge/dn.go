package edge

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"slices"
	"strings"
	"unicode/utf8"
)

// attributeNames are those of RFC 2253 §2.3, and two that OpenSSL writes in words, too.
var attributeNames = map[string]string{
	"2.5.4.3": "CN", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.10": "O", "2.5.4.11": "OU", "2.5.4.6": "C", "2.5.4.9": "street",
	"0.9.2342.19200300.100.1.25": "DC", "0.9.2342.19200300.100.1.1": "UID",
	"1.2.840.113549.1.9.1": "emailAddress", "2.5.4.5": "serialNumber",
}

// distinguishedName writes a DER-encoded name as RFC 2253 has it, the last part first,
// as `openssl x509 -nameopt RFC2253` does: what is no printable ASCII is escaped byte by
// byte, so a name never ends a field line. What cannot be read is empty.
func distinguishedName(der []byte) string {
	var name pkix.RDNSequence
	if rest, err := asn1.Unmarshal(der, &name); err != nil || len(rest) > 0 {
		return ""
	}
	parts := make([]string, 0, len(name))
	for _, set := range slices.Backward(name) {
		one := make([]string, 0, len(set))
		for _, a := range slices.Backward(set) {
			one = append(one, attribute(a))
		}
		parts = append(parts, strings.Join(one, "+"))
	}
	return strings.Join(parts, ",")
}

// attribute writes one type and value. A value that is no text, or of a type without a
// name, is its encoding (§2.4).
func attribute(a pkix.AttributeTypeAndValue) string {
	name, known := attributeNames[a.Type.String()]
	text, isText := a.Value.(string)
	if known && isText && utf8.ValidString(text) {
		return name + "=" + escapedValue(text)
	}
	der, err := asn1.Marshal(a.Value)
	if err != nil {
		return a.Type.String() + "="
	}
	return a.Type.String() + "=#" + strings.ToUpper(hex.EncodeToString(der))
}

// escapedValue is a value with what RFC 2253 §2.4 and a field line give a meaning escaped.
func escapedValue(value string) string {
	var b strings.Builder
	for i := range len(value) {
		switch c := value[i]; {
		case c < ' ' || c >= 0x7f:
			b.WriteString("\\" + strings.ToUpper(hex.EncodeToString([]byte{c})))
		case strings.IndexByte(`,+"\<>;`, c) >= 0, c == '#' && i == 0, c == ' ' && (i == 0 || i == len(value)-1):
			b.WriteString("\\" + string(c))
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}
