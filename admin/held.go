package admin

import (
	"context"
	"net/http"

	"gatehouse/routes"
)

// heldReason says of a document why it is served though its source has it no more.
const heldReason = "its source has lost it, which is not believed: the last good form is served"

// heldProblem is what is to be said of a document that is held; nil: it is not.
func (a *API) heldProblem(key routes.Key) routes.Problems {
	if !a.opts.Held(key) {
		return nil
	}
	return routes.Problems{{Reason: heldReason + " (a change by set writes it back)"}}
}

// placeOf is where a document stands, or that it stands nowhere any more.
func (a *API) placeOf(ctx context.Context, key routes.Key) string {
	if a.opts.Held(key) {
		return heldReason + "; a change by set writes it back"
	}
	return a.where(ctx, key)
}

// restore has a change begin with what is served where the source has lost the document, so that it is written back whole.
func (a *API) restore(key routes.Key, present *routes.Change) {
	if key.Kind == routes.KindTenant {
		present.Tenant, _, _ = a.opts.Table().Tenant(key.Name)
	} else if route := a.opts.Table().Vhost(key.Name); route != nil {
		present.Vhost = route.Vhost
	}
}

// alreadyLost refuses to remove what is not there to be removed.
func (a *API) alreadyLost(key routes.Key) error {
	return &apiError{http.StatusConflict, key.String() + " is not removed: " + heldReason + "; to have what is lost removed: " + acceptLoss(a.opts.Status().AcceptLoss), nil}
}

// acceptLoss is how an operator says that what is gone is really gone.
func acceptLoss(key string) string {
	if key == "" { // a folder
		return "a restart, or put them back"
	}
	return "SET " + key + " 1"
}
