package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// perFile is how many documents one file of routes holds: parsing takes longer than in
// proportion to a file's length.
const perFile = 50

// flatHost returns the name of a vhost; all are equally long.
func flatHost(i int) string { return fmt.Sprintf("site%05d.flat.test", i) }

func flatTenant(i int) string { return fmt.Sprintf("tenant%05d", i) }

// writeRoutes fills conf.d with the vhosts and tenants of a case.
func (b *bed) writeRoutes(c flatCase) error {
	dir := filepath.Join(b.dir, "conf.d")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, text := range flatRoutes(c, b.settings) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// flatRoutes returns the files of a case by name. Tenants take turns in owning vhosts.
func flatRoutes(c flatCase, s settings) map[string]string {
	out := map[string]string{}
	add := func(kind string, n int, document func(i int) string) {
		for first := 0; first < n; first += perFile {
			var text strings.Builder
			fmt.Fprintf(&text, "%s:\n", kind)
			for i := first; i < min(first+perFile, n); i++ {
				text.WriteString(document(i))
			}
			out[fmt.Sprintf("%s-%05d.yaml", kind, first)] = text.String()
		}
	}
	add("tenants", c.tenants, func(i int) string {
		return fmt.Sprintf("  %s: {waf: {mode: \"off\"}}\n", flatTenant(i))
	})
	add("vhosts", c.vhosts, func(i int) string {
		return fmt.Sprintf("  %s: {tenant: %s, backends: [\"http://%s\"], cache: {enabled: true}, tls: {redirect_http: \"false\"}}\n",
			flatHost(i), flatTenant(i%c.tenants), s.Backend)
	})
	return out
}

// A flatSite is a vhost as nginx has it.
type flatSite struct{ Host, Tenant string }

// flatSettings are what nginx gets for a case: a server for each vhost, and for each
// tenant connections of its own to the backend.
type flatSettings struct {
	settings
	Tenants []string
	Sites   []flatSite
}

func flatNginx(c flatCase, s settings) flatSettings {
	out := flatSettings{settings: s}
	for i := range c.tenants {
		out.Tenants = append(out.Tenants, flatTenant(i))
	}
	for i := range c.vhosts {
		out.Sites = append(out.Sites, flatSite{flatHost(i), flatTenant(i % c.tenants)})
	}
	return out
}

// flatScript returns the Lua program that sends so many different requests in turn,
// spread over the vhosts, beginning with one of them (from 0). All are made before the
// load begins and are equally long. wrk asks for one in advance and sends it to nobody:
// that is the one before.
func flatScript(path string, vhosts, requests, first int) string {
	return fmt.Sprintf(`local requests, next = {}, %d
function init()
  for i = 0, %d do
    local host = string.format("site%%05d.flat.test", i %% %d)
    requests[i + 1] = wrk.format("GET", string.format("%s?page=%%05d", i), {Host = host})
  end
end
function request()
  next = next %% #requests + 1
  return requests[next]
end
`, (first+requests-1)%requests, requests-1, vhosts, path) + done
}
