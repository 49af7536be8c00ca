package acme

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"gatehouse/routes"
)

// A vault is where a node keeps issued certificates, account keys and what it knows of failed orders: in its folder, and
// where nodes share them, if they do. The folder then has the same sealed bytes, so that a node serves what it has while the others' place is away,
// also after a restart; what is shared counts.
type vault struct {
	dir         string
	source      Source   // of what is in it
	suffix      string   // of the keys where it is shared
	event       string   // word of changes
	directories []string // of the issuers that the settings name; the first is that of records that name none. Nil: they do not matter
	shared      Shared   // nil: this node is alone
	keys        *Keyring // not nil if shared is not
	opened      *opened  // of what is shared; nil: nobody counts
	log         *slog.Logger
	bad         sync.Map // keys of what is shared and cannot be used: what the log has said of them
}

// forgetAfter is how long an expired certificate is kept.
const forgetAfter = 7 * 24 * time.Hour

// sharedWait bounds each look at what is shared.
const sharedWait = 2 * time.Second

func certKey(name string) string { return "cert:{" + name + "}" }

// key is that of a name where it is shared.
func (v *vault) key(name string) string { return certKey(name) + v.suffix }

func lockKey(name string) string { return certKey(name) + ":lock" }
func failKey(name string) string { return certKey(name) + ":fail" }

// accountName is the file and the key of what belongs to the account at a directory.
func accountKeyOf(directory, what string) string {
	return "gatehouse:{acme}:" + directoryFolder(directory) + ":" + what
}

// file is a name's record in the folder. A sealed one has another name, so that a node without the key does not take it for damaged.
func (v *vault) file(name string) string {
	if v.shared != nil {
		return v.sealedFile(name)
	}
	return v.plainFile(name)
}

// local reads a name's certificate from the folder. The error is os.ErrNotExist if there is none.
func (v *vault) local(name string) (*leaf, error) {
	text, err := routes.ReadFile(v.file(name), maxPairBytes)
	if errors.Is(err, os.ErrNotExist) && v.shared != nil {
		return v.adopt(name)
	}
	if err != nil {
		return nil, err
	}
	l, fresh, err := v.unpack(name, text)
	if fresh != nil && !bytes.Equal(fresh, text) {
		v.keepLocal(name, fresh)
	}
	if err != nil || v.shared == nil {
		return l, err
	}
	if plain, err := v.plain(name); err == nil && plain.rank() > l.rank() { // the node was alone for a while
		if plain, err = v.adopt(name); err == nil {
			return plain, nil
		}
	}
	v.dropPlain(name, l.rank())
	return l, nil
}

// unpack opens a record, as the folder and Shared have it. fresh is what is to be kept of it: text, or, if a key that is on its way out has sealed that,
// the same sealed anew. Nil: it does not open.
func (v *vault) unpack(name string, text []byte) (l *leaf, fresh []byte, err error) {
	fresh = text
	if v.shared != nil {
		plain, old, err := v.keys.open(v.key(name), text)
		if err != nil {
			return nil, nil, err
		}
		if text = plain; old {
			fresh = v.keys.seal(v.key(name), plain)
		}
	}
	r, err := parseRecord(text)
	if err != nil {
		return nil, nil, err
	}
	if v.directories != nil {
		if r.Directory == "" {
			r.Directory = v.directories[0]
		}
		if !slices.Contains(v.directories, r.Directory) {
			return nil, fresh, fmt.Errorf("%w: %s", errOtherIssuer, r.Directory)
		}
	}
	l, err = r.leaf(v.source, name)
	return l, fresh, err
}

// pack is the reverse of unpack.
func (v *vault) pack(name string, r *record) []byte {
	if v.shared == nil {
		if r.Generation == 0 && !r.Removed && r.Names == nil && (v.directories == nil || r.Directory == v.directories[0]) {
			return []byte(r.PEM) // readable for other programs
		}
		return r.encode()
	}
	return v.keys.seal(v.key(name), r.encode())
}

// put keeps a certificate: shared first, unless one of a higher rank is there already (then stale is true, and that one counts, if it can be used
// here: fetch it), then in the folder. An error means that it is not kept everywhere; it is served all the same.
func (v *vault) put(ctx context.Context, name string, r *record, notAfter time.Time) (stale bool, err error) {
	packed := v.pack(name, r)
	written := v.shared == nil
	if v.shared != nil {
		tries := 0
		err = insist(ctx, func(ctx context.Context) (err error) {
			tries++
			written, err = v.share(ctx, name, packed, rankOf(r.Generation, notAfter))
			return err
		})
		if err == nil && (written || tries > 1) { // a call that seemed to fail may have written it
			err = insist(ctx, func(ctx context.Context) error { return v.shared.Announce(ctx, v.event+name) })
		}
	}
	kept := writeFile(v.file(name), packed, 0o600)
	if kept == nil && v.shared != nil {
		v.dropPlain(name, rankOf(r.Generation, notAfter))
	}
	return err == nil && !written, errors.Join(err, kept)
}

// outrank is the generation by which a certificate of one at least wins over what is shared under a name, and what this node holds. Whoever asks
// has the lease of the name.
func (v *vault) outrank(ctx context.Context, name string, generation uint64, notAfter time.Time, held *leaf) uint64 {
	var there uint64
	if held != nil {
		there = held.rank()
	}
	var found []Ranked
	err := insist(ctx, func(ctx context.Context) (err error) { found, err = v.shared.ReadRanked(ctx, v.key(name)); return err })
	if err == nil && found[0].Value != nil && v.hasRank(name, found[0], there) { // else what is held is the best guess
		there = found[0].Rank
	}
	if there != 0 && rankOf(generation, notAfter) <= there {
		return max(generation, generationOf(there)) + 1
	}
	return generation
}

// share reports whether a record is shared now. If not, another one is that comes before it. What does not open, or is not of the rank that
// it is said to be, comes before nothing: else whoever can write what is shared could hold up a name for good.
func (v *vault) share(ctx context.Context, name string, packed []byte, rank uint64) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, sharedWait)
	defer cancel()
	written, err := v.shared.WriteRanked(ctx, v.key(name), Ranked{packed, rank}, lifeOf(rank))
	if written || err != nil {
		return written, err
	}
	found, err := v.shared.ReadRanked(ctx, v.key(name))
	if err != nil || found[0].Value == nil || v.hasRank(name, found[0], rank) {
		return false, err
	}
	return v.shared.Replace(ctx, v.key(name), found[0].Value, Ranked{packed, rank}, lifeOf(rank))
}

// hasRank reports whether a shared record is good, for some node at least, and of that rank or a higher one.
func (v *vault) hasRank(name string, there Ranked, rank uint64) bool {
	l, _, err := v.unpack(name, there.Value)
	switch {
	case err == nil:
		return l.rank() >= rank
	case errors.Is(err, errRemoved), errors.Is(err, errOtherIssuer), !v.keys.isForeign(there.Value):
		return there.Rank >= rank // also what others' keys have sealed: whoever is wrong is not known
	}
	return false
}

// lifeOf is how long what has a rank stays where nodes share it.
func lifeOf(rank uint64) time.Duration { return max(time.Until(endOf(rank)), 0) + forgetAfter }

// restore shares what this node has and the others have lost, as where a Redis was emptied.
func (v *vault) restore(ctx context.Context, name string, l *leaf) {
	if time.Now().After(l.notAfter) {
		return
	}
	packed, err := routes.ReadFile(v.file(name), maxPairBytes)
	if err == nil {
		_, err = v.share(ctx, name, packed, l.rank())
	}
	if err != nil {
		v.log.Warn("certificate that is not shared any more cannot be shared again", "name", name, "err", err)
	}
}

// keepLocal writes what came from the others into the folder.
func (v *vault) keepLocal(name string, packed []byte) {
	if old, err := routes.ReadFile(v.file(name), maxPairBytes); err == nil && string(old) == string(packed) {
		return
	}
	if err := writeFile(v.file(name), packed, 0o600); err != nil {
		v.log.Warn("certificate not kept in the folder", "name", name, "err", err)
	}
}

// removedLeaf stands for a name whose certificate was removed.
var removedLeaf = &leaf{}

// fetch reads certificates that are shared; nil where there is none, or none that can be used. What is there and cannot is in the log. held
// is what this node has of a name, in its folder too; nil: nothing. It is asked only where nothing is shared, or nothing that opens.
func (v *vault) fetch(ctx context.Context, held func(name string) *leaf, names ...string) ([]*leaf, error) {
	keys := make([]string, len(names))
	for i, name := range names {
		keys[i] = v.key(name)
	}
	limited, cancel := context.WithTimeout(ctx, sharedWait) // and not all of this: the folder may be slow
	found, err := v.shared.ReadRanked(limited, keys...)
	cancel()
	if err != nil {
		return nil, err
	}
	out := make([]*leaf, len(names))
	for i, f := range found {
		l, fresh, err := v.fetched(ctx, names[i], f)
		switch lost := f.Value == nil || fresh == nil && v.keys.isForeign(f.Value); {
		case lost:
			if own := held(names[i]); own != nil {
				v.restore(ctx, names[i], own)
			}
		case err == nil:
			out[i] = l
			v.keepLocal(names[i], fresh)
		}
	}
	return out, nil
}

// fetched is unpack for what is shared, which is sealed anew if need be. What cannot be used is in the log, once.
func (v *vault) fetched(ctx context.Context, name string, f Ranked) (l *leaf, fresh []byte, err error) {
	if f.Value == nil {
		return nil, nil, nil
	}
	l, fresh, err = v.unpack(name, f.Value)
	v.opened.note(err)
	if fresh != nil && !bytes.Equal(fresh, f.Value) {
		v.reseal(ctx, name, f, fresh)
	}
	if errors.Is(err, errRemoved) {
		l, err = removedLeaf, nil
	}
	if v.isNews(v.key(name), err) {
		v.log.Warn("shared certificate not usable", "key", v.key(name), "err", err)
	}
	return l, fresh, err
}

// isNews reports whether something is wrong with what is at a key that the log does not have yet; nil: nothing is wrong.
func (v *vault) isNews(key string, err error) bool {
	if err == nil {
		v.bad.Delete(key)
		return false
	}
	was, _ := v.bad.Swap(key, err.Error())
	return was != err.Error()
}

// reseal shares what a key on its way out has sealed as the present one has: otherwise all that was not renewed meanwhile would be lost with that key.
func (v *vault) reseal(ctx context.Context, name string, there Ranked, fresh []byte) {
	ctx, cancel := context.WithTimeout(ctx, sharedWait)
	defer cancel()
	if _, err := v.shared.Replace(ctx, v.key(name), there.Value, Ranked{fresh, there.Rank}, lifeOf(there.Rank)); err != nil {
		v.log.Debug("shared certificate is still sealed by an old key", "name", name, "err", err)
	}
}

// secret reads a small secret that all nodes have in common, or makes it where there is none: the first to write it wins. Alone it is a
// file. Without make it is nil where neither those who share it nor the folder have it.
func (v *vault) secret(ctx context.Context, key, file string, make func() ([]byte, error)) ([]byte, error) {
	path := filepath.Join(v.dir, file)
	if v.shared == nil {
		text, err := routes.ReadFile(path, maxPairBytes)
		if err == nil || !errors.Is(err, os.ErrNotExist) {
			return text, err
		}
		if text, err = make(); err != nil {
			return nil, err
		}
		return text, writeFile(path, text, 0o600)
	}
	var sealed []byte
	read := func(ctx context.Context) error {
		found, err := v.shared.Read(ctx, key)
		if err == nil {
			sealed = found[0]
		}
		return err
	}
	if err := insist(ctx, read); err != nil {
		return nil, err
	}
	if sealed == nil { // what this node has goes before a new one: it is from before anything was shared, or lost where it was
		text, err := v.ownSecret(key, path, make)
		if text == nil || err != nil {
			return nil, err
		}
		own := v.keys.seal(key, text)
		create := func(ctx context.Context) (err error) { sealed, err = v.shared.Create(ctx, key, own, 0); return err }
		if err := insist(ctx, create); err != nil {
			return nil, err
		}
	}
	text, old, err := v.keys.open(key, sealed)
	if err != nil {
		err = fmt.Errorf("%s: %w", key, err)
		own, _ := v.ownSecret(key, path, nil)
		if own == nil || !v.keys.isForeign(sealed) { // a later version, or others' keys: whoever is wrong is not known
			return nil, err
		}
		if v.isNews(key, err) {
			v.log.Warn("shared secret was overwritten; what the folder has takes its place", "key", key, "err", err)
		}
		text, old = own, true
	}
	if old { // that key is on its way out, and this stays for years
		sealed = v.keys.seal(key, text)
		if err := insist(ctx, func(ctx context.Context) error { return v.shared.Write(ctx, key, sealed, 0) }); err != nil {
			return nil, err
		}
	}
	if there, err := routes.ReadFile(path+".sealed", maxPairBytes); err == nil && bytes.Equal(there, sealed) {
		return text, nil
	}
	return text, writeFile(path+".sealed", sealed, 0o600)
}

// ownSecret is the secret as this node's folder has it, sealed or from before anything was shared, else a new one.
func (v *vault) ownSecret(key, path string, make func() ([]byte, error)) ([]byte, error) {
	if sealed, err := routes.ReadFile(path+".sealed", maxPairBytes); err == nil {
		if text, _, err := v.keys.open(key, sealed); err == nil {
			return text, nil
		}
	}
	text, err := routes.ReadFile(path, maxPairBytes)
	if !errors.Is(err, os.ErrNotExist) {
		return text, err
	}
	if make == nil {
		return nil, nil
	}
	return make()
}
