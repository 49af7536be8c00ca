package acme

import (
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A Keyring seals what nodes share, by AES-256-GCM with the place where it is kept as additional data: what is sealed for one name
// cannot be put in the place of another's. The first key seals, all of them open, so that a key is changed in two steps: add
// the new one behind the old on all nodes, then put it first. It is safe for concurrent use.
type Keyring struct{ keys []sealKey }

type sealKey struct {
	id     [4]byte // the first bytes of the key's SHA-256
	sealer cipher.AEAD
}

// What is sealed begins with a version and the key's id.
const (
	sealVersion = 1
	// sealVersionMost is the last that there will be: what begins otherwise is text that somebody else wrote.
	sealVersionMost = 31
	sealNonce       = 12
	sealHeader      = 1 + 4 + sealNonce
	sealLabel       = "gatehouse shared 1\x00"
)

// NewKeyring makes a Keyring of keys of 32 bytes each.
func NewKeyring(keys ...[]byte) (*Keyring, error) {
	if len(keys) == 0 {
		return nil, errors.New("acme: no key to seal with")
	}
	k := &Keyring{}
	for i, key := range keys {
		if len(key) != ticketKeySize {
			return nil, fmt.Errorf("acme: key %d to seal with has %d bytes, want %d", i+1, len(key), ticketKeySize)
		}
		sealer, err := newSealer(key)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(key)
		k.keys = append(k.keys, sealKey{[4]byte(sum[:4]), sealer})
	}
	return k, nil
}

// ParseSealKey reads a key as the settings have it: 32 bytes as 64 hexadecimal digits or in base64 of either alphabet.
func ParseSealKey(text string) ([]byte, error) {
	text = strings.TrimSpace(text)
	if key, err := hex.DecodeString(text); err == nil && len(key) == ticketKeySize {
		return key, nil
	}
	plain := strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(text), "=")
	if key, err := base64.RawStdEncoding.DecodeString(plain); err == nil && len(key) == ticketKeySize {
		return key, nil
	}
	return nil, errors.New("a key to seal with is 32 bytes: 64 hexadecimal digits or base64, as openssl rand -hex 32 makes them")
}

// seal seals a value for a place.
func (k *Keyring) seal(place string, plain []byte) []byte {
	key := &k.keys[0]
	out := make([]byte, sealHeader, sealHeader+len(plain)+key.sealer.Overhead())
	out[0] = sealVersion
	copy(out[1:], key.id[:])
	_, _ = rand.Read(out[5:sealHeader]) // never fails, see crypto/rand
	return key.sealer.Seal(out, out[5:sealHeader], plain, placeData(place))
}

var (
	errSealed  = errors.New("it is not sealed by any of seal_keys, or was changed or moved")
	errSealing = errors.New("it is sealed by a later version")
)

// open opens what was sealed for a place. old: not by the key that seals now.
func (k *Keyring) open(place string, sealed []byte) (plain []byte, old bool, err error) {
	if len(sealed) < sealHeader || sealed[0] > sealVersionMost {
		return nil, false, errSealed
	}
	if sealed[0] != sealVersion {
		return nil, false, errSealing
	}
	for i := range k.keys {
		key := &k.keys[i]
		if [4]byte(sealed[1:5]) != key.id {
			continue
		}
		if plain, err = key.sealer.Open(nil, sealed[5:sealHeader], sealed[sealHeader:], placeData(place)); err == nil {
			return plain, i > 0, nil
		}
	}
	return nil, false, errSealed
}

func placeData(place string) []byte { return append([]byte(sealLabel), place...) }

// isForeign reports whether something that does not open was never sealed by any node: neither a later version, nor a key that is not of this ring, has.
func (k *Keyring) isForeign(sealed []byte) bool {
	if len(sealed) < sealHeader || sealed[0] == 0 || sealed[0] > sealVersionMost {
		return true
	}
	return sealed[0] == sealVersion && slices.ContainsFunc(k.keys, func(key sealKey) bool { return key.id == [4]byte(sealed[1:5]) })
}
