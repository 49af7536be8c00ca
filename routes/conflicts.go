package routes

// Conflicts returns the problems of a vhost's aliases that another vhost has
// already: they stay with the other one. PathProblem and RedirectProblem are among them.
func (t *Table) Conflicts(r *Route) Problems {
	if r.Vhost == nil {
		return nil
	}
	var out Problems
	for _, p := range []*Problem{t.PathProblem(r.Vhost), t.RedirectProblem(r.Vhost)} {
		if p != nil {
			out = append(out, p)
		}
	}
	for _, alias := range r.Vhost.Aliases {
		if owner := t.named(alias); owner != nil && owner.Name != r.Name {
			out = append(out, &Problem{Field: "aliases", Reason: "host " + alias + " belongs to vhost " + owner.Name + " already"})
		}
	}
	return out
}

// PathProblem returns why a path vhost answers for no request, though its document
// is good; nil: it does, or it is none. Cookies, storage and the cache's host are shared by
// all that a browser gets from one host, so all of a host is one tenant's.
func (t *Table) PathProblem(v *Vhost) *Problem {
	host, path := SplitName(v.Name)
	if path == "" {
		return nil
	}
	if r := t.Vhost(host); r != nil && r.Vhost != nil {
		if r.Vhost.Tenant == v.Tenant {
			return nil
		}
		return &Problem{Field: "tenant", Reason: "vhost " + host + " is " + whose(r.Vhost) + ", and a path of it has to be too: its requests go to " + host}
	}
	if owner := t.Match(host); owner != nil && owner.Name != "*" {
		return &Problem{Reason: "vhost " + owner.Name + " answers for " + host + ": name this one " + owner.Name + path + ", or add a vhost " + host}
	}
	return &Problem{Reason: "there is no vhost " + host + " that this could be a path of: add one, such as " + host + ": {" + tenantField(v) + "respond: {status: 404}}"}
}

// tenantField is a vhost's tenant as a document has it.
func tenantField(v *Vhost) string {
	if v.Tenant == "" {
		return ""
	}
	return "tenant: " + v.Tenant + ", "
}

// whose says in words whose a vhost is.
func whose(v *Vhost) string {
	if v.Tenant == "" {
		return "without tenant"
	}
	return "tenant " + v.Tenant + "'s"
}
