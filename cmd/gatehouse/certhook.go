package main

import (
	"fmt"
	"time"

	"gatehouse/acme"
	"gatehouse/internal/webhook"
)

// A certEvent is what the webhook is sent.
type certEvent struct {
	Node     string    `json:"node"`
	Event    string    `json:"event"` // expiring, failed, revoked, renewed
	Name     string    `json:"name"`
	Issuer   string    `json:"issuer,omitempty"`
	NotAfter time.Time `json:"not_after,omitzero"`
	Error    string    `json:"error,omitempty"`
}

// openWebhook makes what tells of certificates, if somebody is to be told.
func (n *node) openWebhook(o *acme.Options) (err error) {
	if n.cfg.Certificates.Webhook == "" {
		return nil
	}
	n.webhook, err = webhook.New(webhook.Options{URL: n.cfg.Certificates.Webhook, Agent: userAgent(), Registerer: n.metrics, Logger: n.log})
	if err != nil {
		return fmt.Errorf("certificates.webhook: %w", err)
	}
	o.Notify = func(what acme.Notice) {
		n.webhook.Send(certEvent{n.cfg.Node, what.Event, what.Name, what.Issuer, what.NotAfter, what.Error})
	}
	return nil
}
