package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/admin"
)

func newBackendCommand(s *session) *cobra.Command {
	cmd := &cobra.Command{Use: "backend", Short: "List backends and how they are; take them out of service and back"}
	s.addNodeFlags(cmd)
	return group(cmd, newBackendList(s), newBackendDrain(s), newBackendUndrain(s))
}

func newBackendList(s *session) *cobra.Command {
	return &cobra.Command{
		Use: "list [HOST]", Short: "List the backends of all vhosts, or of the one that answers for HOST",
		Long: `List the backends of all vhosts, or of the one that answers for HOST: one line for each URL
and tenant.

CONFIGURED is which vhosts name it; ADMIN whether it is drained; HEALTH what this node knows
of it: up, failing (the last answers were failures), ejected (passed over for that, for a
while), each with the last failure, or down (by active checks). IN FLIGHT is requests under way
at it on this node, WebSockets among them; WAITING those that wait since it has as many as its
concurrency allows. Of drained ones both are in IN FLIGHT, those of all nodes that share a Redis.`,
		Example: "  gatehouse backend list\n  gatehouse backend list www.shop.test -o json",
		Args:    cobra.MaximumNArgs(1), ValidArgsFunction: s.completeVhost,
		RunE: func(cmd *cobra.Command, args []string) error {
			var list admin.BackendList
			if err := s.ask(cmd.Context(), http.MethodGet, ofHost("/backends", args), nil, &list); err != nil {
				return err
			}
			if s.json() {
				return s.printJSON(list)
			}
			return s.printBackends(&list)
		},
	}
}

func (s *session) printBackends(list *admin.BackendList) error {
	rows := make([][]string, 0, len(list.Backends))
	for i := range list.Backends {
		b := &list.Backends[i]
		configured := strings.Join(b.Vhosts, ", ")
		switch {
		case len(b.Vhosts) == 0:
			configured = "no"
		case len(b.Vhosts) > 3:
			configured = fmt.Sprintf("%s and %d more vhosts", b.Vhosts[0], len(b.Vhosts)-1)
		}
		state, health := b.Admin, b.Health
		if b.Since != nil {
			state += " " + b.Since.UTC().Format("2006-01-02 15:04 UTC")
			if b.By != "" {
				state += " by " + b.By
			}
		}
		if b.Detail != "" {
			health += " (" + b.Detail + ")"
		}
		rows = append(rows, []string{b.URL, dash(b.Tenant), configured, state, health, strconv.FormatInt(b.InFlight, 10), strconv.FormatInt(b.Waiting, 10)})
	}
	if list.Problem != "" {
		fmt.Fprintf(s.Err, "gatehouse: %s\n", printable(list.Problem))
	}
	return s.printTable([]string{"BACKEND", "TENANT", "CONFIGURED", "ADMIN", "HEALTH", "IN FLIGHT", "WAITING"}, rows)
}

func newBackendDrain(s *session) *cobra.Command {
	var r admin.DrainRequest
	var wait time.Duration
	cmd := &cobra.Command{
		Use: "drain URL", Short: "Have a backend get no new requests, on all nodes",
		Long: `Have a backend get no new requests, on this node and on all that share its Redis, within a
second. What is under way goes on; clients with a sticky cookie go elsewhere. It stays
drained, over restarts too, until gatehouse backend undrain.

With --wait, print how many requests are under way until there are none.

Exit 1: a vhost would have no backend left (--yes drains it all the same), a node did not
act in time, or requests were under way when the time was over.`,
		Example: "  gatehouse backend drain http://10.0.0.1:9000 --wait 60s\n  gatehouse backend drain http://10.0.0.1:9000 --tenant shop",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: s.completeBackend,
		RunE: func(cmd *cobra.Command, args []string) error {
			if wait < 0 {
				return usagef("--wait %v: want a time such as 60s", wait)
			}
			return s.setDrained(cmd, args[0], &r, "drain", wait)
		},
	}
	s.addDrainFlags(cmd, &r)
	cmd.Flags().DurationVar(&wait, "wait", 0, "longest wait for requests that are under way; 0s: none")
	cmd.Flags().BoolVar(&r.Yes, "yes", false, "also if a vhost has no other backend: it answers 503 then")
	return cmd
}

func newBackendUndrain(s *session) *cobra.Command {
	var r admin.DrainRequest
	cmd := &cobra.Command{
		Use: "undrain URL", Short: "Have a drained backend get requests again, on all nodes",
		Long: `Have a drained backend get requests again. What was drained for one tenant is undrained for
that tenant (--tenant).`,
		Example: "  gatehouse backend undrain http://10.0.0.1:9000",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: s.completeBackend,
		RunE: func(cmd *cobra.Command, args []string) error { return s.setDrained(cmd, args[0], &r, "undrain", 0) },
	}
	s.addDrainFlags(cmd, &r)
	return cmd
}

func (s *session) addDrainFlags(cmd *cobra.Command, r *admin.DrainRequest) {
	cmd.Flags().StringVar(&r.Tenant, "tenant", "", "only as this `tenant`'s backend (default: everybody's)")
	if err := cmd.RegisterFlagCompletionFunc("tenant", s.completeTenant); err != nil {
		panic(err) // the flag was added one line above
	}
}

// completeBackend offers the URLs of the node's backends.
func (s *session) completeBackend(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var list admin.BackendList
	var urls []string
	if len(args) == 0 && s.askForCompletion(cmd, "/backends", &list) {
		for _, b := range list.Backends {
			urls = append(urls, b.URL)
		}
	}
	return slices.Compact(urls), cobra.ShellCompDirectiveNoFileComp
}

// setDrained drains a backend or ends that, and says what came of it.
func (s *session) setDrained(cmd *cobra.Command, backend string, r *admin.DrainRequest, verb string, wait time.Duration) error {
	if err := refuseBlank(cmd, nil, "tenant"); err != nil {
		return err
	}
	r.URL, r.By = backend, caller(s.Environ)
	c, err := s.newClient(clientTimeout)
	if err != nil {
		return err
	}
	var out admin.DrainResult
	if err := c.do(cmd.Context(), http.MethodPost, "/backends/"+verb, r, &out); err != nil {
		return err
	}
	left := int64(0)
	if wait > 0 {
		if left, err = s.awaitDrained(cmd.Context(), c, &out, wait); err != nil {
			return err
		}
	}
	if s.json() {
		err = s.printJSON(struct {
			admin.DrainResult
			Left *int64 `json:"in_flight,omitempty"`
		}{out, map[bool]*int64{true: &left}[wait > 0]})
	} else {
		s.printDrained(&out, left, wait)
	}
	if err == nil && (len(out.Behind) > 0 || out.Problem != "" || left > 0) {
		return errFailed
	}
	return err
}

func (s *session) printDrained(out *admin.DrainResult, left int64, wait time.Duration) {
	what := printable(out.URL) + ofTenant(out.Tenant)
	switch {
	case !out.Drained:
		fmt.Fprintf(s.Out, "%s gets requests again\n", what)
	case left > 0:
		fmt.Fprintf(s.Out, "%s is drained; after %v, %d requests are still under way\n", what, wait, left)
	case wait > 0 && out.Problem == "":
		fmt.Fprintf(s.Out, "%s is drained, and nothing is under way\n", what)
	default:
		fmt.Fprintf(s.Out, "%s is drained\n", what)
	}
	for _, node := range out.Behind {
		fmt.Fprintf(s.Err, "gatehouse: %s does not act by it yet: it may go on sending requests there (one that was killed, or that Redis does not hear, counts for two minutes)\n", printable(node))
	}
	if out.Problem != "" {
		fmt.Fprintf(s.Err, "gatehouse: %s\n", printable(out.Problem))
	}
}

// drainPoll is how often a drain is looked at: as often as nodes report.
const drainPoll = 500 * time.Millisecond

// awaitDrained prints how many requests are under way whenever that changes, until there are none, and returns how many are left. It
// believes none only when it is told so twice: what was chosen just before the drain may not have been counted yet. What is not known in the end is
// d's Problem.
func (s *session) awaitDrained(ctx context.Context, c *client, d *admin.DrainResult, wait time.Duration) (left int64, err error) {
	deadline := time.Now().Add(wait)
	path := "/backends/drained?url=" + url.QueryEscape(d.URL) + "&tenant=" + url.QueryEscape(d.Tenant)
	for last, none := int64(-1), 0; ; {
		var now admin.UnderWay
		if err := c.do(ctx, http.MethodGet, path, nil, &now); err != nil {
			return 0, err
		}
		left = 0
		for _, n := range now.Nodes {
			left += n
		}
		if left != last && !s.json() {
			fmt.Fprintf(s.Out, "%s: %d under way%s\n", printable(d.URL), left, byNode(now.Nodes))
		}
		if last = left; left > 0 || now.Problem != "" {
			none = 0
		} else if none++; none == 2 {
			return 0, nil
		}
		if time.Now().After(deadline) {
			d.Problem = cmp.Or(now.Problem, d.Problem)
			return left, nil
		}
		select {
		case <-ctx.Done():
			return left, ctx.Err()
		case <-time.After(drainPoll):
		}
	}
}

// byNode says how many are under way on each node, where there are several.
func byNode(nodes map[string]int64) string {
	if len(nodes) < 2 {
		return ""
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(nodes)) {
		parts = append(parts, fmt.Sprintf("%s %d", printable(name), nodes[name]))
	}
	return " (" + strings.Join(parts, ", ") + ")"
}
