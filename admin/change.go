package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"time"

	"gatehouse/routes"
)

const (
	// maxDocument bounds what is read of one document.
	maxDocument = 1 << 20
	// applyWait is how long an answer waits for its change to come back from the
	// source: twice what a source may take.
	applyWait = 2 * time.Second
	// applyPoll is how often the table is looked at meanwhile.
	applyPoll = 2 * time.Millisecond
)

// Removed is the answer to a DELETE.
type Removed struct {
	Name    string `json:"name"`
	Where   string `json:"where,omitempty"` // the place that the document stood in
	Applied bool   `json:"applied"`         // false: removed, but not yet out of the table
	// Left are the path vhosts of a host that answer for no request any more.
	Left []string `json:"left,omitempty"`
}

// An edit makes the JSON of a document from its present form in the store, which the table may not have yet. An error
// that is an *apiError is for the client.
type edit func(present routes.Change) (raw []byte, err error)

// store writes what an edit makes of a document, and waits until requests are answered by it. What others
// write at the same time is not lost: the edit is made again. The caller holds a.changing.
func (a *API) store(ctx context.Context, key routes.Key, change edit) (doc routes.Document, applied bool, err error) {
	if a.opts.Store == nil {
		return doc, false, errReadOnly
	}
	var refusal *apiError
	held := a.opts.Held(key) // the store is busy when it is needed
	err = a.opts.Store.Edit(ctx, key, func(present routes.Change) (routes.Document, error) {
		if held && present.Gone() {
			a.restore(key, &present)
		}
		raw, err := change(present)
		if err == nil {
			doc, err = a.checked(key, raw, &present)
		}
		return doc, err
	})
	switch {
	case errors.As(err, &refusal):
		return doc, false, refusal
	case err != nil:
		return doc, false, fmt.Errorf("write %s: %w", key, err)
	}
	applied = a.await(ctx, func(t *routes.Table) bool { return shows(t, &doc) })
	a.log.Info("document written", "document", key.String(), "where", a.where(ctx, key), "applied", applied, "held_before", held)
	return doc, applied, nil
}

// checked reads a document and judges it; was is what it replaces.
func (a *API) checked(key routes.Key, raw []byte, was *routes.Change) (routes.Document, error) {
	doc := routes.ParseJSON(key, "", raw)
	if len(doc.Problems) == 0 && doc.Vhost != nil {
		doc.Problems = doc.Vhost.Check("")
	}
	if len(doc.Problems) > 0 {
		return doc, refused(key, doc.Problems, was.Gone())
	}
	if doc.Vhost != nil {
		return doc, taken(a.opts.Table(), doc.Vhost, was.Vhost)
	}
	return doc, nil
}

// shows reports whether the table has the document as it was written.
func shows(t *routes.Table, doc *routes.Document) bool {
	if doc.Key.Kind == routes.KindTenant {
		present, _, _ := t.Tenant(doc.Key.Name)
		return present != nil && sameJSON(present, doc.Tenant)
	}
	route := t.Vhost(doc.Key.Name)
	return route != nil && sameJSON(route.Vhost, doc.Vhost)
}

// remove removes a document. What left returns, asked with nothing changing meanwhile, is told as Removed.Left; its error ends it.
func (a *API) remove(w http.ResponseWriter, r *http.Request, key routes.Key, left func() ([]string, error), done func(*routes.Table) bool) error {
	if a.opts.Store == nil {
		return errReadOnly
	}
	a.changing.Lock()
	defer a.changing.Unlock()
	out := Removed{Name: key.Name, Where: a.where(r.Context(), key)}
	var err error
	if out.Left, err = left(); err != nil {
		return err
	}
	switch err := a.opts.Store.Delete(r.Context(), key); {
	case errors.Is(err, routes.ErrNotFound) && a.opts.Held(key):
		return a.alreadyLost(key)
	case errors.Is(err, routes.ErrNotFound):
		return &apiError{http.StatusNotFound, "there is no " + key.String(), nil}
	case err != nil:
		return fmt.Errorf("remove %s: %w", key, err)
	}
	out.Applied = a.await(r.Context(), done)
	a.log.Info("document removed", "document", key.String(), "where", out.Where, "applied", out.Applied, "left", len(out.Left))
	return writeJSON(w, http.StatusOK, out)
}

// await waits until done says that the table is as wanted, at most applyWait.
func (a *API) await(ctx context.Context, done func(*routes.Table) bool) bool {
	deadline := time.NewTimer(applyWait)
	defer deadline.Stop()
	tick := time.NewTicker(applyPoll)
	defer tick.Stop()
	for {
		if done(a.opts.Table()) {
			return true
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

var errReadOnly = &apiError{http.StatusNotImplemented, "the routes of this node cannot be changed through it", nil}

// readDocument reads a document's JSON; routes.ParseJSON judges it.
func readDocument(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	var raw json.RawMessage
	if err := readJSON(w, r, maxDocument, &raw); err != nil {
		return nil, err
	}
	return raw, nil
}

// refused says what is wrong with a document that a client sent; anew: there is none in its place. The
// positions go: the client's text is not what a person wrote.
func refused(key routes.Key, problems routes.Problems, anew bool) error {
	left := " is not changed: "
	if anew {
		left = " is not added: "
	}
	out := unplaced(problems)
	return &apiError{http.StatusUnprocessableEntity, key.String() + left + out[0].Error(), out}
}

func unplaced(problems routes.Problems) routes.Problems {
	out := make(routes.Problems, len(problems))
	for i, p := range problems {
		out[i] = &routes.Problem{Field: p.Field, Reason: p.Reason, Guess: p.Guess}
	}
	return out
}

// broken refuses to patch a document whose present form is bad: the patch would
// put the last good form in place of what somebody is working on.
func broken(key routes.Key, problems routes.Problems) error {
	return &apiError{http.StatusConflict, key.String() + " is broken, mend it first where it stands (a single value cannot be set in it): " + problems[0].Error(), problems}
}

// mend patches a document whose present form is bad, of which the store has a draft. What is still wrong then is
// refused: nothing of what somebody is working on may go, or act in part.
func (p *Patch) mend(key routes.Key, present *routes.Change, kind reflect.Type) ([]byte, error) {
	raw, err := p.applyJSON([]byte(present.Draft), kind)
	if err != nil {
		return nil, err
	}
	doc := routes.ParseJSON(key, "", raw)
	if len(doc.Problems) == 0 && doc.Vhost != nil {
		doc.Problems = doc.Vhost.Check("")
	}
	if len(doc.Problems) > 0 {
		out := unplaced(doc.Problems)
		return nil, &apiError{http.StatusConflict, key.String() + " is broken, and this does not mend it: set what is wrong in the same call, or mend it where it stands: " + out[0].Error(), out}
	}
	return raw, nil
}

func exists(key routes.Key, where string) error {
	reason := key.String() + " is there already"
	if where != "" {
		reason += " (" + where + ")"
	}
	return &apiError{http.StatusPreconditionFailed, reason, nil}
}

// sameJSON reports whether two documents say the same.
func sameJSON(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}
