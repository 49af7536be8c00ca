package acme

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

func epochAt(now time.Time) uint32 { return uint32(now.Unix() / int64(ticketEpoch/time.Second)) }

// rotate makes the ring of a time: it loads or makes the keys of the present and
// the next epoch, keeps older ones that there are, and erases the rest. A key that
// cannot be stored is used all the same, and the error returned.
func (t *tickets) rotate(now time.Time) error {
	current := epochAt(now)
	ring := &ticketRing{current: current}
	old := t.ring.Load()
	var failed []error
	for i := range ring.keys {
		epoch := current - ticketsKept + uint32(i)
		ring.keys[i].epoch = epoch
		if sealer := old.find(epoch); sealer != nil {
			ring.keys[i].sealer = sealer
			continue
		}
		sealer, err := t.key(epoch, epoch >= current)
		if err != nil {
			failed = append(failed, err)
		}
		ring.keys[i].sealer = sealer
	}
	if ring.find(current) == nil {
		return fmt.Errorf("acme: ticket keys: %w", errors.Join(failed...))
	}
	t.ring.Store(ring)
	failed = append(failed, t.erase(current))
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("acme: ticket keys: %w", err)
	}
	return nil
}

func (t *tickets) file(epoch uint32) string {
	return filepath.Join(t.dir, strconv.FormatUint(uint64(epoch), 10)+".key")
}

// key loads the key of an epoch, or makes it. The sealer may be valid beside an
// error: the key is then in memory only.
func (t *tickets) key(epoch uint32, make bool) (cipher.AEAD, error) {
	key, err := os.ReadFile(t.file(epoch))
	if err == nil && len(key) == ticketKeySize {
		return newSealer(key)
	}
	if err == nil {
		t.log.Warn("ticket key has a wrong size and is replaced", "file", t.file(epoch), "bytes", len(key))
	} else if !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if !make {
		return nil, nil
	}
	key = newKey()
	sealer, err := newSealer(key)
	if err != nil {
		return nil, err
	}
	return sealer, writeFile(t.file(epoch), key, 0o600)
}

func newKey() []byte {
	key := make([]byte, ticketKeySize)
	rand.Read(key) // never fails, see crypto/rand
	return key
}

func newSealer(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// erase removes the key files outside the ring of an epoch, so that tickets of old
// connections cannot be opened any more, not even by whoever gets the disk.
func (t *tickets) erase(current uint32) error {
	entries, err := os.ReadDir(t.dir)
	if err != nil {
		return err
	}
	var failed []error
	for _, entry := range entries {
		number, ok := strings.CutSuffix(entry.Name(), ".key")
		epoch, err := strconv.ParseUint(number, 10, 32)
		if !ok || err != nil {
			continue
		}
		if e := int64(epoch) - int64(current); e < -ticketsKept || e > ticketsAhead {
			failed = append(failed, ignoreAbsent(os.Remove(filepath.Join(t.dir, entry.Name()))))
		}
	}
	return errors.Join(failed...)
}

// run rotates at each epoch's begin until ctx ends. It looks every minute, since a
// timer of hours drifts from the wall clock when a machine sleeps.
func (t *tickets) run(ctx context.Context) {
	ticker := time.NewTicker(time.Minute)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if epochAt(time.Now()) == t.ring.Load().current {
			continue
		}
		if err := t.rotate(time.Now()); err != nil {
			t.log.Error("ticket keys not rotated properly", "err", err)
		}
	}
}
