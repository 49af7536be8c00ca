package acme

import (
	"crypto/ecdh"
	"fmt"
	"strings"

	"golang.org/x/crypto/cryptobyte"
)

// What stands in an ECHConfig (RFC 9849 section 4), by the numbers of RFC 9180 section 7.
const (
	echVersion = 0xfe0d
	echKeySize = 32

	hpkeX25519           = 0x0020 // DHKEM(X25519, HKDF-SHA256)
	hpkeSHA256           = 0x0001 // HKDF-SHA256
	hpkeAES128GCM        = 0x0001
	hpkeChaCha20Poly1305 = 0x0003

	// echNameLength is up to which length server names look alike: clients pad shorter ones. The longest of the table would
	// tell of the table, and make another config with each longer name.
	echNameLength = 64
)

// echConfig is the ECHConfig of a private key. The id tells keys apart; clients show it in the clear.
func echConfig(id uint8, private []byte, publicName string) ([]byte, error) {
	key, err := ecdh.X25519().NewPrivateKey(private)
	if err != nil {
		return nil, err
	}
	var b cryptobyte.Builder
	b.AddUint16(echVersion)
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		b.AddUint8(id)
		b.AddUint16(hpkeX25519)
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(key.PublicKey().Bytes()) })
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
			for _, aead := range []uint16{hpkeAES128GCM, hpkeChaCha20Poly1305} {
				b.AddUint16(hpkeSHA256)
				b.AddUint16(aead)
			}
		})
		b.AddUint8(echNameLength)
		b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(publicName)) })
		b.AddUint16(0) // no extensions
	})
	return b.Bytes()
}

// echConfigList is the ECHConfigList of one config, as DNS and clients have it.
func echConfigList(config []byte) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(config) })
	return b.Bytes()
}

// checkPublicName says why clients would pass over a config with that public name (RFC 9849 section 4); nil: they take it.
func checkPublicName(name string) error {
	canonical, ok := canonicalName(name)
	if !ok || canonical != name {
		return fmt.Errorf("bad name %q: want a host name in lower case, such as front.example.com", name)
	}
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-") || strings.Contains(label, "_") {
			return fmt.Errorf("bad name %q: want labels of letters, digits and inner hyphens; clients take no others", name)
		}
	}
	last := labels[len(labels)-1]
	if len(labels) < 2 || last[0] >= '0' && last[0] <= '9' { // some clients would take it for an address
		return fmt.Errorf("bad name %q: want one in a domain, such as front.example.com", name)
	}
	return nil
}
