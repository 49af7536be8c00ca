package main

import (
	"fmt"
	"strings"

	"gatehouse/acme"
	"gatehouse/acme/rediscache"
	"gatehouse/internal/redisconn"
	"gatehouse/routes"
)

// maxSealKey bounds the file of a key, in bytes.
const maxSealKey = 4 << 10

// sealKeys are the keys of the settings, read. An error tells none of them.
func (c *Config) sealKeys() (keys [][]byte, err error) {
	for i, text := range c.SealKeys {
		if path, is := strings.CutPrefix(text, "file:"); is {
			content, err := routes.ReadFile(path, maxSealKey)
			if err != nil {
				return nil, fmt.Errorf("%s: %s", path, unreadable(err))
			}
			text = string(content)
		}
		key, err := acme.ParseSealKey(text)
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i+1, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// openShared opens the Redis of what nodes have in common: the one of the settings, else that of the routes; nil if there is none.
func (n *node) openShared() error {
	n.shared = n.redis
	if n.cfg.Redis == "" {
		return nil
	}
	o, err := n.cfg.redisOptions(n.cfg.Redis)
	if err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	if n.shared, err = redisconn.Open(o); err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	n.onClose(n.shared.Close)
	return nil
}

// shareCertificates completes the options of package acme for a node that shares anything.
func (n *node) shareCertificates(o *acme.Options) error {
	if n.shared == nil {
		return nil
	}
	if len(n.cfg.SealKeys) == 0 {
		n.log.Warn("certificates and ticket keys are this node's own, since there are no seal_keys to seal them with in Redis: other nodes order their own, and resume none of its sessions")
		return nil
	}
	keys, err := n.cfg.sealKeys()
	if err != nil {
		return fmt.Errorf("seal_keys: %w", err)
	}
	if o.Keys, err = acme.NewKeyring(keys...); err != nil {
		return err
	}
	o.Shared = rediscache.New(n.shared)
	return nil
}

// acmeIssuers are the issuers of the settings, the first one and those that stand in for it.
func acmeIssuers(c *ACME) (first acme.ACME, fallbacks []acme.ACME) {
	challenge := c.Challenge
	if challenge == "auto" {
		challenge = ""
	}
	first = acme.ACME{Directory: c.Directory, Email: c.Email, Trust: c.Trust, EAB: c.EAB.binding(), Profile: c.Profile, Challenge: challenge}
	if f := c.Fallback; f.Directory != "" {
		fallbacks = append(fallbacks, acme.ACME{
			Directory: f.Directory, Email: f.Email, Trust: f.Trust, EAB: f.EAB.binding(), Profile: f.Profile, Challenge: challenge,
		})
	}
	return first, fallbacks
}

func (e EAB) binding() *acme.EAB {
	if e == (EAB{}) {
		return nil
	}
	return &acme.EAB{KID: e.KID, HMAC: e.HMAC}
}
