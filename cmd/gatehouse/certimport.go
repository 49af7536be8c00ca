package main

import (
	"context"

	"gatehouse/admin"
)

// An importer takes certificates that somebody else has issued: *acme.Manager.
type importer interface {
	Import(ctx context.Context, certPEM, keyPEM []byte, names ...string) (imported, warnings []string, err error)
	RemoveImported(ctx context.Context, names ...string) error
}

// importInto has the API take certificates for m.
func importInto(c *admin.Certificates, m importer) { c.Import, c.Remove = m.Import, m.RemoveImported }
