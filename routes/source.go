package routes

import (
	"context"
	"reflect"
)

// A Change is the present state of one document: its Tenant or Vhost if it is
// good, Problems if it is bad (or, beside a Vhost, what is wrong but does not
// keep it from being served), none of them if it is gone.
type Change struct {
	Key      Key
	Tenant   *Tenant
	Vhost    *Vhost
	Problems Problems
	// Draft, where Store.Edit tells of a bad document: the JSON that its store has of it, whatever is wrong with that; empty:
	// it has none, or it is not an object.
	Draft string
	// Base, where Store.Edit tells of a vhost: what stands beside its document, and counts for fields that this leaves out, as a
	// list of hipache's does; nil: nothing.
	Base *Vhost
}

// Gone reports whether the document is there no more.
func (c *Change) Gone() bool { return c.Tenant == nil && c.Vhost == nil && len(c.Problems) == 0 }

// A Batch is what a source has seen at once.
type Batch struct {
	Changes []Change
	// Full: Changes is everything that the source has; a document that is not
	// among them is absent.
	Full bool
	// Trusted, for a Full batch: absent documents are really gone. False after a
	// reconnect or a flush, where the absence of many is more likely an accident.
	Trusted bool
	// Incomplete, for a Full batch: something could not be read (a file that is
	// not YAML), so an absent document may be in it and keeps its last good form.
	Incomplete bool
	// Places says in which parts of the source, such as the masters of a Cluster, a document can be, for a
	// Full batch that is not Trusted: each part can be lost by itself. Nil: it is one.
	Places func(Key) [2]int
	// Owners remembers for all nodes to whom aliases belong that several vhosts claim, and returns whom it
	// remembers of each alias that it knows: also beside an error, if that concerns some alone. Unsure tells of a vhost whose document is bad, and never was good: it may
	// claim the alias. Called before the batch's table acts and while the batch is being yielded; nil: the source remembers nothing.
	Owners func(disputes []Dispute, unsure func(vhost string) bool) (map[string]string, error)
	// Disputes: what Owners remembers has changed.
	Disputes bool
	// Doubt reports whether the absence of a document need not be meant, be it that of one alone: a server that makes
	// room deletes what it likes. Such documents are held, unless the batch is Trusted. Nil: each absence is as the other fields say.
	Doubt func(Key) bool
	// Problems that belong to no document, such as a file that is not YAML. Each
	// batch replaces those of the batch before.
	Problems Problems
}

// A Source yields documents: everything it has first, as one Full batch, then
// what changes.
type Source interface {
	// Load reads everything once and returns it as a Full batch. An error means
	// that nothing could be read: a folder that is not there, Redis that does
	// not answer.
	Load(ctx context.Context) (Batch, error)
	// Watch calls yield with a Full batch and then with each change, one call
	// at a time, until ctx ends; it returns ctx's error. Losing the connection
	// is no reason to return: Watch tells of it through Up and goes on trying.
	// A change made by anybody reaches yield within a second.
	Watch(ctx context.Context, yield func(Batch)) error
	// Up returns nil while the source is being followed, else why it is not.
	// Safe for concurrent use.
	Up() error
}

// A Store is a Source that can be written to. Writes come back as changes.
type Store interface {
	Source
	// Put writes the document whole, in place of what is there. The document
	// has been checked. Comments around it are kept where the store has any.
	Put(ctx context.Context, doc Document) error
	// Edit puts what change makes of a document as it stands in the store, which need not be what the
	// last batch said. Present has neither Tenant nor Vhost if there is no such document, and problems if it is bad, with a Draft
	// in stores of JSON.
	// If somebody else writes it meanwhile, nothing is written and change is called again with
	// that: no change is lost. An error of change ends it, and is returned as it is.
	Edit(ctx context.Context, key Key, change func(present Change) (Document, error)) error
	// Delete removes a document; ErrNotFound if it is not there.
	Delete(ctx context.Context, key Key) error
	// Where names the place of a document for people ("conf.d/shop.yaml:3", "vhost:www.shop.test"),
	// or "" if it is not there, or the store does not answer in time.
	Where(ctx context.Context, key Key) string
	// Places is Where for those who ask for many documents: it waits for nobody, and says "" where nothing but the store
	// itself knows the place.
	Places() func(key Key) string
}

func equalVhosts(a, b *Vhost) bool   { return a == b || reflect.DeepEqual(a, b) }
func equalTenants(a, b *Tenant) bool { return a == b || reflect.DeepEqual(a, b) }

func equalProblems(a, b Problems) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if *a[i] != *b[i] {
			return false
		}
	}
	return true
}

// errString is a constant error.
type errString string

func (e errString) Error() string { return string(e) }

// ErrNotFound is returned by Store.Delete for a document that is not there.
const ErrNotFound = errString("not found")
