package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/admin"
	"gatehouse/routes"
)

// clientTimeout is longer than a node waits for a change to act.
const clientTimeout = 10 * time.Second

func newVhostCommand(s *session) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "vhost",
		Short: "List, show and change the vhosts of a running node",
		Long: `List, show and change the vhosts of a running node.

Changes go to where the routes stand, the file that holds the document or the Redis
key, and act within 2 s; the verb waits for that.`,
	}
	s.addNodeFlags(cmd)
	return group(cmd, newVhostList(s), newVhostShow(s), newVhostAdd(s), newVhostSet(s), newVhostRemove(s))
}

func newVhostShow(s *session) *cobra.Command {
	var inForce bool
	cmd := &cobra.Command{
		Use: "show NAME", Short: "Print the document of a vhost and where it stands",
		Example: "  gatehouse vhost show www.shop.test\n  gatehouse vhost show www.shop.test --effective",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: s.completeVhost,
	}
	cmd.Flags().BoolVar(&inForce, "effective", false, "print what is in force, and whether the vhost, its tenant or a default says so")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var v admin.VhostDetail
		if err := s.ask(cmd.Context(), http.MethodGet, vhostPath(args[0]), nil, &v); err != nil {
			return err
		}
		switch {
		case s.json():
			return s.printJSON(v)
		case inForce:
			rows := make([][]string, 0, len(v.Effective))
			for _, e := range v.Effective {
				rows = append(rows, []string{e.Path, e.Value, e.From})
			}
			return s.printTable([]string{"SETTING", "VALUE", "FROM"}, rows)
		}
		return s.printDocument("vhosts", v.Name, v.Where, v.Document, v.Problems, v.Status == admin.StatusBroken)
	}
	return cmd
}

func newVhostAdd(s *session) *cobra.Command {
	var tenant, waf, cache, redirect string
	var aliases []string
	var strip bool
	cmd := &cobra.Command{
		Use: "add HOST[/PATH] (URL… | --redirect URL)", Short: "Add a vhost with its backends",
		Example: "  gatehouse vhost add www.shop.test http://127.0.0.1:9000 --tenant shop --alias shop.test --waf block --cache 60s\n" +
			"  gatehouse vhost add www.shop.test/api http://127.0.0.1:9001 --tenant shop --strip\n" +
			"  gatehouse vhost add old.test --redirect https://www.shop.test",
		Args: cobra.MinimumNArgs(1), ValidArgsFunction: cobra.NoFileCompletions,
	}
	f := cmd.Flags()
	f.StringVar(&tenant, "tenant", "", "`ID` of the tenant")
	f.StringVar(&waf, "waf", "", "WAF `mode`: off, detect or block")
	f.StringVar(&cache, "cache", "", "turn the cache on; answers that state no freshness have this `TTL`")
	f.StringSliceVar(&aliases, "alias", nil, "further `host` names (may be repeated)")
	f.BoolVar(&strip, "strip", false, "take the path of HOST/PATH off towards the backends")
	f.StringVar(&redirect, "redirect", "", "send all requests to this `URL`, in the place of backends")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if f.Changed("redirect") == (len(args) > 1) {
			return usagef("give URLs of backends, or --redirect URL")
		}
		document := map[string]any{"backends": args[1:]}
		if f.Changed("redirect") {
			if !strings.Contains(redirect, "://") {
				return usagef("--redirect %q: want a URL, such as https://%s", redirect, cmp.Or(strings.TrimLeft(redirect, "/"), "www.shop.test"))
			}
			document = map[string]any{"redirect": map[string]any{"to": redirect}}
		}
		if strip {
			document["strip"] = true
		}
		if tenant != "" {
			document["tenant"] = tenant
		}
		if len(aliases) > 0 {
			document["aliases"] = aliases
		}
		if waf != "" {
			document["waf"] = map[string]any{"mode": waf}
		}
		if cache != "" {
			document["cache"] = map[string]any{"enabled": true, "ttl": cache}
		}
		var v admin.VhostDetail
		// Never in place of another document: that is what set is for.
		err := s.ask(cmd.Context(), http.MethodPut, vhostPath(args[0]), document, &v, "If-None-Match", "*")
		if err != nil {
			return err
		}
		return errors.Join(s.printChange(v, "vhost "+v.Name, "added", v.Where, v.Applied), s.warnOf("vhost "+v.Name, v.Status, v.Problems))
	}
	return cmd
}

func newVhostSet(s *session) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "set NAME PATH=VALUE…", Short: "Change fields of a vhost; PATH= unsets one",
		Example: "  gatehouse vhost set www.shop.test waf.mode=block cache.enabled=true cache.ttl=60s\n" +
			"  gatehouse vhost set www.shop.test backends=http://10.0.0.1:9000,http://10.0.0.2:9000 aliases=\n" +
			`  gatehouse vhost set www.shop.test headers.response='{"set": {"X-Frame-Options": "DENY"}}'`,
		Args: cobra.MinimumNArgs(2), ValidArgsFunction: s.completeSet(s.completeVhost, reflect.TypeFor[routes.Vhost]()),
		RunE: func(cmd *cobra.Command, args []string) error {
			patch, err := patchOf(args[1:])
			if err != nil {
				return err
			}
			var v admin.VhostDetail
			if err := s.ask(cmd.Context(), http.MethodPatch, vhostPath(args[0])+orYes(yes), patch, &v); err != nil {
				return err
			}
			_, opens := patch.Set["suspended"]
			return errors.Join(s.printChange(v, "vhost "+v.Name, "changed"+restored(v.Restored), v.Where, v.Applied), s.warnOf("vhost "+v.Name, v.Status, v.Problems), s.warnOfLeft(v.Name, v.Left),
				s.warnOfSuspension(v.VhostSummary, opens))
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "also if another tenant takes path vhosts of it out of service")
	return cmd
}

func newVhostRemove(s *session) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "rm NAME", Short: "Remove a vhost", Aliases: []string{"remove"},
		Example: "  gatehouse vhost rm www.shop.test",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: s.completeVhost,
		RunE: func(cmd *cobra.Command, args []string) error {
			var r admin.Removed
			if err := s.ask(cmd.Context(), http.MethodDelete, vhostPath(args[0])+orYes(yes), nil, &r); err != nil {
				return err
			}
			return errors.Join(s.printChange(r, "vhost "+r.Name, "removed", r.Where, &r.Applied), s.warnOfLeft(r.Name, r.Left))
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "also if path vhosts of it are out of service then")
	return cmd
}

// orYes is what a request says that may take path vhosts out of service.
func orYes(yes bool) string {
	if yes {
		return "?yes=true"
	}
	return ""
}

// restored says that a change has brought back what was lost.
func restored(was bool) string {
	if was {
		return ", and written back whole: its source had lost it"
	}
	return ""
}

// warnOfLeft says which path vhosts a change has taken out of service.
func (s *session) warnOfLeft(name string, left []string) error {
	if len(left) == 0 {
		return nil
	}
	_, err := fmt.Fprintf(s.Err, "warning: vhost %s: path vhosts that answer for no request any more: %s\n", name, admin.Some(left))
	return err
}

// warnOfSuspension says who else keeps a vhost closed whose own suspension was changed.
func (s *session) warnOfSuspension(v admin.VhostSummary, changed bool) error {
	if !changed || v.Status != admin.StatusSuspended || v.Reason == "" {
		return nil
	}
	_, err := fmt.Fprintf(s.Err, "warning: vhost %s: suspended %s\n", v.Name, v.Reason)
	return err
}

func vhostPath(name string) string { return "/vhosts/" + url.PathEscape(name) }

// ask sends one request to the node.
func (s *session) ask(ctx context.Context, method, path string, in, out any, header ...string) error {
	c, err := s.newClient(clientTimeout)
	if err != nil {
		return err
	}
	return c.do(ctx, method, path, in, out, header...)
}

// patchOf reads PATH=VALUE arguments.
func patchOf(args []string) (admin.Patch, error) {
	patch := admin.Patch{Set: map[string]any{}}
	for _, arg := range args {
		path, value, ok := strings.Cut(arg, "=")
		switch _, twice := patch.Set[path]; {
		case !ok || path == "":
			return patch, usagef("bad argument %q: want PATH=VALUE, such as waf.mode=block", arg)
		case twice:
			return patch, usagef("%s is given twice", path)
		case value == "":
			patch.Set[path] = nil
		default:
			patch.Set[path] = value
		}
	}
	return patch, nil
}

// warnOf says on the error output what is wrong with a document that was changed
// all the same: an alias of another's, certificate files that cannot be used,
// exclusions without effect.
func (s *session) warnOf(what, status string, problems routes.Problems) error {
	if status == admin.StatusOK {
		return nil
	}
	for _, p := range problems {
		if _, err := fmt.Fprintf(s.Err, "warning: %s: %s\n", what, printable(p.Error())); err != nil {
			return err
		}
	}
	return nil
}

// printChange says what was done to a document, "vhost NAME" or "tenant NAME", and whether it acts.
func (s *session) printChange(answer any, document, done, where string, applied *bool) error {
	if s.json() {
		return s.printJSON(answer)
	}
	what := document + " " + done
	if where != "" {
		what += " (" + where + ")"
	}
	if applied != nil && !*applied {
		what += "; it is written, but the node has not taken it up yet: see gatehouse " + strings.Replace(document, " ", " show ", 1)
	}
	_, err := fmt.Fprintln(s.Out, what)
	return err
}
