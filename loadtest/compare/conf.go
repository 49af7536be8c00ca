package main

import (
	"bytes"
	"embed"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"text/template"
)

//go:embed conf
var confFiles embed.FS

var templates = template.Must(template.New("").Option("missingkey=error").ParseFS(confFiles, "conf/*"))

// settings are what the templates of conf/ are filled with.
type settings struct {
	Dir             string // the run folder
	Log             string // the peer's access log
	Cert, Key, Both string // PEM files; Both holds the other two
	ModSecurity     string // nginx's module; empty: without
	Root            bool   // we are root, and who serves the world gives that up
	Descriptors     int    // connections that a process can have

	Backend, Counter netip.AddrPort // of the backend: for requests; for the number of them
	HTTPS            netip.AddrPort // where the peer is loaded
	Plain            netip.AddrPort // between hitch and varnish, and gatehouse's own for http
	Admin            netip.AddrPort
}

// render fills a template of conf/, most of them with settings.
func render(name string, s any) ([]byte, error) {
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, name, s); err != nil {
		return nil, fmt.Errorf("configuration %s: %w", name, err)
	}
	return b.Bytes(), nil
}

// configure writes a template's text under its name into the run folder, or below as,
// and returns the file.
func (b *bed) configure(name string, s any, as ...string) (string, error) {
	text, err := render(name, s)
	if err != nil {
		return "", err
	}
	if len(as) == 0 {
		as = []string{name}
	}
	file := filepath.Join(append([]string{b.dir}, as...)...)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return "", err
	}
	return file, os.WriteFile(file, text, 0o644)
}
