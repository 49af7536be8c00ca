package edge

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/routes"
)

// A bundle is the authorities of one source as they were read. It is immutable.
type bundle struct {
	pool   *x509.CertPool
	digest [sha256.Size]byte
}

// An authority is one source of a bundle: a file, or a text that a document holds.
// Vhosts that name the same share it.
type authority struct {
	from  routes.ClientAuth
	owner string                // who named it first
	users int                   // guarded by authorities.mu
	stamp fs.FileInfo           // of the file when it was last read; nil: it could not be; guarded by authorities.reading
	err   atomic.Pointer[error] // why the present file is not used; nil: it is
	good  atomic.Pointer[bundle]
}

// authorities reads who vouches for the clients of vhosts, files again when they
// change. A bad file is set aside with its error, and the last good one stays.
// It is safe for concurrent use.
type authorities struct {
	log   *slog.Logger
	files *routes.FileReader

	// reading is held by whoever polls, which may take long; who takes both takes it first. Nobody else reads a source that is in all.
	reading sync.Mutex

	mu   sync.Mutex // not held while a file is read
	all  map[string]*authority
	held map[termsKey]*authTerms
}

// termsKey is what terms with client certificates depend on.
type termsKey struct {
	grade           grade
	required, tells bool
	authority       *authority
}

// authTerms are the terms of vhosts with the same settings, made anew when the
// authorities are others.
type authTerms struct {
	key   termsKey
	make  func(grade, *clientAuth) *terms
	users int // guarded by authorities.mu
	mu    sync.Mutex
	now   atomic.Pointer[terms] // nil: not made yet
}

// current returns the terms of the authorities in use; the error is errNoAuthorities.
// It only locks when these have changed.
func (a *authTerms) current() (*terms, error) {
	b := a.key.authority.good.Load()
	if b == nil {
		return nil, errNoAuthorities
	}
	if t := a.now.Load(); t != nil && t.auth.bundle == b {
		return t, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if t := a.now.Load(); t != nil && t.auth.bundle == b {
		return t, nil
	}
	auth := &clientAuth{required: a.key.required, bundle: b}
	auth.digest = sha256.Sum256(fmt.Appendf(nil, "%t %t %x", a.key.required, a.key.tells, b.digest))
	t := a.make(a.key.grade, auth)
	a.now.Store(t)
	return t, nil
}

// clientAuthOf returns a route's settings of client certificates; nil: it has none.
func clientAuthOf(route *routes.Route) *routes.ClientAuth {
	if route == nil || route.Vhost == nil || route.Vhost.TLS == nil {
		return nil
	}
	return route.Vhost.TLS.ClientAuth
}

// hold has a route keep its terms, if it asks for client certificates.
func (a *authorities) hold(route *routes.Route, newTerms func(grade, *clientAuth) *terms) {
	c := clientAuthOf(route)
	if c == nil {
		return
	}
	fresh := a.unknown(c, ownerOf(route.Vhost.Tenant, route.Name))
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.all == nil {
		a.all, a.held = map[string]*authority{}, map[termsKey]*authTerms{}
	}
	source := a.all[c.CA]
	if source == nil {
		source = fresh
		a.all[c.CA] = source
	}
	key := termsKey{gradeOf(route.Vhost.TLS), c.Mode == routes.AuthRequired, c.Tells(), source}
	held := a.held[key]
	if held == nil {
		held = &authTerms{key: key, make: newTerms}
		a.held[key] = held
	}
	held.users++
	source.users++
	route.Keep(held)
}

// unknown reads a source that nobody else names; nil: somebody does. Calls of hold follow each other, with those of release.
func (a *authorities) unknown(c *routes.ClientAuth, owner string) *authority {
	a.mu.Lock()
	known := a.all[c.CA] != nil
	a.mu.Unlock()
	if known {
		return nil
	}
	source := &authority{from: routes.ClientAuth{CA: c.CA}, owner: owner}
	a.read(source)
	return source
}

// release ends what hold began; requests that still have the route go on with it.
func (a *authorities) release(route *routes.Route) {
	if route == nil {
		return
	}
	held, _ := route.Kept().(*authTerms)
	if held == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	source := held.key.authority
	if held.users--; held.users == 0 {
		delete(a.held, held.key)
	}
	if source.users--; source.users == 0 {
		delete(a.all, source.from.CA)
	}
}

// read reads a source and notes the outcome. What is new is logged, and so is a file that takes too long.
func (a *authorities) read(source *authority) {
	before, old := source.err.Load(), source.good.Load()
	list, err := source.load(a.files)
	if err != nil {
		source.err.Store(&err)
		if before == nil || (*before).Error() != err.Error() {
			a.log.Error("authorities of client certificates not usable", "ca", source.name(), "err", err, "kept_last_good", old != nil)
		}
		return
	}
	source.err.Store(nil)
	b := bundleOf(list)
	if old != nil && old.digest == b.digest {
		return
	}
	source.good.Store(b)
	if old != nil || before != nil {
		a.log.Info("authorities of client certificates read again", "ca", source.name(), "certificates", len(list))
	}
}

// load reads the certificates and how a change of the file will show: first that, or a
// change between the two would go unseen.
func (source *authority) load(files *routes.FileReader) (list []*x509.Certificate, err error) {
	if source.stamp, err = source.stampNow(files); err != nil {
		return nil, err
	}
	return source.from.AuthoritiesFor(source.owner, files)
}

func bundleOf(list []*x509.Certificate) *bundle {
	b := &bundle{pool: x509.NewCertPool()}
	digest := sha256.New()
	for _, c := range list {
		b.pool.AddCert(c)
		sum := sha256.Sum256(c.Raw)
		digest.Write(sum[:])
	}
	digest.Sum(b.digest[:0])
	return b
}

func (source *authority) name() string {
	if source.from.Inline() {
		return "(in the document)"
	}
	return source.from.CA
}

// stampNow is how a change of the file shows; nil of a text.
func (source *authority) stampNow(files *routes.FileReader) (fs.FileInfo, error) {
	if source.from.Inline() {
		return nil, nil
	}
	return files.Stat(source.owner, source.from.CA)
}

// poll reads the files again that have changed, and those that were bad, until ctx ends.
func (a *authorities) poll(ctx context.Context) {
	a.reading.Lock()
	defer a.reading.Unlock()
	a.mu.Lock()
	sources := slices.Collect(maps.Values(a.all))
	a.mu.Unlock()
	for _, source := range sources {
		if source.from.Inline() || ctx.Err() != nil {
			continue
		}
		now, err := source.stampNow(a.files)
		if was := source.stamp; err == nil && source.err.Load() == nil && was != nil && os.SameFile(was, now) && was.ModTime().Equal(now.ModTime()) && was.Size() == now.Size() {
			continue
		}
		a.read(source)
	}
}

// authorityPoll is how often the files are looked at: a change of who may come in acts
// within a second.
const authorityPoll = 500 * time.Millisecond

// FollowAuthorities has the files of tls.client_auth.ca read again when they change,
// until ctx ends.
func (s *Server) FollowAuthorities(ctx context.Context) error {
	ticker := time.NewTicker(authorityPoll)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			s.authorities.poll(ctx)
		}
	}
}

// ClientAuthProblem returns why the authorities that a vhost names are not those in
// use; nil: they are, or it names none. It does not block.
func (s *Server) ClientAuthProblem(vhost string) error {
	table := s.table.Load()
	if table == nil {
		return nil
	}
	route := table.Vhost(vhost)
	if clientAuthOf(route) == nil {
		return nil
	}
	held, _ := route.Kept().(*authTerms)
	if held == nil {
		return nil
	}
	source := held.key.authority
	err := source.err.Load()
	switch {
	case err == nil:
		return nil
	case source.good.Load() == nil:
		return fmt.Errorf("connections are refused: %w", *err)
	}
	return fmt.Errorf("the last good ones are in use: %w", *err)
}
