package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
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
}

// store writes the document and waits until requests are answered by it. The
// caller holds a.changing.
func (a *API) store(ctx context.Context, doc routes.Document, done func(*routes.Table) bool) (applied bool, err error) {
	if a.opts.Store == nil {
		return false, errReadOnly
	}
	if err := a.opts.Store.Put(ctx, doc); err != nil {
		return false, fmt.Errorf("write %s: %w", doc.Key, err)
	}
	applied = a.await(ctx, done)
	a.log.Info("document written", "document", doc.Key.String(), "where", a.where(doc.Key), "applied", applied)
	return applied, nil
}

func (a *API) remove(w http.ResponseWriter, r *http.Request, key routes.Key, done func(*routes.Table) bool) error {
	if a.opts.Store == nil {
		return errReadOnly
	}
	a.changing.Lock()
	defer a.changing.Unlock()
	out := Removed{Name: key.Name, Where: a.where(key)}
	switch err := a.opts.Store.Delete(r.Context(), key); {
	case errors.Is(err, routes.ErrNotFound):
		return &apiError{http.StatusNotFound, "there is no " + key.String(), nil}
	case err != nil:
		return fmt.Errorf("remove %s: %w", key, err)
	}
	out.Applied = a.await(r.Context(), done)
	a.log.Info("document removed", "document", key.String(), "where", out.Where, "applied", out.Applied)
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

// refused says what is wrong with a document that a client sent. The positions
// go: the client's text is not what a person wrote.
func refused(key routes.Key, problems routes.Problems) error {
	out := make(routes.Problems, len(problems))
	for i, p := range problems {
		out[i] = &routes.Problem{Field: p.Field, Reason: p.Reason, Guess: p.Guess}
	}
	return &apiError{http.StatusUnprocessableEntity, key.String() + " is not changed: " + out[0].Error(), out}
}

// broken refuses to patch a document whose present form is bad: the patch would
// put the last good form in place of what somebody is working on.
func broken(key routes.Key, problems routes.Problems) error {
	return &apiError{http.StatusConflict, key.String() + " is broken, mend it first where it stands (a single value cannot be set in it): " + problems[0].Error(), problems}
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
