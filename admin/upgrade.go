package admin

import (
	"context"
	"net/http"
)

// Upgraded is the answer of POST /upgrade.
type Upgraded struct {
	OldPID     int     `json:"old_pid"` // drains now, and ends
	NewPID     int     `json:"new_pid"` // serves
	OldVersion string  `json:"old_version"`
	NewVersion string  `json:"new_version"`
	Seconds    float64 `json:"seconds"` // from the start of the new process until it served
}

// upgrade answers 409 with the reason when the node goes on as it is. A client that
// leaves does not stop it.
func (a *API) upgrade(w http.ResponseWriter, r *http.Request) error {
	if a.opts.Upgrade == nil {
		return &apiError{http.StatusNotImplemented, "this node cannot be upgraded", nil}
	}
	done, err := a.opts.Upgrade(context.WithoutCancel(r.Context()))
	if err != nil {
		return &apiError{http.StatusConflict, err.Error(), nil}
	}
	return writeJSON(w, http.StatusOK, done)
}
