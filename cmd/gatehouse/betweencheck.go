package main

import (
	"gatehouse/admin"
	"gatehouse/routes"
)

// between reports path vhosts that would answer for no request, redirects that lead back
// to where they come from, and pages that cannot be read.
func (c *checker) between() {
	var changes []routes.Change
	for _, d := range c.vhosts {
		if d.Vhost != nil {
			changes = append(changes, d.Change())
		}
	}
	table, _ := (&routes.Table{}).With(changes)
	for _, d := range c.vhosts {
		if d.Vhost == nil {
			continue
		}
		if p := table.RedirectProblem(d.Vhost); p != nil {
			if table.LeadsBack(d.Vhost) && (c.partial || !table.LeadsHome(d.Vhost)) { // where it leads, a file that is not checked may have a vhost
				c.warnings = append(c.warnings, d.entry.problem(p.Field, p.Reason))
			} else {
				c.add(d.entry.problem(p.Field, p.Reason))
			}
		}
		if d.Vhost.Respond() != nil {
			if _, err := d.Vhost.Respond().Page(); err != nil {
				c.add(d.entry.problem("respond.file", unreadableFile(d.Vhost.Respond().File, err)))
			}
		}
		c.backendTLS(d)
		p := table.PathProblem(d.Vhost)
		switch {
		case p == nil:
		case p.Field == "": // its host may be in a file that is not checked
			c.warnings = append(c.warnings, d.entry.problem("", "answers for no request: "+p.Reason))
		default:
			c.add(d.entry.problem(p.Field, p.Reason))
		}
	}
}

// backendTLS reports files without which no connection to a backend can be made.
func (c *checker) backendTLS(d placed) {
	for i, b := range d.Vhost.Backends {
		if field, err := admin.BackendTLSProblem("", &routes.FileReader{}, b.TLS); err != nil {
			path := map[string]string{"ca": b.TLS.CA, "client_cert": b.TLS.ClientCert, "client_key": b.TLS.ClientKey}[field]
			c.add(d.entry.problem("backends["+itoa(i)+"].tls."+field, unreadableFile(path, err)))
		}
	}
}

// unverified warns of backends that anybody may pretend to be.
func unverified(v *routes.Vhost) (out routes.Problems) {
	for i, b := range v.Backends {
		if b.TLS != nil && !b.TLS.Verifies() {
			out = append(out, &routes.Problem{
				Field:  "backends[" + itoa(i) + "].tls.verify",
				Reason: "any certificate is taken: whoever is on the way can read and change everything; ca says who vouches for one that the system's roots do not",
			})
		}
	}
	return out
}
