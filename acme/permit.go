package acme

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// The gate lets only those orders through for which somebody holds a permit, which is somebody with the lease of the name. So nothing
// orders beside that: no timer of autocert, no second attempt. And it adds to an order what neither autocert nor x/crypto/acme can say: the
// profile of the certificate and which one it replaces.

// allow gives leave to order certificates of these names, until the returned function is called. told is called with the URL of the order as soon as
// the issuer has taken it, before anything else of it is asked; nil: nobody wants to know.
func (g *gate) allow(names []string, p permit, told func(url string)) (end func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, name := range names {
		g.permits[name], g.told[name] = p, told
		delete(g.placed, name)
	}
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		for _, name := range names {
			delete(g.permits, name)
			delete(g.placed, name)
			delete(g.told, name)
		}
	}
}

// isPlaced reports whether the issuer has taken an order for these names, for which there is leave.
func (g *gate) isPlaced(names []string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.placed[names[0]]
}

// signWith has the gate sign what it changes with the account's key.
func (g *gate) signWith(key *ecdsa.PrivateKey) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.key = key
}

var errNoPermit = errors.New("acme: nobody on this node has leave to order that certificate")

// jws is a flattened JSON Web Signature (RFC 7515 section 7.2.2).
type jws struct {
	Protected string `json:"protected"`
	Payload   string `json:"payload"`
	Signature string `json:"signature"`
}

// passOrder looks at a request that would order something, and completes it. told wants to know the URL of that order; nil: nobody does, or it is none.
func (g *gate) passOrder(req *http.Request) (told func(url string), err error) {
	g.mu.Lock()
	is := req.Method == http.MethodPost && g.newOrder != "" && req.URL.String() == g.newOrder
	g.mu.Unlock()
	if !is {
		return nil, nil
	}
	text, err := io.ReadAll(io.LimitReader(req.Body, acmeBodyLimit))
	if err = errors.Join(err, req.Body.Close()); err != nil {
		return nil, fmt.Errorf("acme: read order: %w", err)
	}
	if text, told, err = g.complete(text); err != nil {
		return nil, err
	}
	req.Body = io.NopCloser(bytes.NewReader(text))
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text)), nil }
	req.ContentLength = int64(len(text))
	return told, nil
}

// complete checks a signed order and adds what its permit says. told is that of its permit.
func (g *gate) complete(text []byte) (whole []byte, told func(url string), err error) {
	var signed jws
	var order map[string]json.RawMessage
	var names []struct {
		Value string `json:"value"`
	}
	err = json.Unmarshal(text, &signed)
	if err == nil {
		var payload []byte
		if payload, err = base64.RawURLEncoding.DecodeString(signed.Payload); err == nil {
			err = json.Unmarshal(payload, &order)
		}
	}
	if err == nil {
		err = json.Unmarshal(order["identifiers"], &names)
	}
	if err != nil || len(names) == 0 {
		return nil, nil, fmt.Errorf("acme: order that cannot be read: %w", err)
	}
	g.mu.Lock()
	p, allowed := g.permits[names[0].Value]
	for _, name := range names {
		_, one := g.permits[name.Value]
		allowed = allowed && one
	}
	key, _ := g.key.(*ecdsa.PrivateKey)
	told = g.told[names[0].Value]
	g.mu.Unlock()
	switch {
	case !allowed:
		return nil, nil, errNoPermit
	case p == permit{}:
		return text, told, nil
	case key == nil:
		return nil, nil, errors.New("acme: no account key to sign the order with")
	}
	for field, value := range map[string]string{"profile": p.profile, "replaces": p.replaces} {
		if value != "" {
			order[field], _ = json.Marshal(value) // a string: cannot fail
		}
	}
	text, err = resign(&signed, order, key)
	return text, told, err
}

// resign signs another payload under the same header, which has the nonce and the URL (RFC 7515 section 5.1, ES256 by RFC 7518 section 3.4).
func resign(signed *jws, payload any, key *ecdsa.PrivateKey) ([]byte, error) {
	text, err := json.Marshal(payload)
	if err != nil {
		return nil, err
	}
	signed.Payload = base64.RawURLEncoding.EncodeToString(text)
	sum := sha256.Sum256([]byte(signed.Protected + "." + signed.Payload))
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		return nil, fmt.Errorf("acme: sign order: %w", err)
	}
	var raw [64]byte
	r.FillBytes(raw[:32])
	s.FillBytes(raw[32:])
	signed.Signature = base64.RawURLEncoding.EncodeToString(raw[:])
	return json.Marshal(signed)
}
