package iplist

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/routes"
)

// A list is one file or URL. Whoever judges an address reads networks alone.
type list struct {
	entry string // as documents have it
	name  string // for messages
	isURL bool
	kept  string              // file of the last good form; empty: none
	rules map[*Rules]struct{} // that name it; guarded by Lists.mu

	networks atomic.Pointer[Networks] // nil: there was no good form yet
	err      atomic.Pointer[error]    // why the present form is not in force; nil: it is

	once  sync.Once
	tried atomic.Bool // it was read once

	mu     sync.Mutex        // held while the list is read
	stamp  fs.FileInfo       // of the file when it was last read; nil: it could not be
	etag   string            // of the answer that is in force and kept; empty: the next one has to be whole
	sum    [sha256.Size]byte // of the text that is in force; zero: none is
	unkept bool              // it could not be written: that is tried again

	unwanted atomic.Bool // nobody uses it any more

	next  atomic.Int64 // when a URL is asked again, unix nanoseconds
	pause atomic.Int64 // after the next failure
}

func newList(entry, dir string) *list {
	one := &list{entry: entry, name: nameOf(entry), isURL: strings.HasPrefix(entry, "https://"), rules: map[*Rules]struct{}{}}
	if dir != "" {
		sum := sha256.Sum256([]byte(entry))
		one.kept = filepath.Join(dir, hex.EncodeToString(sum[:16])+".txt")
	}
	return one
}

// first reads the list if nobody has, for an owner's sake; who comes meanwhile waits.
func (one *list) first(l *Lists, owner string) {
	one.once.Do(func() {
		one.mu.Lock()
		defer one.unlock(l)
		one.firstRead(l, owner)
		one.tried.Store(true)
	})
}

// errNoTurn is why a list was not asked for while somebody waited for it. It is due: Run asks for it.
var errNoTurn = errors.New("not asked for yet: others are being waited for")

func (one *list) firstRead(l *Lists, owner string) {
	if !one.isURL {
		if one.readFile(l, owner); one.networks.Load() == nil {
			one.restore(l)
		}
		return
	}
	if one.restore(l) {
		return // Run asks for the newest
	}
	ctx, cancel := context.WithTimeout(context.Background(), firstWait)
	defer cancel()
	if !l.firsts.take(ctx, owner) {
		one.failed(l, errNoTurn)
		return
	}
	defer l.firsts.leave(owner)
	one.begin()
	one.fetched(ctx, l)
}

// restore brings the last good form back.
func (one *list) restore(l *Lists) bool {
	if one.kept == "" {
		return false
	}
	text, err := routes.ReadFile(one.kept, MaxListBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	var n *Networks
	if err == nil {
		n, err = ParseList(text)
	}
	if err != nil {
		l.log.Error("last good form of a list of addresses not usable", "list", one.name, "file", one.kept, "err", err)
		return false
	}
	one.networks.Store(n)
	one.sum = sha256.Sum256(text)
	return true
}

// fileRests is how long a file is left alone after a change: many programs write in place. The next look takes it.
const fileRests = 200 * time.Millisecond

// reread reads a file if it has changed, or could not be read; changed: it has another text.
func (one *list) reread(l *Lists) (changed bool) {
	one.mu.Lock()
	defer one.unlock(l)
	path := strings.TrimPrefix(one.entry, "file:")
	owner := l.ownerOf(one)
	now, err := l.files.Stat(owner, path)
	was := one.stamp
	if err == nil && was != nil && os.SameFile(was, now) && was.ModTime().Equal(now.ModTime()) && was.Size() == now.Size() {
		if !one.unkept || !one.due(time.Now()) {
			return false
		}
	}
	if err == nil {
		if age := time.Since(now.ModTime()); age >= 0 && age < fileRests {
			return false // it may be half written, as yet empty
		}
	}
	return one.readFile(l, owner)
}

// readFile reads the file, with mu held.
func (one *list) readFile(l *Lists, owner string) (changed bool) {
	path := strings.TrimPrefix(one.entry, "file:")
	var err error
	if one.stamp, err = l.files.Stat(owner, path); err != nil { // first: a change between the two would go unseen
		return one.failed(l, withoutPath(err))
	}
	text, err := l.files.Read(owner, path, MaxListBytes)
	if err != nil {
		one.stamp = nil
		return one.failed(l, withoutPath(err))
	}
	one.again(min(firstRetry, l.opts.Refresh)) // if it cannot be kept
	return one.take(l, text)
}

// withoutPath leaves out what the message names already.
func withoutPath(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		err = p.Err
	}
	return fmt.Errorf("cannot be read: %w", err)
}

func (one *list) failed(l *Lists, err error) (changed bool) {
	before := one.err.Swap(&err)
	if before == nil || (*before).Error() != err.Error() {
		l.log.Error("list of addresses not usable", "list", one.name, "err", err, "kept_last_good", one.networks.Load() != nil)
	}
	return false
}

// take puts a new form in force if it is good, with mu held. One that is in force already changes nothing.
func (one *list) take(l *Lists, text []byte) (changed bool) {
	sum := sha256.Sum256(text)
	if sum == one.sum {
		if one.err.Swap(nil) != nil {
			l.log.Info("list of addresses is good again, and as it was", "list", one.name)
		}
		if one.unkept {
			one.keep(l, text)
		}
		return false
	}
	n, err := ParseList(text)
	if err == nil && one.isURL && n.Len() == 0 {
		err = errors.New("it has no network: whoever serves it has probably lost it") // who means it takes the list out of the document
	}
	if err != nil {
		return one.failed(l, err)
	}
	failed := one.err.Swap(nil) != nil
	old := one.networks.Swap(n)
	if old != nil || failed {
		l.log.Info("list of addresses read again", "list", one.name, "networks", n.Len())
	}
	one.sum = sum
	one.keep(l, text)
	return true
}

// keep writes the form that is in force, with mu held.
func (one *list) keep(l *Lists, text []byte) {
	if one.kept == "" {
		return
	}
	err := routes.WriteFile(one.kept, 0o600, func(w *bufio.Writer) error { _, err := w.Write(text); return err })
	switch {
	case err != nil && !one.unkept:
		l.log.Error("list of addresses not kept: a restart begins without it if it cannot be had then", "list", one.name, "err", err)
	case err == nil && one.unkept:
		l.log.Info("list of addresses is kept", "list", one.name)
	}
	one.unkept = err != nil
}

// unlock ends what mu was held for, and removes what was kept of a list that was given up meanwhile.
func (one *list) unlock(l *Lists) {
	one.mu.Unlock()
	if one.kept == "" || !one.unwanted.Load() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lists[one.entry] == nil { // else it is kept for the one that came after
		one.remove(l)
	}
}

// forget removes the last good form of a list that nobody uses, with Lists.mu held: a list of the same name comes after it.
func (one *list) forget(l *Lists) {
	one.unwanted.Store(true)
	if one.kept == "" || !one.mu.TryLock() { // it is being read: who does that removes it
		return
	}
	defer one.mu.Unlock()
	one.remove(l)
}

func (one *list) remove(l *Lists) {
	if err := os.Remove(one.kept); err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.log.Warn("last good form of a list that nobody names not removed", "list", one.name, "err", err)
	}
}

// due reports whether a URL is to be asked.
func (one *list) due(now time.Time) bool { return now.UnixNano() >= one.next.Load() }

// begin notes that a URL is being asked, which is not due before what comes of it sets the next time.
func (one *list) begin() { one.next.Store(math.MaxInt64) }

func (one *list) again(in time.Duration) { one.next.Store(time.Now().Add(in).UnixNano()) }

// refetch asks a URL again.
func (one *list) refetch(ctx context.Context, l *Lists, most time.Duration) (changed bool) {
	one.mu.Lock()
	defer one.unlock(l)
	limited, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	return one.fetched(limited, l)
}

// fetched asks a URL, with mu held, and says when to ask again: after a failure sooner.
func (one *list) fetched(ctx context.Context, l *Lists) (changed bool) {
	text, etag, err := one.get(ctx, l.client)
	if err != nil && ctx.Err() != nil { // else it is sometimes that, sometimes that the connection was closed
		err = fmt.Errorf("cannot be fetched: %w", ctx.Err())
	}
	switch {
	case err != nil:
		one.failed(l, err)
	case text == nil:
		one.err.Store(nil) // what is in force is the newest
	default:
		if changed = one.take(l, text); one.err.Load() != nil {
			break
		}
		if one.etag = etag; one.unkept {
			one.etag = "" // else the server has nothing to send, and a restart would begin with what was kept before
		}
	}
	if one.err.Load() == nil && !one.unkept {
		one.pause.Store(int64(firstRetry))
		one.again(l.opts.Refresh)
		return changed
	}
	pause := min(max(time.Duration(one.pause.Load()), firstRetry), l.opts.Refresh)
	one.pause.Store(int64(2 * pause))
	one.again(pause)
	return changed
}

// get requests the list and how its form is called (RFC 9110 §8.8.3); nil text: what is in force is the newest.
func (one *list) get(ctx context.Context, client *http.Client) (text []byte, etag string, err error) {
	req, err := http.NewRequestWithContext(withRequest(ctx), http.MethodGet, one.entry, nil)
	if err != nil {
		return nil, "", errors.New("bad URL")
	}
	req.Header.Set("User-Agent", "gatehouse")
	if one.etag != "" && one.networks.Load() != nil {
		req.Header.Set("If-None-Match", one.etag)
	}
	resp, err := client.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // which leaves the URL out: its query may be a secret
		}
		return nil, "", fmt.Errorf("cannot be fetched: %w", err)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotModified && one.etag != "":
		return nil, one.etag, nil
	case resp.StatusCode != http.StatusOK:
		return nil, "", fmt.Errorf("cannot be fetched: the server answers %s", resp.Status)
	}
	text, err = io.ReadAll(io.LimitReader(resp.Body, MaxListBytes+1))
	if err != nil {
		return nil, "", fmt.Errorf("cannot be fetched: %w", err)
	}
	return text, resp.Header.Get("ETag"), nil
}
