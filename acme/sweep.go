package acme

import (
	"context"
	"os"
	"path/filepath"
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
// process has left half written. What cannot be read stays: whoever has the right key may want it.
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
		if age < forgetAfter || wanted(name) {
			return false
		}
		text, err := readCapped(filepath.Join(v.dir, file), maxPairBytes)
		if err != nil {
			return false
		}
		if kind == ".sealed" {
			if v.keys == nil {
				return false
			}
			if text, _, err = v.keys.open(v.key(name), text); err != nil {
				return false
			}
		}
		r, err := parseRecord(text)
		if err != nil {
			return false
		}
		l, err := r.leaf(v.source, name)
		return err == nil && time.Since(l.notAfter) > forgetAfter
	}
	return false
}

// keepSwept sweeps the folder from time to time until ctx ends.
func (i *issuer) keepSwept(ctx context.Context) {
	for wait := sweepFirst; ; wait = sweepEvery {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		i.vault.sweep(ctx, func(name string) bool {
			i.mu.Lock()
			defer i.mu.Unlock()
			return i.wanted[name] != nil
		})
	}
}
