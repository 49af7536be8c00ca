package acme

import (
	"bytes"
	"context"
	"fmt"
	"time"
)

// agreedKey is the key that all nodes have at a place, nil if there is none: what is shared there (sealed; nil: nothing), else what is held, else,
// where make is set, a new one. What nobody's seal key has sealed gives way; what others' has, does not: whoever is wrong is not known. fresh is the
// key as the folder is to have it, nil if it has it already.
func agreedKey(ctx context.Context, shared Shared, keys *Keyring, place string, sealed, held []byte, make bool, life time.Duration) (key, fresh []byte, err error) {
	own := func() []byte {
		if held == nil && make {
			return newKey()
		}
		return held
	}
	if sealed == nil {
		if key = own(); key == nil {
			return nil, nil, nil
		}
		if sealed, err = shared.Create(ctx, place, keys.seal(place, key), life); err != nil {
			return nil, nil, err
		}
	}
	key, old, err := keys.open(place, sealed)
	if err != nil && !keys.isForeign(sealed) {
		return nil, nil, fmt.Errorf("%s: %w", place, err)
	}
	if len(key) != ticketKeySize { // junk: nil, if it does not open
		if key, old = own(), true; key == nil {
			return nil, nil, nil
		}
	}
	if old { // a seal key on its way out, or no key at all
		sealed = keys.seal(place, key)
		if err := shared.Write(ctx, place, sealed, life); err != nil {
			return nil, nil, err
		}
	} else if bytes.Equal(key, held) {
		return key, nil, nil
	}
	return key, sealed, nil
}
