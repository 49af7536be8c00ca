package acme

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"fmt"
)

const (
	// maxRSABits is the most that a key is served with. The work of a signature grows with its third power: one with 8192 bits takes eight
	// times that of 4096, which whoever begins handshakes makes the node do.
	maxRSABits = 4096
	// minRSABits is the least that crypto/rsa signs with.
	minRSABits = 1024
	// fewRSABits is the least that clients take from a public issuer.
	fewRSABits = 2048
	// maxChainBytes bounds a chain. Clients bound the message that has it, OpenSSL's and browsers at 100 KiB, others earlier; the staple is part of
	// it in TLS 1.3.
	maxChainBytes = 60 << 10
)

// checkKey says why a key cannot be served in TLS handshakes, or must not be; nil: it can.
func checkKey(key crypto.Signer) error {
	switch key := key.(type) {
	case *rsa.PrivateKey:
		switch bits := key.N.BitLen(); {
		case len(key.Primes) > 2:
			return fmt.Errorf("RSA key of %d primes: each signature takes many times longer than with two; make a new one, as with openssl genrsa 2048", len(key.Primes))
		case bits > maxRSABits:
			return fmt.Errorf("RSA key of %d bits: more than %d take too long to sign with; make a smaller one, or one of ECDSA P-256", bits, maxRSABits)
		case bits < minRSABits:
			return fmt.Errorf("RSA key of %d bits: no client trusts it; make one of %d", bits, fewRSABits)
		}
	case *ecdsa.PrivateKey:
		switch key.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
		default:
			return fmt.Errorf("ECDSA key on the curve %s, which TLS clients do not take: want P-256, P-384 or P-521", key.Curve.Params().Name)
		}
	case ed25519.PrivateKey:
	default:
		return fmt.Errorf("private key of type %T: TLS handshakes take RSA, ECDSA and Ed25519", key)
	}
	return nil
}

// checkChain says why a chain cannot be served; nil: it can.
func checkChain(chain [][]byte) error {
	total := 0
	for _, der := range chain {
		total += len(der)
	}
	switch {
	case total <= maxChainBytes:
		return nil
	case len(chain[0]) > maxChainBytes/2:
		return fmt.Errorf("too long for clients, %d bytes with its chain (most: %d): spread its names over several certificates", total, maxChainBytes)
	}
	return fmt.Errorf("chain too long for clients, %d bytes (most: %d)", total, maxChainBytes)
}

// weakKey is a warning of a key that clients may refuse; empty: none does.
func weakKey(key crypto.Signer) string {
	if key, ok := key.(*rsa.PrivateKey); ok && key.N.BitLen() < fewRSABits {
		return fmt.Sprintf("RSA key of %d bits: browsers refuse less than %d", key.N.BitLen(), fewRSABits)
	}
	return ""
}
