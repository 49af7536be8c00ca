package acme

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
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

	mu    sync.Mutex
	names map[string]*filePair
	pairs map[pairPaths]*filePair
}

// pairPaths name a certificate file and its key file; both may be the same file.
type pairPaths struct{ cert, key string }

// filePair is one pair of files, however many names it is attached to.
type filePair struct {
	paths  pairPaths
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
		names:    make(map[string]*filePair),
		pairs:    make(map[pairPaths]*filePair),
	}
}

// attach serves a pair of files under a pattern from now on. If the files are bad,
// whatever was attached before is served on.
func (c *certFiles) attach(pattern string, paths pairPaths) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.pairs[paths]
	if p == nil {
		p = &filePair{paths: paths, names: make(map[string]struct{})}
		c.pairs[paths] = p
		c.read(p)
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

// read loads a pair and notes the outcome; an error is logged when it is new.
func (c *certFiles) read(p *filePair) {
	before := p.err
	stamps, err := stampsOf(p.paths)
	if err == nil {
		var l *leaf
		if l, err = readPair(p.paths); err == nil {
			c.judge(l)
			p.leaf = l
		}
	}
	p.stamps, p.err = stamps, err
	if err != nil && (before == nil || before.Error() != err.Error()) {
		c.log.Error("certificate file not usable", "cert", p.paths.cert, "key", p.paths.key,
			"err", err, "kept_last_good", p.leaf != nil)
	}
}

func readPair(paths pairPaths) (*leaf, error) {
	if paths.cert == "" || paths.key == "" {
		return nil, errors.New("a certificate needs both its file and its key's file")
	}
	cert, err := readCapped(paths.cert, maxPairBytes)
	if err != nil {
		return nil, fmt.Errorf("certificate file: %w", err)
	}
	key, err := readCapped(paths.key, maxPairBytes)
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	l, err := parsePair(SourceFile, cert, key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", paths.cert, paths.key, err)
	}
	return l, nil
}

func stampsOf(paths pairPaths) (stamps [2]fileStamp, err error) {
	for i, path := range []string{paths.cert, paths.key} {
		if path == "" {
			continue // readPair says so
		}
		info, err := os.Stat(path)
		if err != nil {
			return stamps, fmt.Errorf("certificate file: %w", err)
		}
		stamps[i] = fileStamp{modified: info.ModTime(), size: info.Size()}
	}
	return stamps, nil
}

// poll reads the pairs again whose files have changed, and those that were bad: a
// wrong file mode, for instance, is mended without a change of the file.
func (c *certFiles) poll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.pairs {
		if stamps, err := stampsOf(p.paths); err == nil && p.err == nil && stamps == p.stamps {
			continue
		}
		old := p.leaf
		c.read(p)
		if p.leaf == old {
			continue
		}
		c.log.Info("certificate file read again", "cert", p.paths.cert, "not_after", p.leaf.notAfter)
		for pattern := range p.names {
			c.place(pattern, p)
		}
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
