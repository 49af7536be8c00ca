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
// cannot be stored is used all the same, and the error returned. Nodes that share keys make none without the others: while those are away,
// the newest key that this node has seals on, whatever its epoch.
func (t *tickets) rotate(ctx context.Context, now time.Time) error {
	current := epochAt(now)
	ring := &ticketRing{epoch: current}
	old := t.ring.Load()
	var failed []error
	for i := range ring.keys {
		epoch := current - ticketsKept + uint32(i)
		ring.keys[i].epoch = epoch
		if key := old.key(epoch); key != nil && key.sealer != nil && !old.isAlone(epoch) {
			ring.keys[i] = *key
			failed = append(failed, t.keepAgain(&ring.keys[i]))
			continue
		}
		key, err := t.load(epoch, epoch >= current)
		failed = append(failed, err)
		if t.shared != nil && old != nil { // else it is a start
			ring.keys[i].since = now
		}
		if key != nil {
			failed = append(failed, ring.keys[i].set(key))
			ring.keys[i].unkept = err != nil
		}
	}
	if t.asks {
		failed = append(failed, t.agree(ctx, ring, now))
	}
	for _, key := range ring.keys {
		ring.incomplete = ring.incomplete || key.sealer == nil && key.epoch >= current
		ring.unkept = ring.unkept || key.unkept
	}
	if err := t.choose(ring, old, now); err != nil {
		return errors.Join(err, fmt.Errorf("acme: ticket keys: %w", errors.Join(failed...)))
	}
	t.ring.Store(ring)
	failed = append(failed, t.erase(current))
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("acme: ticket keys: %w", err)
	}
	return nil
}

// ticketSettle is how long a key waits that came late, in its own epoch, before it seals: by then all nodes have it.
const ticketSettle = 2 * ticketRetry

// choose sets the key that seals: that of the present epoch, else the newest before it. A node that has none at all, since what is shared is
// away and its folder is new, makes one of its own until it is back.
func (t *tickets) choose(ring, old *ticketRing, now time.Time) error {
	newest := -1
	for i := len(ring.keys) - 1 - ticketsAhead; i >= 0; i-- {
		if ring.keys[i].sealer == nil {
			continue
		}
		if newest < 0 {
			newest = i
		}
		if now.Sub(ring.keys[i].since) >= ticketSettle {
			ring.current = ring.keys[i].epoch
			return nil
		}
	}
	if newest >= 0 {
		ring.current = ring.keys[newest].epoch
		return nil
	}
	if t.shared == nil {
		return errors.New("acme: no ticket key")
	}
	at := &ring.keys[len(ring.keys)-1-ticketsAhead]
	ring.current, ring.alone = at.epoch, true
	if old.isAlone(at.epoch) {
		at.sealer = old.find(at.epoch)
		return nil
	}
	var err error
	at.sealer, err = newSealer(newKey())
	return err
}

// file is where a key is kept in the folder; sealed, if it is shared.
func (t *tickets) file(epoch uint32) string {
	name := strconv.FormatUint(uint64(epoch), 10)
	if t.shared != nil {
		return filepath.Join(t.dir, name+".sealed")
	}
	return filepath.Join(t.dir, name+".key")
}

func ticketPlace(epoch uint32) string {
	return "tickets:{" + strconv.FormatUint(uint64(epoch), 10) + "}"
}

// load reads the key of an epoch from the folder; nil: there is none, or none that is usable. Alone it makes one, where make is set. The key may be valid
// beside an error: it is then in memory only.
func (t *tickets) load(epoch uint32, make bool) ([]byte, error) {
	kept, err := os.ReadFile(t.file(epoch))
	if err == nil {
		if key, old := t.unseal(epoch, kept); key != nil {
			if old {
				err = writeFile(t.file(epoch), t.keys.seal(ticketPlace(epoch), key), 0o600)
			}
			return key, err
		}
		t.log.Warn("ticket key of the folder is not usable and is replaced", "file", t.file(epoch), "bytes", len(kept))
	} else if !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if !make || t.shared != nil {
		return nil, nil
	}
	key := newKey()
	return key, writeFile(t.file(epoch), key, 0o600)
}

// keepAgain writes a key that could not be written: a full disk may have room by now. agree sees to what is shared.
func (t *tickets) keepAgain(k *ticketKey) error {
	if !k.unkept || t.shared != nil {
		return nil
	}
	err := writeFile(t.file(k.epoch), k.key, 0o600)
	k.unkept = err != nil
	return err
}

// unseal is the key in what is kept of it; nil if it is none. old: a seal key on its way out has sealed it.
func (t *tickets) unseal(epoch uint32, kept []byte) (key []byte, old bool) {
	if t.shared != nil {
		kept, old, _ = t.keys.open(ticketPlace(epoch), kept) // nil if it does not open
	}
	if len(kept) != ticketKeySize {
		return nil, false
	}
	return kept, old
}

// set has k seal and open by a key.
func (k *ticketKey) set(key []byte) (err error) {
	k.key = key
	k.sealer, err = newSealer(key)
	return err
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
		ext := filepath.Ext(entry.Name())
		epoch, err := strconv.ParseUint(strings.TrimSuffix(entry.Name(), ext), 10, 32)
		if err != nil || ext != ".key" && ext != ".sealed" {
			continue
		}
		if e := int64(epoch) - int64(current); e < -ticketsKept || e > ticketsAhead {
			failed = append(failed, ignoreAbsent(os.Remove(filepath.Join(t.dir, entry.Name()))))
		}
	}
	return errors.Join(failed...)
}

// ticketRetry is how often keys that are missing are looked for.
const ticketRetry = 5 * time.Second

// run rotates at each epoch's begin until ctx ends. It looks every minute, since a
// timer of hours drifts from the wall clock when a machine sleeps; sooner while keys are missing.
func (t *tickets) run(ctx context.Context) {
	said := false
	t.asks = t.shared != nil
	for {
		ring := t.ring.Load()
		wait := time.Minute
		if epochAt(time.Now()) != ring.epoch || ring.incomplete || ring.unkept || ring.current != ring.epoch {
			err := t.rotate(ctx, time.Now())
			switch {
			case err == nil:
				said = false
			case ctx.Err() == nil && !said:
				said = true // once for each time that it begins to fail
				t.log.Error("ticket keys not rotated properly", "err", err)
			}
			if now := t.ring.Load(); now.incomplete || now.current != now.epoch {
				wait = ticketRetry
			}
		} else if t.shared != nil {
			if err := t.lookAgain(ctx, time.Now()); err != nil {
				t.log.Debug("ticket keys not compared with what is shared", "err", err)
			}
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}
