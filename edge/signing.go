package edge

import (
	"container/list"
	"crypto"
	"crypto/tls"
	"errors"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// errSigning is why a handshake ends for which there was no turn.
var errSigning = errors.New("no turn to sign before the end of the handshake's time")

// signing bounds how many private-key operations run at a time. They are what a flood
// of handshakes spends most on, and with a thousand of them to be run the scheduler
// has little left for the requests of connections that there are.
//
// An owner (see ownerOf) has half of the turns at most, and where several wait they are served in
// rotation, whatever each one's number: the operations of one tenant's key may take long, and whoever
// floods its sites with handshakes stops nobody else's.
type signing struct {
	each, all int // turns, of an owner and of all
	waiting   atomic.Int64

	mu     sync.Mutex
	busy   int
	owners map[string]*ownSigning
	queue  list.List // of *ownSigning that wait, whose turn is next first
}

// ownSigning is what one owner signs. It is kept while there is any.
type ownSigning struct {
	name  string
	busy  int
	queue list.List     // of chan struct{}, closed when the turn has come; who waits longest is first
	place *list.Element // in signing.queue; nil: nobody waits
}

// signersPerProcessor keeps processors busy while some signers are not running.
const signersPerProcessor = 4

func (s *signing) init() {
	s.all = signersPerProcessor * runtime.GOMAXPROCS(0)
	s.each = s.all / 2
	s.owners = map[string]*ownSigning{}
}

// enter waits for an owner's turn until a time, and fails with errSigning.
func (s *signing) enter(owner string, by time.Time) error {
	s.mu.Lock()
	mine := s.owners[owner]
	if mine == nil {
		mine = &ownSigning{name: owner}
		s.owners[owner] = mine
	}
	if mine.place == nil && mine.busy < s.each && s.busy < s.all {
		mine.busy++
		s.busy++
		s.mu.Unlock()
		return nil
	}
	come := make(chan struct{})
	place := mine.queue.PushBack(come)
	if mine.place == nil {
		mine.place = s.queue.PushBack(mine)
	}
	s.mu.Unlock()
	s.waiting.Add(1)
	defer s.waiting.Add(-1)
	timer := time.NewTimer(time.Until(by))
	defer timer.Stop()
	select {
	case <-come:
		return nil
	case <-timer.C:
		return s.giveUp(mine, place, come)
	}
}

// giveUp ends a wait with errSigning, unless its turn has come by now.
func (s *signing) giveUp(mine *ownSigning, place *list.Element, come chan struct{}) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-come:
		return nil
	default:
	}
	mine.queue.Remove(place)
	s.tidy(mine)
	return errSigning
}

// leave gives an owner's turn to who is next.
func (s *signing) leave(owner string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	mine := s.owners[owner]
	mine.busy--
	s.busy--
	for e := s.queue.Front(); e != nil && s.busy < s.all; {
		next, at := e.Value.(*ownSigning), e
		e = e.Next()
		if next.busy >= s.each {
			continue // two owners at most are passed over so
		}
		close(next.queue.Remove(next.queue.Front()).(chan struct{}))
		next.busy++
		s.busy++
		s.queue.MoveToBack(at)
		s.tidy(next)
	}
	s.tidy(mine)
}

// tidy takes out of the lists who has nothing to do with turns any more.
func (s *signing) tidy(own *ownSigning) {
	if own.queue.Len() > 0 {
		return
	}
	if own.place != nil {
		s.queue.Remove(own.place)
		own.place = nil
	}
	if own.busy == 0 {
		delete(s.owners, own.name)
	}
}

// A turnKey is a private key whose operations wait for their turn. It is of one
// handshake.
type turnKey struct {
	crypto.Signer
	signing *signing
	owner   string    // of the site
	by      time.Time // the handshake's end
}

// hold takes the key of a certificate; false: it is of another kind.
func (k *turnKey) hold(cert *tls.Certificate, s *signing, owner string, by time.Time) bool {
	signer, ok := cert.PrivateKey.(crypto.Signer)
	*k = turnKey{signer, s, owner, by}
	return ok
}

// Sign implements crypto.Signer.
func (k *turnKey) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if err := k.signing.enter(k.owner, k.by); err != nil {
		return nil, err
	}
	defer k.signing.leave(k.owner)
	return k.Signer.Sign(rand, digest, opts)
}
