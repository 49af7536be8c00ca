package acme

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"
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
		return filepath.Join(v.dir, name+".sealed")
	}
	return filepath.Join(v.dir, name+".pem")
}

// local reads a name's certificate from the folder. The error is os.ErrNotExist if there is none.
func (v *vault) local(name string) (*leaf, error) {
	text, err := readCapped(v.file(name), maxPairBytes)
	if errors.Is(err, os.ErrNotExist) && v.shared != nil {
		return v.adopt(name)
	}
	if err != nil {
		return nil, err
	}
	return v.unpack(name, text)
}

// adopt takes over what a node has from before it shared anything: it need not be ordered again.
func (v *vault) adopt(name string) (*leaf, error) {
	text, err := readCapped(filepath.Join(v.dir, name+".pem"), maxPairBytes)
	if err != nil {
		return nil, err
	}
	packed := v.keys.seal(v.key(name), text)
	l, err := v.unpack(name, packed)
	if err == nil {
		v.keepLocal(name, packed)
	}
	return l, err
}

// unpack opens a record, as the folder and Shared have it.
func (v *vault) unpack(name string, text []byte) (*leaf, error) {
	if v.shared != nil {
		plain, _, err := v.keys.open(v.key(name), text)
		if err != nil {
			return nil, err
		}
		text = plain
	}
	r, err := parseRecord(text)
	if err != nil {
		return nil, err
	}
	if v.directories != nil {
		if r.Directory == "" {
			r.Directory = v.directories[0]
		}
		if !slices.Contains(v.directories, r.Directory) {
			return nil, fmt.Errorf("%w: %s", errOtherIssuer, r.Directory)
		}
	}
	return r.leaf(v.source, name)
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

// put keeps a certificate: shared first, unless one of a higher rank is there already (then stale is true, and that one counts),
// then in the folder. An error means that it is not kept everywhere; it is served all the same.
func (v *vault) put(ctx context.Context, name string, r *record, notAfter time.Time) (stale bool, err error) {
	packed := v.pack(name, r)
	if v.shared != nil {
		tries, written := 0, false
		err = insist(ctx, func(ctx context.Context) (err error) {
			tries++
			written, err = v.share(ctx, name, packed, rankOf(r.Generation, notAfter), notAfter)
			return err
		})
		if err == nil && (written || tries > 1) { // a call that seemed to fail may have written it
			err = insist(ctx, func(ctx context.Context) error { return v.shared.Announce(ctx, v.event+name) })
		}
		if err == nil && !written {
			return true, nil
		}
	}
	return false, errors.Join(err, writeFile(v.file(name), packed, 0o600))
}

func (v *vault) share(ctx context.Context, name string, packed []byte, rank uint64, notAfter time.Time) (bool, error) {
	return v.shared.WriteRanked(ctx, v.key(name), Ranked{packed, rank}, max(time.Until(notAfter), 0)+forgetAfter)
}

// restore shares what this node has and the others have lost, as where a Redis was emptied.
func (v *vault) restore(ctx context.Context, name string, l *leaf) {
	if time.Now().After(l.notAfter) {
		return
	}
	packed, err := readCapped(v.file(name), maxPairBytes)
	if err == nil {
		_, err = v.share(ctx, name, packed, l.rank(), l.notAfter)
	}
	if err != nil {
		v.log.Warn("certificate that is not shared any more cannot be shared again", "name", name, "err", err)
	}
}

// keepLocal writes what came from the others into the folder.
func (v *vault) keepLocal(name string, packed []byte) {
	if old, err := readCapped(v.file(name), maxPairBytes); err == nil && string(old) == string(packed) {
		return
	}
	if err := writeFile(v.file(name), packed, 0o600); err != nil {
		v.log.Warn("certificate not kept in the folder", "name", name, "err", err)
	}
}

// removedLeaf stands for a name whose certificate was removed.
var removedLeaf = &leaf{}

// fetch reads certificates that are shared; nil where there is none, or none that can be used. What is there and cannot is in the log. held
// is what this node has of a name, in its folder too; nil: nothing. It is asked only where nothing is shared.
func (v *vault) fetch(ctx context.Context, held func(name string) *leaf, names ...string) ([]*leaf, error) {
	keys := make([]string, len(names))
	for i, name := range names {
		keys[i] = v.key(name)
	}
	found, err := v.shared.ReadRanked(ctx, keys...)
	if err != nil {
		return nil, err
	}
	out := make([]*leaf, len(names))
	for i, f := range found {
		if f.Value == nil {
			if l := held(names[i]); l != nil {
				v.restore(ctx, names[i], l)
			}
			continue
		}
		l, err := v.unpack(names[i], f.Value)
		v.opened.note(err)
		if errors.Is(err, errRemoved) {
			l, err = removedLeaf, nil
		}
		if err != nil {
			v.log.Warn("shared certificate not usable", "name", names[i], "err", err)
			continue
		}
		out[i] = l
		v.keepLocal(names[i], f.Value)
	}
	return out, nil
}

// secret reads a small secret that all nodes have in common, or makes it where there is none: the first to write it wins. Alone it is a
// file.
func (v *vault) secret(ctx context.Context, key, file string, make func() ([]byte, error)) ([]byte, error) {
	path := filepath.Join(v.dir, file)
	if v.shared == nil {
		text, err := readCapped(path, maxPairBytes)
		if err == nil || !errors.Is(err, os.ErrNotExist) {
			return text, err
		}
		if text, err = make(); err != nil {
			return nil, err
		}
		return text, writeFile(path, text, 0o600)
	}
	found, err := v.shared.Read(ctx, key)
	if err != nil {
		return nil, err
	}
	sealed := found[0]
	if sealed == nil { // what this node has goes before a new one: it is from before anything was shared, or lost where it was
		text, err := v.ownSecret(key, path, make)
		if err != nil {
			return nil, err
		}
		if sealed, err = v.shared.Create(ctx, key, v.keys.seal(key, text), 0); err != nil {
			return nil, err
		}
	}
	text, _, err := v.keys.open(key, sealed)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return text, writeFile(path+".sealed", sealed, 0o600)
}

// ownSecret is the secret as this node's folder has it, sealed or from before anything was shared, else a new one.
func (v *vault) ownSecret(key, path string, make func() ([]byte, error)) ([]byte, error) {
	if sealed, err := readCapped(path+".sealed", maxPairBytes); err == nil {
		if text, _, err := v.keys.open(key, sealed); err == nil {
			return text, nil
		}
	}
	text, err := readCapped(path, maxPairBytes)
	if errors.Is(err, os.ErrNotExist) {
		return make()
	}
	return text, err
}
