package acme

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"gatehouse/routes"
)

// certFiles loads the certificate files attached to names, and loads them again
// when they change. A bad pair is set aside with its error, and the last good
// certificate goes on being served.
type certFiles struct {
	log   *slog.Logger
	store *store
	// judge may mark a leaf before it is served.
	judge func(*leaf)
	// replaced is told of each change in the store.
	replaced func(old, l *leaf)
	reader   *routes.FileReader

	mu    sync.Mutex // not held while a file is read: that may take long
	names map[string]*filePair
	pairs map[pairPaths]*filePair
}

// pairPaths name a certificate file and its key file; both may be the same file.
type pairPaths struct{ cert, key string }

// filePair is one pair of files, however many names it is attached to.
type filePair struct {
	paths  pairPaths
	owner  string // who named it first
	names  map[string]struct{}
	stamps [2]fileStamp // when leaf or err was read
	leaf   *leaf        // last good one; nil if there was none
	err    error        // why the present files are not served
}

// fileStamp tells whether a file has changed.
type fileStamp struct {
	modified time.Time
	size     int64
}

func newCertFiles(s *store, judge func(*leaf), replaced func(old, l *leaf), log *slog.Logger) *certFiles {
	return &certFiles{
		log:      log,
		store:    s,
		judge:    judge,
		replaced: replaced,
		reader:   &routes.FileReader{},
		names:    make(map[string]*filePair),
		pairs:    make(map[pairPaths]*filePair),
	}
}

// ownersAtOnce is how many owners' new pairs are read at a time.
const ownersAtOnce = 32

// pairsOf returns the pairs that changes name, for attach: those that are attached already, and others as they are read now. Those of one owner follow each other, and owners do not
// wait for each other: files of one may be slow.
func (c *certFiles) pairsOf(changes []Change) map[pairPaths]*filePair {
	known, owned := map[pairPaths]*filePair{}, map[string][]*filePair{}
	c.mu.Lock()
	for _, one := range changes {
		paths := pairPaths{cert: one.CertFile, key: one.KeyFile}
		if one.Removed || paths == (pairPaths{}) || known[paths] != nil {
			continue
		}
		if p := c.pairs[paths]; p != nil { // kept, should a change before this one detach it
			known[paths] = p
			continue
		}
		p := &filePair{paths: paths, owner: one.Owner, names: make(map[string]struct{})}
		known[paths] = p
		owned[p.owner] = append(owned[p.owner], p)
	}
	c.mu.Unlock()
	var reading sync.WaitGroup
	turns := make(chan struct{}, ownersAtOnce)
	for _, pairs := range owned {
		turns <- struct{}{}
		reading.Go(func() {
			for _, p := range pairs {
				c.note(p, c.read(p))
			}
			<-turns
		})
	}
	reading.Wait()
	return known
}

// attach serves a pair of files under a pattern from now on; known is what pairsOf returned. If the files are bad,
// whatever was attached before is served on.
func (c *certFiles) attach(pattern string, paths pairPaths, known map[pairPaths]*filePair) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.pairs[paths]
	if p == nil {
		p = known[paths]
		c.pairs[paths] = p
	}
	if c.names[pattern] != p {
		c.leave(pattern)
		c.names[pattern] = p
		p.names[pattern] = struct{}{}
	}
	c.place(pattern, p)
}

// detach ends the attachment of a pattern.
func (c *certFiles) detach(pattern string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.names[pattern] == nil {
		return
	}
	c.leave(pattern)
	c.replaced(c.store.putFile(pattern, nil), nil)
}

func (c *certFiles) leave(pattern string) {
	p := c.names[pattern]
	if p == nil {
		return
	}
	delete(c.names, pattern)
	if delete(p.names, pattern); len(p.names) == 0 {
		delete(c.pairs, p.paths)
	}
}

// place puts the pair's certificate into the store under a pattern.
func (c *certFiles) place(pattern string, p *filePair) {
	if p.leaf == nil || c.store.file(pattern) == p.leaf {
		return
	}
	if odd := p.leaf.oddities(pattern, time.Now()); odd != "" {
		c.log.Warn("certificate file served as told", "name", pattern, "cert", p.paths.cert, "warning", odd)
	}
	c.replaced(c.store.putFile(pattern, p.leaf), p.leaf)
}

// A reading is what came of a pair's files.
type reading struct {
	stamps [2]fileStamp
	leaf   *leaf
	err    error
}

// read loads a pair. What does not answer in time is an error, too.
func (c *certFiles) read(p *filePair) (got reading) {
	if got.stamps, got.err = c.stampsOf(p); got.err == nil {
		got.leaf, got.err = c.readPair(p)
	}
	return got
}

// note takes over what came of a pair; an error is logged when it is new.
func (c *certFiles) note(p *filePair, got reading) {
	before := p.err
	if got.leaf != nil {
		c.judge(got.leaf)
		p.leaf = got.leaf
	}
	p.stamps, p.err = got.stamps, got.err
	if got.err != nil && (before == nil || before.Error() != got.err.Error()) {
		c.log.Error("certificate file not usable", "cert", p.paths.cert, "key", p.paths.key,
			"err", got.err, "kept_last_good", p.leaf != nil)
	}
}

func (c *certFiles) readPair(p *filePair) (*leaf, error) {
	if p.paths.cert == "" || p.paths.key == "" {
		return nil, errors.New("a certificate needs both its file and its key's file")
	}
	cert, err := c.reader.Read(p.owner, p.paths.cert, maxPairBytes)
	if err != nil {
		return nil, fmt.Errorf("certificate file: %w", err)
	}
	key, err := c.reader.Read(p.owner, p.paths.key, maxPairBytes)
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	l, err := parsePair(SourceFile, cert, key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", p.paths.cert, p.paths.key, err)
	}
	return l, nil
}

func (c *certFiles) stampsOf(p *filePair) (stamps [2]fileStamp, err error) {
	for i, path := range []string{p.paths.cert, p.paths.key} {
		if path == "" {
			continue // readPair says so
		}
		info, err := c.reader.Stat(p.owner, path)
		if err != nil {
			return stamps, fmt.Errorf("certificate file: %w", err)
		}
		stamps[i] = fileStamp{modified: info.ModTime(), size: info.Size()}
	}
	return stamps, nil
}

// poll reads the pairs again whose files have changed, and those that were bad, until ctx ends: a
// wrong file mode, for instance, is mended without a change of the file.
func (c *certFiles) poll(ctx context.Context) {
	c.mu.Lock()
	pairs := slices.Collect(maps.Values(c.pairs))
	c.mu.Unlock()
	for _, p := range pairs {
		if ctx.Err() != nil {
			return
		}
		c.reread(p)
	}
}

// reread reads a pair again if it has changed or was bad. Nobody else notes anything in a pair that is attached.
func (c *certFiles) reread(p *filePair) {
	if stamps, err := c.stampsOf(p); err == nil && p.err == nil && stamps == p.stamps {
		return
	}
	got := c.read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	old := p.leaf
	if c.note(p, got); p.leaf == old {
		return
	}
	c.log.Info("certificate file read again", "cert", p.paths.cert, "not_after", p.leaf.notAfter)
	for pattern := range p.names { // none is left if it was detached meanwhile
		c.place(pattern, p)
	}
}

// problem returns why the files attached to a pattern are not served, or nil.
func (c *certFiles) problem(pattern string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.names[pattern]; p != nil {
		return p.err
	}
	return nil
}

// bad counts the pairs with a problem.
func (c *certFiles) bad() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, p := range c.pairs {
		if p.err != nil {
			n++
		}
	}
	return n
}
