package acme

import (
	"os"
	"path/filepath"

	"gatehouse/routes"
)

// plainFile is a name's record while a node is alone, sealedFile where it shares.
func (v *vault) plainFile(name string) string  { return filepath.Join(v.dir, name+".pem") }
func (v *vault) sealedFile(name string) string { return filepath.Join(v.dir, name+".sealed") }

// adopt takes over what a node has from before it shared anything: it need not be ordered again. Once it is sealed, and that opens, nothing is left in
// plain: else the folder, and each copy of it, had the key all the same.
func (v *vault) adopt(name string) (*leaf, error) {
	text, err := routes.ReadFile(v.plainFile(name), maxPairBytes)
	if err != nil {
		return nil, err
	}
	packed := v.keys.seal(v.key(name), text)
	l, _, err := v.unpack(name, packed)
	if err != nil {
		return nil, err
	}
	v.keepLocal(name, packed)
	if kept, err := v.sealed(name); err == nil {
		v.dropPlain(name, kept.rank())
	}
	return l, nil
}

// plain is what the folder has in plain of a name, of whatever issuer.
func (v *vault) plain(name string) (*leaf, error) {
	text, err := routes.ReadFile(v.plainFile(name), maxPairBytes)
	if err != nil {
		return nil, err
	}
	r, err := parseRecord(text)
	if err != nil {
		return nil, err
	}
	return r.leaf(v.source, name)
}

// sealed is likewise what it has sealed.
func (v *vault) sealed(name string) (*leaf, error) {
	text, err := routes.ReadFile(v.sealedFile(name), maxPairBytes)
	if err != nil {
		return nil, err
	}
	if v.keys == nil {
		return nil, errSealed
	}
	text, _, err = v.keys.open(v.key(name), text)
	if err != nil {
		return nil, err
	}
	r, err := parseRecord(text)
	if err != nil {
		return nil, err
	}
	return r.leaf(v.source, name)
}

// isSpare reports whether what lies in plain of a name is no better than what is sealed beside it.
func (v *vault) isSpare(name string, sealed uint64) bool {
	l, err := v.plain(name)
	return err == nil && l.rank() <= sealed
}

// dropPlain removes what is spare beside a sealed record of some rank.
func (v *vault) dropPlain(name string, sealed uint64) {
	if !v.isSpare(name, sealed) {
		return
	}
	if err := ignoreAbsent(os.Remove(v.plainFile(name))); err != nil {
		v.log.Warn("key in plain beside the sealed one not removed", "name", name, "err", err)
	}
}
