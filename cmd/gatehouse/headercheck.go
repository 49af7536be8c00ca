package main

import (
	"fmt"
	"maps"
	"regexp"
	"slices"

	"gatehouse/routes"
)

// variable is what stands for a value elsewhere: nginx's $host and ${host}, Caddy's {host}, Apache's %D and %{Host}e, HAProxy's %[src],
// templates' {{ .Host }}. JSON, as Report-To has it, is none, nor is what URLs have for a character, %2f.
var variable = regexp.MustCompile(`(?:^|\W)\$(?:\{|[A-Za-z_])|\{[\s{$.]*[A-Za-z_][\w.:>-]*\s*\}|(?:^|\W)%(?:\[|[A-Za-z](?:\W|$))`)

// placeholders warns of values that look as if they were filled in: of header fields, and where a redirect leads.
func placeholders(v *routes.Vhost) (out routes.Problems) {
	if r := v.Redirect(); r != nil && variable.MatchString(r.To) {
		out = append(out, &routes.Problem{
			Field:  "redirect.to",
			Reason: fmt.Sprintf("sent as it stands, %s: there are no variables; path and query follow by themselves where keep_path is not false", r.To),
		})
	}
	if v.Headers() == nil {
		return out
	}
	for _, way := range []struct {
		name  string
		edits *routes.HeaderEdits
	}{{"request", v.Headers().Request}, {"response", v.Headers().Response}} {
		if way.edits == nil {
			continue
		}
		for _, verb := range []struct {
			name   string
			fields map[string]string
		}{{"set", way.edits.Set}, {"add", way.edits.Add}} {
			for _, name := range slices.Sorted(maps.Keys(verb.fields)) {
				if value := verb.fields[name]; variable.MatchString(value) {
					out = append(out, &routes.Problem{
						Field:  "headers." + way.name + "." + verb.name + "." + name,
						Reason: fmt.Sprintf("sent as it stands, %s: there are no variables", value),
					})
				}
			}
		}
	}
	return out
}
