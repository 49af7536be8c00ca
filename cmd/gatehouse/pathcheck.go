package main

import "gatehouse/routes"

// paths reports path vhosts that would answer for no request.
func (c *checker) paths() {
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
