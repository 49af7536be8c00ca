package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

// A demoStep is something to try, and what must come of it.
type demoStep struct {
	name     string // what --check calls it
	say      string
	commands []demoCommand
	verify   func(answers []*demoAnswer) error // one answer per command; nil for a verb's
}

// A demoCommand is one printed line: a request, or a verb of ours.
type demoCommand struct {
	host, path string
	attack     string   // value of the query's q
	form       string   // posted
	verb       []string // not a request; demoID in it stands for the last answer's request id
}

// demoID is what a reader puts the id of a request for.
const demoID = "ID"

// steps returns what there is to try, in order: each step relies on those before it.
func (s *demoSite) steps() []demoStep {
	const attack = "<script>alert(1)</script>"
	const upload = "icon=format-list-bulleted-square.svg" // rule 932120 takes it for a PowerShell command
	return []demoStep{
		{
			name: "backend", say: "a page of the shop, over TLS; the certificate is the internal CA's",
			commands: []demoCommand{{host: demoShop, path: "/"}},
			verify:   func(a []*demoAnswer) error { return a[0].want(200, "Welcome to shop") },
		},
		{
			name: "cache", say: "a price, twice: the first answer is stored, the second is a hit (see Cache-Status)",
			commands: []demoCommand{{host: demoShop, path: "/api/price"}, {host: demoShop, path: "/api/price"}},
			verify:   verifyCached,
		},
		{
			name: "waf", say: "an attack on the shop is blocked: 403, with the request's id and no more",
			commands: []demoCommand{{host: demoShop, path: "/", attack: attack}},
			verify:   func(a []*demoAnswer) error { return a[0].want(403, a[0].header.Get("X-Request-Id")) },
		},
		{
			name: "tenant", say: "the same attack on the blog, another tenant, is only logged",
			commands: []demoCommand{{host: demoBlog, path: "/", attack: attack}},
			verify:   func(a []*demoAnswer) error { return a[0].want(200, "Welcome to blog") },
		},
		{
			name: "allow", say: "a harmless upload is blocked by mistake; put its X-Request-Id for " + demoID + ": it passes from then on, and nothing else",
			commands: []demoCommand{
				{host: demoShop, path: "/upload", form: upload},
				{verb: []string{"waf", "allow", demoID, "--note", "icon names", "--admin", s.cfg.Socket()}},
				{host: demoShop, path: "/upload", form: upload},
				{host: demoShop, path: "/upload", form: "icon=" + attack},
			},
			verify: func(a []*demoAnswer) error {
				return errors.Join(a[0].want(403, ""), a[2].want(200, `"bytes":`), a[3].want(403, ""))
			},
		},
		{
			name: "tuning", say: "tune one tenant while it runs: the shop only detects from here on",
			commands: []demoCommand{
				{verb: []string{"tenant", "set", "shop", "waf.mode=detect", "--admin", s.cfg.Socket()}},
				{host: demoShop, path: "/", attack: attack},
			},
			verify: func(a []*demoAnswer) error { return a[1].want(200, "Welcome to shop") },
		},
	}
}

func verifyCached(a []*demoAnswer) error {
	for i, want := range []string{"stored", "hit"} {
		if err := a[i].want(200, `"site":"shop"`); err != nil {
			return err
		}
		if got := a[i].header.Get("Cache-Status"); !strings.HasPrefix(got, "gatehouse;") || !strings.Contains(got, want) {
			return fmt.Errorf("answer %d has Cache-Status %q, want gatehouse; … %s", i+1, got, want)
		}
	}
	if a[0].body != a[1].body {
		return errors.New("the second answer is not the stored one")
	}
	return nil
}

// line is the command as it is printed.
func (s *demoSite) line(c demoCommand) string {
	if c.verb != nil {
		words := []string{s.self}
		for _, w := range c.verb {
			words = append(words, shellQuote(w))
		}
		return strings.Join(words, " ")
	}
	words := []string{"curl", "-sSi", "--cacert", shellQuote(s.caFile())}
	if !s.curl.knowsLocalhost {
		words = append(words, "--resolve", c.host+":"+s.port()+":127.0.0.1")
	}
	if s.curl.proxied {
		words = append(words, "--noproxy '*'")
	}
	if c.attack != "" {
		words = append(words, "-G", "--data-urlencode", shellQuote("q="+c.attack))
	}
	if c.form != "" {
		words = append(words, "-d", shellQuote(c.form))
	}
	return strings.Join(append(words, strings.TrimSuffix(s.url(c.host), "/")+c.path), " ")
}

// demoCurl is what the printed lines must allow for.
type demoCurl struct {
	path           string // empty: there is no curl
	knowsLocalhost bool   // resolves names below localhost by itself
	proxied        bool   // the environment sends it to a proxy
}

var curlVersion = regexp.MustCompile(`^curl (\d+)\.(\d+)`)

func findCurl(ctx context.Context) demoCurl {
	var c demoCurl
	for _, name := range []string{"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"} {
		c.proxied = c.proxied || os.Getenv(name) != ""
	}
	path, err := exec.LookPath("curl")
	if err != nil {
		return c
	}
	c.path = path
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return c
	}
	if m := curlVersion.FindSubmatch(out); m != nil {
		major, _ := strconv.Atoi(string(m[1]))
		minor, _ := strconv.Atoi(string(m[2]))
		c.knowsLocalhost = major > 7 || major == 7 && minor >= 78 // curl 7.78.0, "localhost: resolve to loopback"
	}
	return c
}
