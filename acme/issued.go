package acme

import (
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// forgetAfter is how long the file of an expired certificate is kept.
const forgetAfter = 7 * 24 * time.Hour

// directoryFolder keeps the certificates and accounts of different directories
// apart: a test CA's certificates must not be served after the move to the real one.
func directoryFolder(directory string) string {
	host := "directory"
	if u, err := url.Parse(directory); err == nil && u.Hostname() != "" {
		host = strings.ReplaceAll(u.Hostname(), ":", "_")
	}
	h := fnv.New32a()
	h.Write([]byte(directory)) // never fails, see hash.Hash
	return host + "-" + hex.EncodeToString(h.Sum(nil))
}

func (i *issuer) file(name string) string { return filepath.Join(i.dir, name+".pem") }

// load reads all certificates of the folder. A bad one is logged and set aside by
// being ordered again when its name is wanted; one long expired is removed.
func (i *issuer) load() error {
	entries, err := os.ReadDir(i.dir)
	if err != nil {
		return fmt.Errorf("acme: folder of certificates: %w", err)
	}
	for _, entry := range entries {
		name, ok := strings.CutSuffix(entry.Name(), ".pem")
		if _, valid := canonicalName(name); !ok || !valid || entry.IsDir() {
			continue
		}
		l, err := i.read(name)
		if err != nil {
			i.log.Warn("certificate of the folder not usable", "name", name, "err", err)
			continue
		}
		if time.Since(l.notAfter) > forgetAfter {
			if err := os.Remove(i.file(name)); err != nil {
				i.log.Warn("expired certificate not removed", "name", name, "err", err)
			}
			continue
		}
		i.replaced(i.store.putIssued(name, l), l)
	}
	return nil
}

func (i *issuer) read(name string) (*leaf, error) {
	text, err := readCapped(i.file(name), maxPairBytes)
	if err != nil {
		return nil, err
	}
	return parseIssued(name, text)
}

func parseIssued(name string, text []byte) (*leaf, error) {
	l, err := parsePair(SourceACME, text, text)
	if err != nil {
		return nil, err
	}
	if !l.covers(name) {
		return nil, fmt.Errorf("certificate is for %s", strings.Join(l.names, ", "))
	}
	return l, nil
}
