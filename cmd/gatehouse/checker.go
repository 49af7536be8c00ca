package main

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gatehouse/routes"
)

// checker collects what is wrong with files of process settings and of routes,
// in each of them and between them.
type checker struct {
	problems, warnings routes.Problems
	files              int
	order              map[string]int // file → when it was read, from 1
	note               string
	partial            bool // there may be other files of routes beside those that were named
	tenants, vhosts    []placed
	settings           []*Config
	judge              exclusionJudge // of the rules that settings name; nil: the embedded ones
	judgeErr           error          // why there is none
	now                time.Time      // for certificates
}

// placed is a document and where it stands.
type placed struct {
	routes.Document
	entry *entry
}

func newChecker() *checker { return &checker{now: time.Now(), order: map[string]int{}} }

// read counts a file.
func (c *checker) read(path string) {
	c.files++
	if c.order[path] == 0 {
		c.order[path] = c.files
	}
}

// sorted puts problems into the order of the files and lines; those that belong
// to no file, such as those of the environment, come first.
func (c *checker) sorted(problems routes.Problems) routes.Problems {
	slices.SortStableFunc(problems, func(a, b *routes.Problem) int {
		return cmp.Or(cmp.Compare(c.order[a.File], c.order[b.File]), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return problems
}

// report ends the check: it looks at what is only wrong between documents.
func (c *checker) report() checkReport {
	c.twice(c.tenants)
	c.twice(c.vhosts)
	c.claims()
	c.between()
	c.warnOfVhosts(questionable)
	c.certificates()
	c.unordered()
	c.authorities()
	c.ech()
	c.addresses()
	c.allowAlone()
	c.exclusions()
	c.repeatedRules()
	c.denied()
	if err := buildProblem(); err != nil {
		c.note = "this binary cannot serve: " + err.Error()
	}
	return checkReport{
		OK: len(c.problems) == 0, Problems: c.sorted(append(routes.Problems{}, c.problems...)), Warnings: c.sorted(c.warnings),
		Files: c.files, Tenants: len(c.tenants), Vhosts: len(c.vhosts), Note: c.note,
	}
}

func (c *checker) add(p *routes.Problem) { c.problems = append(c.problems, p) }

// warnOfVhosts warns of what judge finds in each vhost that is good.
func (c *checker) warnOfVhosts(judge func(*routes.Vhost) routes.Problems) {
	for _, d := range c.vhosts {
		if d.Vhost == nil {
			continue
		}
		for _, p := range judge(d.Vhost) {
			c.warnings = append(c.warnings, d.entry.problem(p.Field, p.Reason))
		}
	}
}

// cannot reports a file or folder that the system refuses.
func (c *checker) cannot(path string, err error, hint string) {
	c.add(&routes.Problem{File: path, Reason: unreadable(err) + hint})
}

// unreadable says why without the path, which stands beside it.
func unreadable(err error) string {
	if pathError, ok := errors.AsType[*fs.PathError](err); ok {
		err = pathError.Err
	}
	return "cannot be read: " + err.Error()
}

// unreadableFile says why with the path, where a field stands beside it.
func unreadableFile(path string, err error) string { return fromHere(path) + " " + unreadable(err) }

// named checks the files and folders of the command line.
func (c *checker) named(paths []string) {
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			c.folder(path)
			continue
		}
		source, err := routes.ReadFile(path, routes.MaxFile)
		if err != nil {
			c.cannot(path, err, "")
			continue
		}
		if holdsSettings(source) {
			c.read(path)
			cfg, problems := loadConfig(path, true, nil, nil)
			c.problems = append(c.problems, problems...)
			if cfg != nil {
				c.process(cfg)
			}
			continue
		}
		c.partial = true
		c.routes(path, source)
	}
}

// process takes process settings that could be read.
func (c *checker) process(cfg *Config) {
	c.settings = append(c.settings, cfg)
	c.trust(cfg)
	c.rules(cfg)
	c.processAddresses(cfg)
	c.unsealed(cfg)
}

// folder checks the files of routes that a node would read there.
func (c *checker) folder(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		hint := ""
		if errors.Is(err, fs.ErrNotExist) {
			hint = " (make the folder, or name another: routes: file:DIR)"
		}
		c.cannot(dir, err, hint)
		return
	}
	for _, e := range entries { // sorted by name
		name := e.Name()
		if e.IsDir() || strings.HasPrefix(name, ".") || !isYAML(name) {
			continue
		}
		path := filepath.Join(dir, name)
		source, err := routes.ReadFile(path, routes.MaxFile)
		if errors.Is(err, routes.ErrNotRegular) { // a node passes over it
			c.warnings = append(c.warnings, &routes.Problem{File: path, Reason: "not read: it " + routes.ErrNotRegular.Error()})
			continue
		}
		if err != nil {
			c.cannot(path, err, "")
			continue
		}
		c.routes(path, source)
	}
}

func isYAML(name string) bool {
	ext := filepath.Ext(name)
	return ext == ".yaml" || ext == ".yml"
}

// routes checks one file of routes.
func (c *checker) routes(path string, source []byte) {
	c.read(path)
	docs, problems := routes.ParseFile(path, source)
	for _, doc := range docs {
		problems = append(problems, doc.Problems...)
	}
	c.problems = append(c.problems, problems...)
	outline := outlineOf(path, source)
	for i, doc := range docs {
		p := placed{Document: doc, entry: outline.entry(i)}
		if doc.Key.Kind == routes.KindTenant {
			c.tenants = append(c.tenants, p)
		} else {
			c.vhosts = append(c.vhosts, p)
		}
	}
}

// twice reports documents that stand in more than one file. Within a file,
// routes.ParseFile reports it.
func (c *checker) twice(docs []placed) {
	first := map[string]*entry{}
	for _, d := range docs {
		at, seen := first[d.Key.Name]
		switch {
		case !seen:
			first[d.Key.Name] = d.entry
		case at.file() != d.entry.file():
			c.add(d.entry.problem("", d.Key.String()+" stands in "+at.place()+" too; that one is served"))
		}
	}
}

// repeatedRules warns of vhosts whose own rules have an id of their tenant's.
func (c *checker) repeatedRules() {
	tenants := map[string]*routes.WAF{}
	for _, d := range c.tenants {
		if d.Tenant != nil && tenants[d.Key.Name] == nil {
			tenants[d.Key.Name] = d.Tenant.WAF
		}
	}
	for _, d := range c.vhosts {
		if d.Vhost == nil || d.Vhost.WAF == nil || tenants[d.Vhost.Tenant] == nil {
			continue
		}
		if err := repeatedRule(tenants[d.Vhost.Tenant].Rules, d.Vhost.WAF.Rules); err != nil {
			c.warnings = append(c.warnings, d.entry.problem("waf.rules", err.Error()))
		}
	}
}

// claims reports hosts that more than one vhost wants: a name beats an alias,
// and of two aliases the first one read has it.
func (c *checker) claims() {
	type claim struct {
		vhost, how string
		at         *entry
	}
	owner := map[string]claim{}
	for _, d := range c.vhosts {
		if _, seen := owner[d.Key.Name]; !seen {
			owner[d.Key.Name] = claim{d.Key.Name, "is the name of", d.entry}
		}
	}
	for _, d := range c.vhosts {
		if d.Vhost == nil {
			continue
		}
		for i, alias := range d.Vhost.Aliases {
			field := "aliases[" + itoa(i) + "]"
			has, taken := owner[alias]
			if !taken {
				owner[alias] = claim{d.Key.Name, "is an alias of", d.entry.at(field)}
			} else if has.vhost != d.Key.Name {
				c.add(d.entry.problem(field, "host "+alias+" "+has.how+" vhost "+has.vhost+" already ("+has.at.place()+")"))
			}
		}
	}
}
