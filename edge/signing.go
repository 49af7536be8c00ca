package edge

import (
	"crypto"
	"crypto/tls"
	"errors"
	"io"
	"runtime"
	"sync/atomic"
	"time"
)

// errSigning is why a handshake ends for which there was no turn.
var errSigning = errors.New("no turn to sign before the end of the handshake's time")

// signing bounds how many private-key operations run at a time. They are what a flood
// of handshakes spends most on, and with a thousand of them to be run the scheduler
// has little left for the requests of connections that there are.
type signing struct {
	slots   chan struct{}
	waiting atomic.Int64
}

// signersPerProcessor keeps processors busy while some signers are not running.
const signersPerProcessor = 4

func (s *signing) init() { s.slots = make(chan struct{}, signersPerProcessor*runtime.GOMAXPROCS(0)) }

// enter waits for a turn until a time, and fails with errSigning. Who waits longest is
// next.
func (s *signing) enter(by time.Time) error {
	select {
	case s.slots <- struct{}{}:
		return nil
	default:
	}
	s.waiting.Add(1)
	defer s.waiting.Add(-1)
	timer := time.NewTimer(time.Until(by))
	defer timer.Stop()
	select {
	case s.slots <- struct{}{}:
		return nil
	case <-timer.C:
		return errSigning
	}
}

func (s *signing) leave() { <-s.slots }

// A turnKey is a private key whose operations wait for their turn. It is of one
// handshake.
type turnKey struct {
	crypto.Signer
	signing *signing
	by      time.Time // the handshake's end
}

// hold takes the key of a certificate; false: it is of another kind.
func (k *turnKey) hold(cert *tls.Certificate, s *signing, by time.Time) bool {
	signer, ok := cert.PrivateKey.(crypto.Signer)
	*k = turnKey{signer, s, by}
	return ok
}

// Sign implements crypto.Signer.
func (k *turnKey) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if err := k.signing.enter(k.by); err != nil {
		return nil, err
	}
	defer k.signing.leave()
	return k.Signer.Sign(rand, digest, opts)
}
