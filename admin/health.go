package admin

import (
	"fmt"
	"net/http"
)

// Readiness is the answer of /readyz and /health.
type Readiness struct {
	Ready bool   `json:"ready"`
	Node  string `json:"node,omitempty"`
	// Reasons why the node should get no traffic.
	Reasons []string `json:"reasons,omitempty"`
	// Warnings do not keep it from serving: a source that is away, documents that are held, a WAF that
	// runs more rules than it would have to.
	Warnings []string `json:"warnings,omitempty"`
}

// alive says that the process answers, nothing more: a node that waits for its
// routes must not be killed for that.
func (a *API) alive(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, map[string]bool{"alive": true})
}

func (a *API) ready(w http.ResponseWriter, _ *http.Request) error {
	out := Readiness{Node: a.opts.Node, Reasons: a.opts.NotReady(), Warnings: a.warnings()}
	out.Ready = len(out.Reasons) == 0
	status := http.StatusOK
	if !out.Ready {
		status = http.StatusServiceUnavailable
	}
	return writeJSON(w, status, out)
}

func (a *API) warnings() []string {
	var out []string
	status := a.opts.Status()
	if status.Up != nil {
		out = append(out, fmt.Sprintf("routes are not being followed: %v", status.Up))
	}
	if status.Held > 0 {
		out = append(out, fmt.Sprintf("%d documents are gone from the source and held: accept with %s", status.Held, acceptLoss(status.AcceptLoss)))
	}
	if a.opts.Ruleset != nil {
		if problem := a.opts.Ruleset.Gate().Problem; problem != "" {
			out = append(out, "waf: "+problem)
		}
	}
	if a.opts.Warnings != nil {
		out = append(out, a.opts.Warnings()...)
	}
	for _, p := range status.Problems {
		out = append(out, p.Error())
	}
	return out
}
