package acme

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// mostDisplaced bounds the keys, of all epochs together, beside those which all nodes agree on: each costs a trial of each hello that none opens.
const mostDisplaced = 4

// displace keeps a key that this node has published, and that another one takes the place of, as one more that decrypts, until its epoch's keys are of no
// use: where a Redis was emptied and a new node came first, clients have the old one from DNS for as long as that is cached.
func (e *echKeys) displace(ring *echRing, epoch int64, held []byte) error {
	there := ring.displaced[epoch]
	same := func(key []byte) bool { return bytes.Equal(key, held) }
	if held == nil || same(ring.private[epoch]) || countKeys(ring.displaced) >= mostDisplaced || slices.ContainsFunc(there, same) {
		return nil
	}
	ring.displaced[epoch] = append(slices.Clip(there), held)
	return e.keepDisplaced(epoch, held)
}

func countKeys(displaced map[int64][][]byte) (n int) {
	for _, keys := range displaced {
		n += len(keys)
	}
	return n
}

// keepDisplaced writes such a key into the folder: it has to outlive a restart.
func (e *echKeys) keepDisplaced(epoch int64, key []byte) error {
	sum := sha256.Sum256(key)
	name := strconv.FormatInt(epoch, 10) + "-" + hex.EncodeToString(sum[:4]) + ".sealed"
	return writeFile(filepath.Join(e.dir, name), e.keys.seal(echPlace(epoch), key), 0o600)
}

// loadDisplaced reads those of the folder, of the last epochs first. One that cannot be read is as one that is lost.
func (e *echKeys) loadDisplaced() map[int64][][]byte {
	found := map[int64][][]byte{}
	if e.shared == nil {
		return found
	}
	files, _ := filepath.Glob(filepath.Join(e.dir, "*-*.sealed")) // the pattern is good, and what it finds is sorted
	for _, file := range slices.Backward(files) {
		name, _, _ := strings.Cut(filepath.Base(file), "-")
		epoch, err := strconv.ParseInt(name, 10, 64)
		if err != nil || countKeys(found) >= mostDisplaced {
			continue
		}
		sealed, err := os.ReadFile(file)
		if err != nil {
			e.log.Warn("displaced ECH key not read", "err", err)
			continue
		}
		key, old, err := e.keys.open(echPlace(epoch), sealed)
		if err == nil && old {
			err = e.keepDisplaced(epoch, key)
		}
		if err != nil {
			e.log.Warn("displaced ECH key not usable", "file", file, "err", err)
		}
		if len(key) == echKeySize {
			found[epoch] = append(found[epoch], key)
		}
	}
	return found
}

// offerDisplaced has such keys of some epochs tried after all others.
func (e *echKeys) offerDisplaced(ring *echRing, epochs []int64) error {
	if ring.tls == nil {
		return nil
	}
	for _, epoch := range epochs {
		for _, key := range ring.displaced[epoch] {
			if bytes.Equal(key, ring.private[epoch]) {
				continue // it has come back
			}
			config, err := echConfig(uint8(epoch), key, e.publicName)
			if err != nil {
				return err
			}
			ring.tls = append(ring.tls, tls.EncryptedClientHelloKey{Config: config, PrivateKey: key})
		}
	}
	return nil
}
