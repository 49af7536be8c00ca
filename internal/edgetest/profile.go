package edgetest

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// CheckProfile returns what keeps data from being a profile as go tool pprof reads it:
// a gzipped message of google/pprof's profile.proto, with its types of samples and its
// strings. Other tools' profiles may be plain; those of Go's runtime are not.
func CheckProfile(data []byte) error {
	in, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("profile: %w: %.80q", err, data)
	}
	message, err := io.ReadAll(in)
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	const sampleType, stringTable = 1, 6
	seen := map[uint64]int{}
	for len(message) > 0 {
		tag, n := binary.Uvarint(message)
		value, m := binary.Uvarint(message[max(n, 0):])
		if n <= 0 || m <= 0 {
			return errors.New("profile: a field is cut")
		}
		message = message[n+m:]
		switch tag & 7 {
		case 0: // a number
		case 2: // bytes, of that length
			if value > uint64(len(message)) {
				return errors.New("profile: a field is longer than the message")
			}
			message = message[value:]
		default:
			return fmt.Errorf("profile: a field of type %d, which profiles do not have", tag&7)
		}
		seen[tag>>3]++
	}
	if seen[sampleType] == 0 || seen[stringTable] == 0 {
		return fmt.Errorf("profile: types of samples or strings are missing; fields: %v", seen)
	}
	return nil
}
