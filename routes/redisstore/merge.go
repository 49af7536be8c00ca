package redisstore

import (
	"encoding/json"
	"fmt"
	"strings"
	"unique"

	"gatehouse/routes"
)

// maxBackends bounds the list of a frontend: key.
const maxBackends = routes.MaxBackends

// A value is what one key of a document holds.
type value struct {
	key  rawKey
	list []string // frontend:
	text string   // vhost:, tenant:
	// bad says why the key's value cannot be used: it has another type, or is too
	// large.
	bad string
}

func (v *value) problem(format string, args ...any) *routes.Problem {
	return &routes.Problem{File: v.key.raw, Reason: fmt.Sprintf(format, args...)}
}

// compose makes the change of one document from the values that its keys have,
// the canonical keys first; none: it is gone. Where a canonical key is there, of either kind, one of another spelling is neither
// merged into it nor can it break it, whatever it holds: who may write names that are free, compared letter by letter, would take a
// site over by frontend:WWW.Shop.test or frontend:www.shop.test:8080. Only such keys are a document together, as old hipache data has them.
func compose(doc routes.Key, values []value) routes.Change {
	list, text, ignored := partsOf(values)
	var beside routes.Problems
	for _, v := range ignored {
		if first := &values[0]; v.key.odd() && !first.key.odd() {
			beside = append(beside, v.problem("it names the same host as %s and is ignored: delete it, or bring what it says into that", first.key.raw))
			continue
		}
		first := text
		if v.key.part == partList {
			first = list
		}
		beside = append(beside, v.problem("it names the same host as %s and is ignored: delete one of them", first.key.raw))
	}
	var change routes.Change
	if doc.Kind == routes.KindTenant {
		change = tenantChange(doc, text)
	} else {
		change = vhostChange(doc, list, text)
	}
	change.Problems = append(change.Problems, beside...)
	return change
}

// partsOf are the values that count, the first of each part (nil: there is none), and the others: see compose.
func partsOf(values []value) (list, text *value, ignored []*value) {
	for i := range values {
		v := &values[i]
		slot := &text
		if v.key.part == partList {
			slot = &list
		}
		if *slot != nil || v.key.odd() && !values[0].key.odd() {
			ignored = append(ignored, v)
		} else {
			*slot = v
		}
	}
	return list, text, ignored
}

func tenantChange(doc routes.Key, text *value) routes.Change {
	if text == nil {
		return routes.Change{Key: doc}
	}
	if text.bad != "" {
		return routes.Change{Key: doc, Problems: routes.Problems{text.problem("%s", text.bad)}}
	}
	parsed := routes.ParseJSON(doc, text.key.raw, []byte(text.text))
	return parsed.Change()
}

// vhostChange merges vhost: over frontend:, field by field. If one of them is
// bad the vhost is: half of what its owner said is not what its owner said.
func vhostChange(doc routes.Key, list, text *value) routes.Change {
	change := routes.Change{Key: doc}
	if list == nil && text == nil {
		return change
	}
	site := &routes.Vhost{Name: doc.Name}
	source := ""
	if text != nil {
		source = text.key.raw
		if text.bad != "" {
			change.Problems = append(change.Problems, text.problem("%s", text.bad))
		} else {
			parsed := routes.ParseJSON(doc, text.key.raw, []byte(text.text))
			change.Problems = append(change.Problems, parsed.Problems...)
			if parsed.Vhost != nil {
				site = parsed.Vhost
			}
			change.Problems = append(change.Problems, namedFiles(site, text.key.raw)...)
		}
	}
	if list != nil {
		if source == "" {
			source = list.key.raw
		}
		change.Problems = append(change.Problems, mergeList(site, list, text)...)
	}
	if len(change.Problems) == 0 {
		change.Problems = site.Check(source)
	}
	if len(change.Problems) == 0 {
		change.Vhost = site
	}
	return change
}

// namedFiles are the fields of a vhost that name files which no document in Redis may: whoever writes one would have the node's files
// read, and be known to his backends by another tenant's client key.
func namedFiles(site *routes.Vhost, source string) (out routes.Problems) {
	add := func(field, instead string) {
		out = append(out, &routes.Problem{File: source, Field: field, Reason: "a document in Redis names no file of a node: " + instead})
	}
	if site.Respond() != nil && site.Respond().File != "" {
		add("respond.file", "write its text as respond.body")
	}
	for i, b := range site.Backends {
		if b.TLS == nil {
			continue
		}
		at := fmt.Sprintf("backends[%d].tls.", i)
		if b.TLS.CA != "" && !b.TLS.Inline() {
			add(at+"ca", "write the PEM text itself")
		}
		for _, f := range []struct{ name, path string }{{"client_cert", b.TLS.ClientCert}, {"client_key", b.TLS.ClientKey}} {
			if f.path != "" {
				add(at+f.name, "client certificates are for vhosts in files")
			}
		}
	}
	return out
}

// mergeList fills what vhost: leaves open from hipache's list.
func mergeList(site *routes.Vhost, list, text *value) routes.Problems {
	if bad := mergeID(site, list, text); len(bad) > 0 {
		return bad
	}
	if site.Redirect() != nil || site.Respond() != nil { // in the place of backends, of which no list can be rid
		return nil
	}
	return mergeURLs(site, list)
}

func mergeID(site *routes.Vhost, list, text *value) routes.Problems {
	if list.bad != "" {
		return routes.Problems{list.problem("%s", list.bad)}
	}
	id := list.list[0]
	if strings.Contains(id, "://") {
		return routes.Problems{list.problem("the first element is the site's id (its tenant), and %q is a backend: LPUSH the id before it", id)}
	}
	if site.Tenant == "" && !saysTenant(text) {
		site.Tenant = unique.Make(routes.TenantOfID(id, site.Name)).Value() // many sites have the same
	}
	return nil
}

func mergeURLs(site *routes.Vhost, list *value) routes.Problems {
	if len(site.Backends) > 0 {
		return nil
	}
	urls := list.list[1:]
	if len(urls) > maxBackends {
		return routes.Problems{list.problem("more than %d backends", maxBackends)}
	}
	for _, url := range urls {
		site.Backends = append(site.Backends, routes.Backend{URL: url})
	}
	front := routes.Vhost{Name: site.Name, Backends: site.Backends}
	return front.Check(list.key.raw)
}

// saysTenant reports whether the JSON has the field tenant, be it empty.
func saysTenant(text *value) bool {
	if text == nil || !strings.Contains(text.text, `"tenant"`) {
		return false
	}
	var said struct {
		Tenant *string `json:"tenant"`
	}
	return json.Unmarshal([]byte(text.text), &said) == nil && said.Tenant != nil
}
