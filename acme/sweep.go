package acme

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

const (
	// sweepEvery is how often what nobody needs any more leaves the folder, for the first time sweepFirst after the start, when the table is known.
	sweepEvery = 24 * time.Hour
	sweepFirst = 10 * time.Minute
)

// sweep takes out of the folder what was kept of names that are not ordered any more, once it is of no use to one that comes back: certificates and their
// keys when they have expired, as where nodes share them; notes of failures and orders when their life is over; and what an end of the
// process has left half written; and what lies in plain beside the same sealed. What cannot be read stays: whoever has the right key may want it.
func (v *vault) sweep(ctx context.Context, wanted func(name string) bool) {
	entries, err := os.ReadDir(v.dir)
	if err != nil {
		v.log.Warn("folder of certificates cannot be swept", "err", err)
		return
	}
	swept := 0
	for _, entry := range entries {
		if ctx.Err() != nil {
			return
		}
		info, err := entry.Info()
		if err != nil || !info.Mode().IsRegular() || !v.isOver(entry.Name(), time.Since(info.ModTime()), wanted) {
			continue
		}
		if err := os.Remove(filepath.Join(v.dir, entry.Name())); ignoreAbsent(err) != nil {
			v.log.Warn("file that is not needed any more stays", "err", err)
			continue
		}
		swept++
	}
	if swept > 0 {
		v.log.Info("files of names that are not ordered any more removed", "files", swept)
	}
}

// isOver reports whether a file that was last written so long ago is of no use any more.
func (v *vault) isOver(file string, age time.Duration, wanted func(name string) bool) bool {
	if strings.HasPrefix(file, tempPrefix) {
		return age > sweepEvery
	}
	kind := filepath.Ext(file)
	name := strings.TrimSuffix(file, kind)
	switch kind {
	case ".order":
		return age > pendingLife
	case ".failed":
		return age > failureLife
	case ".pem", ".sealed":
		if kind == ".pem" && v.shared != nil {
			if l, err := v.sealed(name); err == nil && v.isSpare(name, l.rank()) {
				return true
			}
		}
		if age < forgetAfter || wanted(name) {
			return false
		}
		l, err := v.plain(name)
		if kind == ".sealed" {
			l, err = v.sealed(name)
		}
		return err == nil && time.Since(l.notAfter) > forgetAfter
	}
	return false
}

// folderOfDirectory matches what directoryFolder gives.
var folderOfDirectory = regexp.MustCompile(`-[0-9a-f]{8}$`)

// former are the folders of directories that were the first in the settings once, as that of a test CA. Nothing in them is ordered.
func (v *vault) former() (all []*vault) {
	above, own := filepath.Split(v.dir)
	entries, err := os.ReadDir(above)
	if err != nil {
		v.log.Warn("folder of certificates cannot be swept", "err", err)
	}
	for _, entry := range entries {
		if entry.IsDir() && entry.Name() != own && folderOfDirectory.MatchString(entry.Name()) {
			all = append(all, &vault{dir: filepath.Join(above, entry.Name()), source: v.source, suffix: v.suffix, shared: v.shared, keys: v.keys, log: v.log})
		}
	}
	return all
}

// keepSwept sweeps from time to time until ctx ends.
func (i *issuer) keepSwept(ctx context.Context) {
	for wait := sweepFirst; ; wait = sweepEvery {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		i.sweep(ctx)
	}
}

// sweep sweeps the folder and former ones.
func (i *issuer) sweep(ctx context.Context) {
	i.vault.sweep(ctx, func(name string) bool {
		i.mu.Lock()
		defer i.mu.Unlock()
		return i.wanted[name] != nil
	})
	for _, v := range i.vault.former() {
		v.sweep(ctx, func(string) bool { return false })
	}
}
