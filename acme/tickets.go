package acme

import (
	"context"
	"crypto/cipher"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
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
// which it was sealed, and only while that name is known and what it is bound to beside
// (tenant, policy, whose certificates clients have) is the same.
//
// The state's Extra field is left to other layers (quic-go keeps its own there):
// the binding needs no field of its own.
type tickets struct {
	dir   string
	known func(string) bool
	bound func(dst []byte, name string) []byte // nil: to nothing but the name
	log   *slog.Logger
	count *prometheus.CounterVec
	ring  atomic.Pointer[ticketRing]

	shared Shared   // nil: this node's keys are its own
	keys   *Keyring // not nil if shared is not
	asks   bool     // for what is shared: in run, and not in New
}

// ticketRing is immutable; each rotation makes a new one.
type ticketRing struct {
	epoch      uint32                                    // for which it was made
	current    uint32                                    // whose key seals
	alone      bool                                      // that one is this node's own, for want of a shared one
	incomplete bool                                      // a key of the present or the next epoch is missing
	unkept     bool                                      // the folder lacks one
	keys       [ticketsKept + 1 + ticketsAhead]ticketKey // oldest epoch first
}

// isAlone reports whether an epoch's key is this node's own though keys are shared; the ring may be nil.
func (r *ticketRing) isAlone(epoch uint32) bool { return r != nil && r.alone && r.current == epoch }

type ticketKey struct {
	epoch  uint32
	key    []byte      // nil: there is none, or it is this node's own for want of a shared one
	sealer cipher.AEAD // nil: no key of that epoch
	since  time.Time   // when it came from the others; zero: it was there
	unkept bool        // the folder lacks it
}

func openTickets(o Options, count *prometheus.CounterVec) (*tickets, error) {
	t := &tickets{dir: filepath.Join(o.Data, "tickets"), known: o.Known, bound: o.Binding, log: o.Logger, count: count, shared: o.Shared, keys: o.Keys}
	if err := os.MkdirAll(t.dir, 0o700); err != nil {
		return nil, fmt.Errorf("acme: folder of ticket keys: %w", err)
	}
	if err := t.rotate(context.Background(), time.Now()); err != nil {
		return nil, err
	}
	return t, nil
}

// find returns the sealer of an epoch, or nil; the ring may be nil.
func (r *ticketRing) find(epoch uint32) cipher.AEAD {
	if key := r.key(epoch); key != nil {
		return key.sealer
	}
	return nil
}

func (r *ticketRing) key(epoch uint32) *ticketKey {
	if r == nil {
		return nil
	}
	for i := range r.keys {
		if r.keys[i].epoch == epoch {
			return &r.keys[i]
		}
	}
	return nil
}

// boundRoom is room for what most names are bound to.
const boundRoom = 200

func (t *tickets) additionalData(epoch []byte, name string) []byte {
	room := len(ticketLabel) + len(epoch) + len(name)
	if t.bound != nil {
		room += boundRoom
	}
	data := make([]byte, 0, room)
	data = append(data, ticketLabel...)
	data = append(data, epoch...)
	data = append(data, name...)
	if t.bound == nil {
		return data
	}
	return t.bound(append(data, 0), name) // no name has a zero byte
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
	return sealer.Seal(out, out[4:ticketHeader], plain, t.additionalData(out[:4], name)), nil
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
	plain, err := sealer.Open(nil, ticket[4:ticketHeader], ticket[ticketHeader:], t.additionalData(ticket[:4], name))
	if err != nil {
		return nil // not ours, or sealed under another name
	}
	state, err := tls.ParseSessionState(plain)
	if err != nil {
		return nil // written by another version of Go
	}
	return state
}
