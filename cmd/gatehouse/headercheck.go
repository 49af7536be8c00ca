package main

import (
	"fmt"
	"maps"
	"regexp"
	"slices"

	"gatehouse/routes"
)

// variable is what stands for a value elsewhere: nginx's $host and ${host}, Caddy's {host}, Apache's %{Host}e, templates' {{ .Host }}.
// JSON, as Report-To has it, is none.
var variable = regexp.MustCompile(`(?:^|\W)\$(?:\{|[A-Za-z_])|\{[\s{$.]*[A-Za-z_][\w.:>-]*\s*\}`)

// headers warns of values of header fields that look as if they were filled in.
func (c *checker) headers() {
	for _, d := range c.vhosts {
		if d.Vhost == nil || d.Vhost.Headers() == nil {
			continue
		}
		for way, edits := range map[string]*routes.HeaderEdits{"request": d.Vhost.Headers().Request, "response": d.Vhost.Headers().Response} {
			if edits == nil {
				continue
			}
			for verb, fields := range map[string]map[string]string{"set": edits.Set, "add": edits.Add} {
				for _, name := range slices.Sorted(maps.Keys(fields)) {
					if variable.MatchString(fields[name]) {
						c.warnings = append(c.warnings, d.entry.problem("headers."+way+"."+verb+"."+name,
							fmt.Sprintf("sent as it stands, %s: there are no variables", fields[name])))
					}
				}
			}
		}
	}
}
