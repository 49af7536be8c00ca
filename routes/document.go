package routes

import (
	"fmt"
	"path/filepath"

	"github.com/goccy/go-yaml/ast"
)

// Kind says what a document describes.
type Kind uint8

// The kinds of documents.
const (
	KindTenant Kind = iota + 1
	KindVhost
)

// String returns "tenant" or "vhost".
func (k Kind) String() string {
	if k == KindTenant {
		return "tenant"
	}
	return "vhost"
}

// Key names a document. Vhost names are canonical (CanonicalVhost).
type Key struct {
	Kind Kind
	Name string
}

// String returns "vhost www.shop.test".
func (k Key) String() string { return k.Kind.String() + " " + k.Name }

// A Document is what was read of one tenant or one vhost. Exactly one of Tenant
// and Vhost is set if the document is good; both are nil if Problems is not
// empty.
type Document struct {
	Key      Key
	Tenant   *Tenant
	Vhost    *Vhost
	Problems Problems
	// Line of its file in which the document begins, from 1; 0: it has none.
	Line int
}

// Change returns the change that brings the document into a table.
func (doc *Document) Change() Change {
	return Change{Key: doc.Key, Tenant: doc.Tenant, Vhost: doc.Vhost, Problems: doc.Problems}
}

// ParseFile reads a file of documents (conf.d/*.yaml). name is used in problems,
// and relative paths in documents are joined to its folder. Problems that belong
// to no document, such as a file that is not YAML, are returned beside.
func ParseFile(name string, source []byte) ([]Document, Problems) {
	d, err := NewDecoder(name, source)
	if err != nil {
		return nil, problemsOf(name, err)
	}
	if d.root == nil {
		return nil, nil // an empty file
	}
	sections, ok := Entries(d.root)
	if !ok {
		d.fail(d.root, "", "want the keys tenants and vhosts here, not %s", kindOf(d.root))
		return nil, d.Problems()
	}
	var docs []Document
	names := []string{"tenants", "vhosts"}
	for _, section := range sections {
		kind := KindTenant
		switch section.Key {
		case "tenants":
		case "vhosts":
			kind = KindVhost
		default:
			if !d.full() {
				p := d.problemAt(section.Token, "", fmt.Sprintf("unknown key %q", shortText(section.Key)))
				p.Guess = Nearest(section.Key, names)
				d.problems = append(d.problems, p)
			}
			continue
		}
		docs = append(docs, d.section(kind, section)...)
	}
	return docs, d.Problems()
}

// section reads all documents under tenants: or vhosts:.
func (d *Decoder) section(kind Kind, section Entry) []Document {
	if _, null := plain(section.Value).(*ast.NullNode); null {
		return nil
	}
	entries, ok := Entries(section.Value)
	if !ok {
		d.fail(section.Value, section.Key, "want names with a mapping each, not %s", kindOf(section.Value))
		return nil
	}
	seen := map[string]int{}
	var docs []Document
	for _, e := range entries {
		one := &Decoder{file: d.file, source: d.source, root: e.Value, positions: nil}
		doc := one.document(kind, e.Key, e)
		doc.Line = e.Token.Position.Line
		if line, twice := seen[doc.Key.Name]; twice {
			p := d.problemAt(e.Token, "", fmt.Sprintf("%s stands here a second time; the first is in line %d", doc.Key, line))
			doc.Problems = append(doc.Problems, p)
			doc.Tenant, doc.Vhost = nil, nil
		} else {
			seen[doc.Key.Name] = e.Token.Position.Line
		}
		docs = append(docs, doc)
	}
	return docs
}

// document reads the entry e of a file. The name is made canonical.
func (d *Decoder) document(kind Kind, name string, e Entry) Document {
	key := Key{Kind: kind, Name: name}
	var bad Problems
	if kind == KindVhost {
		canonical, err := CanonicalVhost(name)
		if err != nil {
			bad = append(bad, d.problemAt(e.Token, "", fmt.Sprintf("bad vhost name %q: %v", name, err)))
		} else {
			key.Name = canonical
		}
	} else if err := CheckTenantName(name); err != nil {
		bad = append(bad, d.problemAt(e.Token, "", err.Error()))
	}
	d.positions = nil
	doc := d.documentOfFile(key, e)
	if len(bad) > 0 {
		doc.Tenant, doc.Vhost = nil, nil
		doc.Problems = append(bad, doc.Problems...)
	}
	return doc
}

func (d *Decoder) documentOfFile(key Key, e Entry) Document {
	doc := d.documentOf(key, checkComplete)
	for _, p := range doc.Problems {
		if p.Line == 0 && e.Token != nil { // the whole value is missing: point at its name
			at := d.problemAt(e.Token, p.Field, p.Reason)
			at.Guess = p.Guess
			*p = *at
		}
	}
	if doc.Tenant != nil {
		doc.Tenant.Addresses.inFolder(d.file)
	}
	if doc.Vhost != nil {
		doc.Vhost.Addresses().inFolder(d.file)
		for _, b := range doc.Vhost.Backends {
			if b.TLS != nil {
				b.TLS.beside(d.file)
			}
		}
	}
	if doc.Vhost != nil && doc.Vhost.Respond() != nil {
		doc.Vhost.Respond().File = beside(d.file, doc.Vhost.Respond().File)
	}
	if doc.Vhost != nil && doc.Vhost.TLS != nil {
		if c := doc.Vhost.TLS.Certificate; c != nil {
			c.Cert, c.Key = beside(d.file, c.Cert), beside(d.file, c.Key)
		}
		if a := doc.Vhost.TLS.ClientAuth; a != nil && !a.Inline() {
			a.CA = beside(d.file, a.CA)
		}
	}
	return doc
}

// documentOf decodes and checks the root as the document named by key.
func (d *Decoder) documentOf(key Key, mode checkMode) Document {
	doc := Document{Key: key}
	d.positions = newPositions()
	var findings []finding
	switch key.Kind {
	case KindTenant:
		t := &Tenant{}
		d.Decode(t)
		t.Name, doc.Tenant = key.Name, t
		findings = checkTenant(t, mode)
	case KindVhost:
		v := &Vhost{}
		d.Decode(v)
		doc.Vhost = v.settle(key.Name)
		findings = checkVhost(key.Name, v, mode)
	}
	decoded := len(d.problems) > 0
	for _, f := range findings {
		if decoded && f.missing {
			continue // what could not be read is not missing
		}
		if f.line > 0 {
			d.reportWithin(f)
			continue
		}
		d.Report(f.field, f.reason, f.guess)
	}
	if doc.Problems = d.Problems(); len(doc.Problems) > 0 {
		doc.Tenant, doc.Vhost = nil, nil
	}
	return doc
}

// CheckTenantName refuses ids that could not stand in a Redis key, a log line or
// a file name: 1 to 64 of letters, digits, dot, hyphen and underscore.
func CheckTenantName(name string) error {
	if name == "" || len(name) > 64 {
		return fmt.Errorf("bad tenant name %q: want 1 to 64 characters", name)
	}
	for _, c := range []byte(name) {
		if c != '.' && c != '-' && c != '_' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return fmt.Errorf("bad tenant name %q: only letters, digits, dot, hyphen and underscore", name)
		}
	}
	return nil
}

// beside joins a relative path to the folder of the file that names it, and makes
// it absolute: the document may outlive the working directory (last good routes).
func beside(file, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	joined := filepath.Join(filepath.Dir(file), path)
	if abs, err := filepath.Abs(joined); err == nil {
		return abs
	}
	return joined
}
