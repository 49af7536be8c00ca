package acme

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"gatehouse/routes"
)

const (
	// echKept is for how many epochs after its own a key still decrypts: records of DNS are cached, and published by hand.
	echKept = 2
	// echAhead is how many epochs before its own a key is made, so that all nodes have it when it is published.
	echAhead = 1
	// echLead is how long before its own epoch a key decrypts: so far may the clocks of nodes be apart.
	echLead = time.Hour
	// echLook is how often what is shared is looked at, and echRetry the same while a key is missing.
	echLook  = time.Minute
	echRetry = 5 * time.Second
)

// echKeys are the keys of Encrypted Client Hello (RFC 9849): one for each epoch, made an epoch ahead. Nodes that share them make none
// without the others, since a client takes no for an answer just once: what one node has published, all must decrypt.
type echKeys struct {
	dir        string
	publicName string
	epoch      time.Duration
	log        *slog.Logger
	ring       atomic.Pointer[echRing]

	shared Shared   // nil: this node's keys are its own
	keys   *Keyring // not nil if shared is not
}

// echRing is immutable; each look makes a new one.
type echRing struct {
	private    map[int64][]byte              // by epoch
	unkept     map[int64]bool                // likewise: the folder lacks it
	displaced  map[int64][][]byte            // likewise: what was published before another key took its place
	tls        []tls.EncryptedClientHelloKey // what crypto/tls tries, one after the other: the published one first. Nil: ECH is not offered
	published  int64                         // epoch of the first of them
	list       []byte                        // ECHConfigList of the published one; nil: there is none
	changes    time.Time                     // when the next one is published
	incomplete bool                          // a key of the present or the next epoch is missing
	err        error                         // why
}

// openECH loads the keys of the folder; alone, it makes those that are missing. A key that cannot be used is no reason to serve nothing: run says so.
func openECH(o Options, now time.Time) (*echKeys, error) {
	if o.ECH.PublicName == "" {
		return nil, nil
	}
	e := &echKeys{
		dir: filepath.Join(o.Data, "ech"), publicName: o.ECH.PublicName, epoch: o.ECH.Rotate, log: o.Logger, shared: o.Shared, keys: o.Keys,
	}
	if err := os.MkdirAll(e.dir, 0o700); err != nil {
		return nil, fmt.Errorf("acme: folder of ECH keys: %w", err)
	}
	e.ring.Store(&echRing{displaced: e.loadDisplaced()})
	e.look(context.Background(), now, false)
	return e, nil
}

func (e *echKeys) epochAt(now time.Time) int64 { return now.Unix() / int64(e.epoch/time.Second) }

func (e *echKeys) begin(epoch int64) time.Time {
	return time.Unix(epoch*int64(e.epoch/time.Second), 0).UTC()
}

// end is when a key is of no use any more.
func (e *echKeys) end(epoch int64) time.Time { return e.begin(epoch + 1 + echKept) }

// look makes the ring of a time: with the keys that it had, those of the folder and, if ask, those that are shared. What fails is the ring's err;
// what is held goes on.
func (e *echKeys) look(ctx context.Context, now time.Time, ask bool) {
	current := e.epochAt(now)
	old := e.ring.Load()
	ring := &echRing{private: map[int64][]byte{}, unkept: map[int64]bool{}, displaced: map[int64][][]byte{}, changes: e.begin(current + 1)}
	bad := map[int64]error{}
	for epoch := current - echKept; epoch <= current+echAhead; epoch++ {
		key := old.private[epoch]
		if key == nil {
			key, bad[epoch] = e.load(epoch, epoch >= current)
		}
		if key != nil {
			ring.private[epoch] = key
		}
		ring.displaced[epoch] = old.displaced[epoch]
		ring.unkept[epoch] = old.unkept[epoch] || key != nil && bad[epoch] != nil
	}
	var failed []error
	if e.shared != nil && ask {
		failed = append(failed, e.agree(ctx, ring, current, now))
	}
	for epoch := current - echKept; epoch <= current+echAhead; epoch++ { // in order: what is said is said once
		if ring.private[epoch] == nil { // else the others had it
			failed = append(failed, bad[epoch])
		}
	}
	failed = append(failed, e.offer(ring, current, now), e.erase(current))
	ring.incomplete = ring.private[current] == nil || ring.private[current+echAhead] == nil
	ring.err = errors.Join(failed...)
	e.ring.Store(ring)
}

// load reads the key of an epoch from the folder; nil if there is none. Alone it makes one, where make is set. A key that cannot be kept is not
// used: what is published has to outlive a restart. One that cannot be sealed anew is, beside the error.
func (e *echKeys) load(epoch int64, make bool) ([]byte, error) {
	file, place := e.file(epoch), echPlace(epoch)
	key, err := routes.ReadFile(file, maxECHFile)
	if errors.Is(err, os.ErrNotExist) {
		if !make || e.shared != nil {
			return nil, nil
		}
		return e.keep(epoch, newKey(), nil)
	}
	if err != nil {
		return nil, err
	}
	if e.shared != nil {
		plain, old, err := e.keys.open(place, key)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if key = plain; old {
			_, err = e.keep(epoch, key, e.keys.seal(place, key))
			return key, err
		}
	}
	if len(key) != echKeySize {
		return nil, fmt.Errorf("%s is no key: it has %d bytes, want %d; remove it, and another one is made", file, len(key), echKeySize)
	}
	return key, nil
}

// keep writes a key into the folder, sealed if it is shared. The key is that of the arguments, nil if it could not be kept.
func (e *echKeys) keep(epoch int64, key, sealed []byte) ([]byte, error) {
	text := key
	if e.shared != nil {
		text = sealed
	}
	if err := writeFile(e.file(epoch), text, 0o600); err != nil {
		return nil, err
	}
	return key, nil
}

// agree takes what is shared in the place of what is held, and shares what is not: the first to come makes a key, and what a Redis has lost comes back.
func (e *echKeys) agree(ctx context.Context, ring *echRing, current int64, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, sharedWait)
	defer cancel()
	var places []string
	first := current - echKept
	for epoch := first; epoch <= current+echAhead; epoch++ {
		places = append(places, echPlace(epoch))
	}
	found, err := e.shared.Read(ctx, places...)
	if err != nil {
		return err
	}
	var failed []error
	for i, sealed := range found {
		epoch := first + int64(i)
		held := ring.private[epoch]
		key, fresh, err := agreedKey(ctx, e.shared, e.keys, echPlace(epoch), sealed, held, epoch >= current, e.end(epoch).Sub(now))
		if fresh == nil && key != nil && ring.unkept[epoch] {
			fresh = e.keys.seal(echPlace(epoch), key)
		}
		if fresh != nil { // what all nodes have is used also where the folder is full
			_, err = e.keep(epoch, key, fresh)
			ring.unkept[epoch] = err != nil
		}
		if key != nil {
			if ring.private[epoch] = key; epoch <= current {
				failed = append(failed, e.displace(ring, epoch, held))
			}
		}
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

// offer fills in what handshakes and DNS get of a ring.
func (e *echKeys) offer(ring *echRing, current int64, now time.Time) error {
	var order []int64
	for back := range int64(echKept + 1) {
		order = append(order, current-back)
	}
	for _, epoch := range append(order, current+echAhead) {
		key := ring.private[epoch]
		if key == nil || epoch > current && (ring.tls == nil || now.Before(e.begin(epoch).Add(-echLead))) {
			continue // each key more costs a trial of each hello that none of them opens, and many browsers send such (GREASE)
		}
		config, err := echConfig(uint8(epoch), key, e.publicName)
		if err != nil {
			return err
		}
		if ring.tls == nil {
			if ring.list, err = echConfigList(config); err != nil {
				return err
			}
			ring.published = epoch
		}
		ring.tls = append(ring.tls, tls.EncryptedClientHelloKey{Config: config, PrivateKey: key, SendAsRetry: ring.tls == nil})
	}
	return e.offerDisplaced(ring, order)
}

// maxECHFile bounds what is read of a key file, in bytes: more than a sealed key has.
const maxECHFile = 4 << 10

// file is where the key of an epoch is kept in the folder; sealed, if it is shared.
func (e *echKeys) file(epoch int64) string {
	name := strconv.FormatInt(epoch, 10)
	if e.shared != nil {
		return filepath.Join(e.dir, name+".sealed")
	}
	return filepath.Join(e.dir, name+".key")
}

func echPlace(epoch int64) string { return "ech:{" + strconv.FormatInt(epoch, 10) + "}" }

// erase removes the files of keys that are of no use any more, so that nobody who gets the disk reads what was recorded long ago.
func (e *echKeys) erase(current int64) error {
	entries, err := os.ReadDir(e.dir)
	if err != nil {
		return err
	}
	var failed []error
	for _, entry := range entries {
		ext := filepath.Ext(entry.Name())
		name, _, _ := strings.Cut(strings.TrimSuffix(entry.Name(), ext), "-") // a displaced one has more
		epoch, err := strconv.ParseInt(name, 10, 64)
		if err != nil || ext != ".key" && ext != ".sealed" {
			continue
		}
		if epoch < current-echKept || epoch > current+echAhead {
			failed = append(failed, ignoreAbsent(os.Remove(filepath.Join(e.dir, entry.Name()))))
		}
	}
	return errors.Join(failed...)
}
