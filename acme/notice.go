package acme

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"gatehouse/routes"
)

// The events of a Notice.
const (
	NoticeExpiring = "expiring" // a sixth of its life is left, and there is no successor; once a day
	NoticeFailed   = "failed"   // an order failed: the first of a row, then once a day
	NoticeRevoked  = "revoked"  // its issuer has revoked it
	NoticeRenewed  = "renewed"  // a certificate has a successor, or a name its certificate after orders that failed
)

// A Notice tells of one certificate. Nodes that share anything tell each thing once, others each once, restarts or not.
type Notice struct {
	Event    string
	Name     string // of the table; of a revoked certificate the first that it is for
	Issuer   string
	NotAfter time.Time // of the certificate that is there; zero: there is none
	Error    string    // why the order failed, in plain words
}

const (
	// noticeEvery is the pause between two notices of the same thing.
	noticeEvery = 24 * time.Hour
	// expiryEvery is how often certificates are looked through for those that end, firstExpiry when first: by then they are loaded.
	expiryEvery = time.Hour
	firstExpiry = time.Minute
)

// notices tells operators, and sees to it that they hear of a thing once a day at most.
type notices struct {
	tell   func(Notice) // nil: nobody is told
	shared Shared       // nil: this node is alone
	file   string       // what was told, over restarts; empty: those who share know it
	log    *slog.Logger

	mu    sync.Mutex
	until map[string]time.Time // by what was told: when it may be told again
}

func newNotices(o Options) *notices {
	n := &notices{tell: o.Notify, shared: o.Shared, log: o.Logger, until: make(map[string]time.Time)}
	if o.Notify == nil || o.Shared != nil || o.Data == "" {
		return n
	}
	n.file = filepath.Join(o.Data, "told.json")
	text, err := routes.ReadFile(n.file, maxTold)
	if err == nil {
		err = json.Unmarshal(text, &n.until)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		n.log.Warn("what operators were told of cannot be read: they may be told again", "err", err)
	}
	if n.until == nil { // the file says null
		n.until = make(map[string]time.Time)
	}
	return n
}

// maxTold bounds the file of what was told, in bytes: for 100,000 names.
const maxTold = 16 << 20

// keep writes down what was told.
func (n *notices) keep() {
	if n.file == "" {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	text, err := json.Marshal(n.until)
	if err == nil {
		err = writeFile(n.file, text, 0o600)
	}
	if err != nil {
		n.log.Warn("what operators were told of cannot be kept: after a restart they are told again", "err", err)
	}
}

// run looks for certificates that end until ctx does.
func (n *notices) run(ctx context.Context, m *Manager) {
	if n.tell == nil {
		return
	}
	timer := time.NewTimer(firstExpiry)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-timer.C:
			n.expiring(ctx, m, now)
			timer.Reset(expiryEvery)
		}
	}
}

// expiring tells of certificates that end. One that many names have is told once.
func (n *notices) expiring(ctx context.Context, m *Manager, now time.Time) {
	if n.tell == nil {
		return
	}
	ending := map[[32]byte]string{}
	m.eachOwn(func(name string, l *leaf) {
		if first, ok := ending[l.digest]; l.ends(now) && (!ok || name < first) && !m.isLeft(name, l) {
			ending[l.digest] = name
		}
	})
	told := false
	for digest, name := range ending {
		l := m.store.own(name)
		if l == nil || l.digest != digest || !n.once(ctx, "expiring:"+name+":"+hex.EncodeToString(digest[:8]), now) {
			continue
		}
		notice := Notice{Event: NoticeExpiring, Name: name, Issuer: l.issuer, NotAfter: l.notAfter}
		if m.issuer != nil {
			if next, _, err := m.issuer.status(name); err != nil {
				notice.Error = Explain(name, err.Error(), next)
			}
		}
		n.tell(notice)
		told = true
	}
	if told {
		n.keep()
	}
}

// once reports whether a thing may be told now, and notes that it is.
func (n *notices) once(ctx context.Context, what string, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for other, until := range n.until {
		if !now.Before(until) {
			delete(n.until, other)
		}
	}
	if _, told := n.until[what]; told {
		return false
	}
	if n.shared != nil {
		ctx, cancel := context.WithTimeout(ctx, sharedWait)
		defer cancel()
		if wait, err := n.shared.Take(ctx, "gatehouse:{acme}:told:"+what, 1, noticeEvery); err == nil && wait > 0 {
			n.until[what] = now.Add(wait) // another node has
			return false
		} // where the others cannot be asked it is better told twice than never
	}
	n.until[what] = now.Add(noticeEvery)
	return true
}

// isTold reports whether there is nothing to tell of an order that fails, since that was done then.
func (n *notices) isTold(told time.Time) bool { return n.tell == nil || time.Since(told) < noticeEvery }

// failed tells of an order that failed, unless that was done within a day, and returns when it was. held is the certificate that is there.
func (n *notices) failed(name string, held *leaf, told time.Time, err error) time.Time {
	if n.isTold(told) {
		return told
	}
	notice := Notice{Event: NoticeFailed, Name: name, Error: Explain(name, err.Error(), time.Time{})}
	if held != nil {
		notice.Issuer, notice.NotAfter = held.issuer, held.notAfter
	}
	n.tell(notice)
	return time.Now()
}

func (n *notices) renewed(name string, l *leaf) {
	if n.tell != nil {
		n.tell(Notice{Event: NoticeRenewed, Name: name, Issuer: l.issuer, NotAfter: l.notAfter})
	}
}

func (n *notices) revoked(l *leaf) {
	if n.tell == nil || len(l.names) == 0 || !n.once(context.Background(), "revoked:"+hex.EncodeToString(l.digest[:8]), time.Now()) {
		return
	}
	n.keep()
	n.tell(Notice{Event: NoticeRevoked, Name: l.names[0], Issuer: l.issuer, NotAfter: l.notAfter})
}
