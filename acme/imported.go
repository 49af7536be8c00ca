package acme

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// imports are the certificates that somebody has brought in by hand, for names and wildcards whether the table has them or not. They come before
// ordered ones, and behind those that a vhost names. All nodes that share anything have them.
type imports struct {
	vault    *vault
	store    *store
	replaced func(old, l *leaf)
	removed  func(pattern string) // is told that nothing is imported for it any more
	log      *slog.Logger

	mu     sync.Mutex
	looked map[string]*sync.Once // names whose files were looked for before all were loaded
	loaded atomic.Bool
}

func newImports(o Options, s *store, replaced func(old, l *leaf)) (*imports, error) {
	i := &imports{
		vault: &vault{
			dir: filepath.Join(o.Data, "certs", "imported"), source: SourceImported, suffix: ":manual", event: eventManual, shared: o.Shared, keys: o.Keys, log: o.Logger,
		},
		store: s, replaced: replaced, removed: func(string) {}, log: o.Logger, looked: make(map[string]*sync.Once),
	}
	if err := os.MkdirAll(i.vault.dir, 0o700); err != nil {
		return nil, fmt.Errorf("acme: folder of imported certificates: %w", err)
	}
	return i, nil
}

// place has l served for a pattern from now on; nil: nothing.
func (i *imports) place(pattern string, l *leaf) {
	if i.swap(pattern, l) && l == nil {
		i.removed(pattern)
	}
}

// swap puts l in place of what there is, unless that goes before, and reports whether it did.
func (i *imports) swap(pattern string, l *leaf) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	old := i.store.imported(pattern)
	if old == l || old != nil && l != nil && old.rank() >= l.rank() {
		return false
	}
	i.replaced(i.store.putImported(pattern, l), l)
	return true
}

// demand looks into the folder for a name, and the wildcard above it, while not all of it was loaded.
func (i *imports) demand(name string) {
	if i.loaded.Load() {
		return
	}
	i.readOnce(name)
	i.readOnce("*." + parent(name))
}

// readOnce is read, while not all was loaded: what is wrong with a file is said once.
func (i *imports) readOnce(pattern string) {
	i.mu.Lock()
	once := i.looked[pattern]
	if once == nil {
		once = new(sync.Once)
		i.looked[pattern] = once
	}
	i.mu.Unlock()
	once.Do(func() { i.read(pattern) }) // who comes meanwhile waits: a handshake is to have it
}

func (i *imports) read(pattern string) {
	l, err := i.vault.local(pattern)
	switch {
	case err == nil:
		i.place(pattern, l)
	case !errors.Is(err, os.ErrNotExist) && !errors.Is(err, errRemoved):
		i.log.Warn("imported certificate not usable", "name", pattern, "err", err)
	}
}

// load reads the whole folder, also what is there in plain from before anything was shared.
func (i *imports) load(ctx context.Context) {
	entries, err := os.ReadDir(i.vault.dir)
	if err != nil {
		i.log.Error("imported certificates cannot be read", "err", err)
		return
	}
	for _, entry := range entries {
		ext := filepath.Ext(entry.Name())
		name := strings.TrimSuffix(entry.Name(), ext)
		ok := ext == filepath.Ext(i.vault.file("x")) || ext == filepath.Ext(i.vault.plainFile("x"))
		if pattern, valid := canonicalPattern(name); !ok || !valid || pattern != name || ctx.Err() != nil {
			continue
		}
		if i.store.imported(name) == nil {
			i.readOnce(name)
		}
	}
	i.loaded.Store(true)
	i.mu.Lock()
	i.looked = make(map[string]*sync.Once)
	i.mu.Unlock()
}

// bring reads what is shared of some patterns.
func (i *imports) bring(ctx context.Context, patterns ...string) error {
	held := func(pattern string) *leaf {
		i.demand(pattern) // after a start the folder may not have been read yet
		return i.store.imported(pattern)
	}
	found, err := i.vault.fetch(ctx, held, patterns...)
	if err != nil {
		return err
	}
	for n, l := range found {
		switch l {
		case nil:
		case removedLeaf:
			i.place(patterns[n], nil)
		default:
			i.place(patterns[n], l)
		}
	}
	return nil
}

// Import serves a certificate for names or wildcards from now on, on all nodes: before ordered ones, and behind those that a vhost names
// itself. certPEM is the chain, keyPEM its key. Without names it is for all that it covers. It returns the names that it serves for, and what
// about it clients may refuse. What is no pair, or does not cover one of the names, changes nothing; neither does anything on a node with a SealProblem.
func (m *Manager) Import(ctx context.Context, certPEM, keyPEM []byte, names ...string) (imported, warnings []string, err error) {
	// What such a node shares nobody else can open, and it would take the place of what the others have.
	if problem, _ := m.SealProblem(); problem != "" {
		return nil, nil, errStrange
	}
	l, err := parsePair(SourceImported, certPEM, keyPEM)
	if err != nil {
		return nil, nil, err
	}
	if len(names) == 0 {
		names = l.names
	}
	if len(names) == 0 {
		return nil, nil, errors.New("the certificate names no host: say for which it is")
	}
	for _, name := range names {
		pattern, ok := canonicalPattern(name)
		switch {
		case !ok || pattern == "*":
			return nil, nil, fmt.Errorf("%q is neither a host name nor a wildcard such as *.shop.test", name)
		case !l.fits(pattern) && !l.covers(pattern):
			return nil, nil, fmt.Errorf("the certificate is for %s, and does not cover %s", strings.Join(l.names, ", "), name)
		}
		imported = append(imported, pattern)
	}
	if odd := l.oddities("*", time.Now()); odd != "" {
		warnings = append(warnings, odd)
	}
	text, err := pairPEM(l.served.Load())
	if err != nil {
		return nil, nil, err
	}
	for _, pattern := range imported {
		if !m.store.isTold(pattern) && !m.known(knownAs(pattern)) && !m.store.hasNamesBelow(pattern) {
			warnings = append(warnings, "no vhost answers for "+pattern+" yet")
		}
		if err := m.imports.keep(ctx, pattern, record{PEM: string(text)}, l.notAfter); err != nil {
			return nil, nil, err
		}
	}
	return imported, warnings, nil
}

// keep writes a record of a higher generation than what is there, and acts on it.
func (i *imports) keep(ctx context.Context, pattern string, r record, notAfter time.Time) error {
	generation := uint64(0)
	i.demand(pattern)
	if old := i.store.imported(pattern); old != nil {
		generation = old.generation
	}
	if i.vault.shared != nil {
		there, err := i.vault.shared.ReadRanked(ctx, i.vault.key(pattern))
		if err != nil {
			return fmt.Errorf("what other nodes have cannot be asked: %w", err)
		}
		if there[0].Value != nil && i.vault.hasRank(pattern, there[0], there[0].Rank) { // else the rank is anybody's
			generation = max(generation, generationOf(there[0].Rank))
		}
	}
	r.Generation = generation + 1
	stale, err := i.vault.put(ctx, pattern, &r, notAfter)
	if err != nil {
		return err
	}
	if stale {
		_ = i.bring(ctx, pattern) // into the folder, too; else it comes with the next look
		return errors.New("somebody else has imported another one at the same time: try again")
	}
	if r.Removed {
		i.place(pattern, nil)
		return nil
	}
	l, err := r.leaf(SourceImported, pattern)
	if err == nil {
		i.place(pattern, l)
	}
	return err
}

// has reports whether something was imported for a pattern, here or on another node. What this node cannot open counts: a node with other keys
// has left it there, and nobody else could take it away.
func (i *imports) has(ctx context.Context, pattern string) (bool, error) {
	i.demand(pattern)
	if i.store.imported(pattern) != nil || i.vault.shared == nil {
		return i.store.imported(pattern) != nil, nil
	}
	found, err := i.vault.shared.ReadRanked(ctx, i.vault.key(pattern))
	if err != nil {
		return false, fmt.Errorf("what other nodes have cannot be asked: %w", err)
	}
	if found[0].Value == nil {
		return false, nil
	}
	_, _, err = i.vault.unpack(pattern, found[0].Value)
	return !errors.Is(err, errRemoved), nil
}

// RemoveImported ends what Import has begun, for some names. It changes nothing on a node with a SealProblem; others also take away what they cannot open.
func (m *Manager) RemoveImported(ctx context.Context, names ...string) error {
	if problem, _ := m.SealProblem(); problem != "" { // as in Import
		return errStrange
	}
	for _, name := range names {
		pattern, ok := canonicalPattern(name)
		there, err := ok, error(nil)
		if ok {
			there, err = m.imports.has(ctx, pattern)
		}
		switch {
		case err != nil:
			return err
		case !there:
			return fmt.Errorf("nothing was imported for %s", name)
		}
		// Who is away for longer than this, and comes back with its folder, serves it again.
		if err := m.imports.keep(ctx, pattern, record{Removed: true}, time.Now().Add(removedLife)); err != nil {
			return err
		}
	}
	return nil
}

const removedLife = 90 * 24 * time.Hour
