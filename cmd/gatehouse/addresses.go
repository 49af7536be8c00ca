package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gatehouse/edge/iplist"
	"gatehouse/routes"
)

// AddressesConfig says which client addresses are served, for all vhosts.
type AddressesConfig struct {
	// Allow and Deny are as those of documents, see routes.Addresses.
	Allow []string `json:"allow" help:"networks and lists (file:PATH, https URL) whose clients are served, and cannot be blocked"`
	Deny  []string `json:"deny" help:"networks and lists whose clients are refused, unless a vhost, its tenant or addresses.allow has them"`
	// Refresh is the time between two requests for a list that is a URL, of documents too.
	Refresh routes.Duration `json:"refresh" help:"time between two requests for a list that is a URL"`
}

func (c *AddressesConfig) rules() *routes.Addresses {
	return &routes.Addresses{Allow: c.Allow, Deny: c.Deny}
}

// checkAddresses reports bad entries, and makes the paths of lists those seen from the working folder.
func (l *loader) checkAddresses() {
	for _, p := range l.cfg.Addresses.rules().Check("") {
		l.fail(strings.TrimSuffix("addresses."+p.Field, "."), p.Reason, p.Guess)
	}
	rebase := func(path string, a routes.Addresses) {
		a.Rebase(func(file string) string { return l.fromFile(path, file) })
	}
	rebase("addresses.allow", routes.Addresses{Allow: l.cfg.Addresses.Allow})
	rebase("addresses.deny", routes.Addresses{Deny: l.cfg.Addresses.Deny})
	if d := l.cfg.Defaults.Addresses; d != nil {
		rebase("defaults.addresses.allow", routes.Addresses{Allow: d.Allow})
		rebase("defaults.addresses.deny", routes.Addresses{Deny: d.Deny})
	}
}

// processAddresses reports lists of the process settings that are bad files.
func (c *checker) processAddresses(cfg *Config) {
	c.listsOf(cfg.Addresses.rules(), func(reason string) *routes.Problem { return cfg.problem("addresses", reason, "") })
	c.listsOf(cfg.Defaults.Addresses, func(reason string) *routes.Problem { return cfg.problem("defaults.addresses", reason, "") })
}

// addresses reports lists of documents that are bad files.
func (c *checker) addresses() {
	for _, d := range slices.Concat(c.tenants, c.vhosts) {
		var a *routes.Addresses
		switch {
		case d.Tenant != nil:
			a = d.Tenant.Addresses
		case d.Vhost != nil:
			a = d.Vhost.Addresses()
		}
		c.listsOf(a, func(reason string) *routes.Problem { return d.entry.problem("addresses", reason) })
	}
}

// allowAlone warns of vhosts that an allow does not close, with whatever settings.
func (c *checker) allowAlone() {
	tenants := map[string]*routes.Tenant{}
	for _, d := range c.tenants {
		tenants[d.Key.Name] = d.Tenant
	}
	settings := c.settings
	if len(settings) == 0 {
		settings = []*Config{{}}
	}
	c.warnOfVhosts(func(v *routes.Vhost) (out routes.Problems) {
		for _, cfg := range settings {
			if out = allowAlone(v, tenants[v.Tenant], cfg); len(out) == 0 {
				return nil
			}
		}
		return out
	})
}

// listsOf reports the lists of a document that are bad files: a bad line where it stands, else the document's field.
// What a URL answers counts where the node runs, and is not asked for.
func (c *checker) listsOf(a *routes.Addresses, field func(reason string) *routes.Problem) {
	for _, list := range a.Lists() {
		path, isFile := strings.CutPrefix(list, "file:")
		if !isFile {
			continue
		}
		text, err := routes.ReadFile(path, iplist.MaxListBytes)
		if err != nil {
			c.add(field(unreadableFile(path, err)))
			continue
		}
		_, err = iplist.ParseList(text)
		bad, ok := errors.AsType[*iplist.LineError](err)
		switch {
		case ok:
			p := &routes.Problem{File: fromHere(path), Line: bad.Line, Column: 1, Reason: bad.Err.Error()}
			if !slices.ContainsFunc(c.problems, func(o *routes.Problem) bool { return o.File == p.File && o.Line == p.Line }) {
				c.add(p) // once, however many documents name the list
			}
		case err != nil:
			c.add(field(fromHere(path) + ": " + err.Error()))
		}
	}
}

// fromHere is a path as one sees it from the working folder, if it lies below.
func fromHere(path string) string {
	if wd, err := os.Getwd(); err == nil {
		if below, ok := strings.CutPrefix(path, wd+string(filepath.Separator)); ok {
			return below
		}
	}
	return path
}
