package acme

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	ticketEpoch = 12 * time.Hour
	// ticketsKept and ticketsAhead are the old and future epochs with keys. The
	// future one is there so that nodes that will share keys agree before they seal.
	ticketsKept   = 2
	ticketsAhead  = 1
	ticketKeySize = 32
	ticketNonce   = 12
	ticketHeader  = 4 + ticketNonce // epoch, nonce
	ticketLabel   = "gatehouse ticket 1\x00"
)

// tickets seals TLS session tickets: epoch(4) ‖ nonce(12) ‖ AES-256-GCM of the
// session state, with the epoch and the server name as additional data. Go itself
// binds tickets to nothing: it resumes a ticket of one tenant's name under
// another's, in TLS 1.2 (against RFC 6066 section 3) and 1.3, and a resumption in
// 1.3 never asks for a certificate. So a ticket is opened only under the name for
// which it was sealed, and only while that name is known.
//
// The state's Extra field is left to other layers (quic-go keeps its own there):
// the binding needs no field of its own.
type tickets struct {
	dir   string
	known func(string) bool
	log   *slog.Logger
	count *prometheus.CounterVec
	ring  atomic.Pointer[ticketRing]
}

// ticketRing is immutable; each rotation makes a new one.
type ticketRing struct {
	current uint32
	keys    [ticketsKept + 1 + ticketsAhead]ticketKey // oldest epoch first
}

type ticketKey struct {
	epoch  uint32
	sealer cipher.AEAD // nil: no key of that epoch
}

func openTickets(o Options, count *prometheus.CounterVec) (*tickets, error) {
	t := &tickets{dir: filepath.Join(o.Data, "tickets"), known: o.Known, log: o.Logger, count: count}
	if err := os.MkdirAll(t.dir, 0o700); err != nil {
		return nil, fmt.Errorf("acme: folder of ticket keys: %w", err)
	}
	if err := t.rotate(time.Now()); err != nil {
		return nil, err
	}
	return t, nil
}

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

// find returns the sealer of an epoch, or nil; the ring may be nil.
func (r *ticketRing) find(epoch uint32) cipher.AEAD {
	if r == nil {
		return nil
	}
	for i := range r.keys {
		if r.keys[i].epoch == epoch {
			return r.keys[i].sealer
		}
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

func additionalData(epoch []byte, name string) []byte {
	data := make([]byte, 0, len(ticketLabel)+len(epoch)+len(name))
	data = append(data, ticketLabel...)
	data = append(data, epoch...)
	return append(data, name...)
}

// wrap seals a session under the connection's server name. A connection without a
// valid name gets a ticket that will never open, because an error would end it.
func (t *tickets) wrap(cs tls.ConnectionState, state *tls.SessionState) ([]byte, error) {
	plain, err := state.Bytes()
	if err != nil {
		return nil, fmt.Errorf("acme: seal ticket: %w", err)
	}
	name, _ := canonicalName(cs.ServerName)
	ring := t.ring.Load()
	sealer := ring.find(ring.current)
	out := make([]byte, ticketHeader, ticketHeader+len(plain)+sealer.Overhead())
	binary.BigEndian.PutUint32(out, ring.current)
	rand.Read(out[4:ticketHeader]) // never fails, see crypto/rand
	t.count.WithLabelValues("issued").Inc()
	return sealer.Seal(out, out[4:ticketHeader], plain, additionalData(out[:4], name)), nil
}

// unwrap opens a ticket; nil, nil makes a full handshake of it.
func (t *tickets) unwrap(ticket []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
	state := t.open(ticket, cs.ServerName)
	if state == nil {
		t.count.WithLabelValues("refused").Inc()
		return nil, nil
	}
	t.count.WithLabelValues("accepted").Inc()
	return state, nil
}

func (t *tickets) open(ticket []byte, serverName string) *tls.SessionState {
	name, ok := canonicalName(serverName)
	if !ok || len(ticket) < ticketHeader || !t.known(name) {
		return nil
	}
	sealer := t.ring.Load().find(binary.BigEndian.Uint32(ticket))
	if sealer == nil {
		return nil
	}
	plain, err := sealer.Open(nil, ticket[4:ticketHeader], ticket[ticketHeader:], additionalData(ticket[:4], name))
	if err != nil {
		return nil // not ours, or sealed under another name
	}
	state, err := tls.ParseSessionState(plain)
	if err != nil {
		return nil // written by another version of Go
	}
	return state
}
