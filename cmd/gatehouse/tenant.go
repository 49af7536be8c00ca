package main

import (
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"strconv"

	"github.com/spf13/cobra"

	"gatehouse/admin"
	"gatehouse/routes"
)

func newTenantCommand(s *session) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tenant",
		Short: "List, show and change the tenants of a running node",
		Long: `List, show and change the tenants of a running node.

What a tenant's document says holds for all its vhosts, where they say nothing else.`,
	}
	s.addNodeFlags(cmd)
	return group(cmd, newTenantList(s), newTenantShow(s), newTenantSet(s))
}

func newTenantList(s *session) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List all tenants", Aliases: []string{"ls"},
		Example: "  gatehouse tenant list -o json", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var list admin.TenantList
			if err := s.ask(cmd.Context(), http.MethodGet, "/tenants", nil, &list); err != nil {
				return err
			}
			if s.json() {
				return s.printJSON(list)
			}
			rows := make([][]string, 0, len(list.Tenants))
			for _, t := range list.Tenants {
				place := t.Where
				if !t.HasDocument && place == "" {
					place = "no document: defaults"
				}
				rows = append(rows, []string{t.Name, strconv.Itoa(t.Vhosts), t.WAF, dash(place), statusCell(t.Status, t.Reason)})
			}
			return s.printTable([]string{"NAME", "VHOSTS", "WAF", "WHERE", "STATUS"}, rows)
		},
	}
}

func newTenantShow(s *session) *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Print the document of a tenant and where it stands",
		Example: "  gatehouse tenant show shop",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: s.completeTenant,
		RunE: func(cmd *cobra.Command, args []string) error {
			var t admin.TenantDetail
			if err := s.ask(cmd.Context(), http.MethodGet, tenantPath(args[0]), nil, &t); err != nil {
				return err
			}
			if s.json() {
				return s.printJSON(t)
			}
			return s.printDocument("tenants", t.Name, t.Where, t.Document, t.Problems, t.Status == admin.StatusBroken)
		},
	}
}

func newTenantSet(s *session) *cobra.Command {
	return &cobra.Command{
		Use: "set NAME PATH=VALUE…", Short: "Change fields of a tenant; PATH= unsets one; a new name makes a tenant",
		Example: "  gatehouse tenant set shop waf.mode=block waf.paranoia=2",
		Args:    cobra.MinimumNArgs(2), ValidArgsFunction: s.completeSet(s.completeTenant, reflect.TypeFor[routes.Tenant]()),
		RunE: func(cmd *cobra.Command, args []string) error {
			patch, err := patchOf(args[1:])
			if err != nil {
				return err
			}
			var t admin.TenantDetail
			if err := s.ask(cmd.Context(), http.MethodPatch, tenantPath(args[0]), patch, &t); err != nil {
				return err
			}
			return errors.Join(s.printChange(t, "tenant "+t.Name, "changed"+restored(t.Restored), t.Where, t.Applied), s.warnOf("tenant "+t.Name, t.Status, t.Problems))
		},
	}
}

func tenantPath(name string) string { return "/tenants/" + url.PathEscape(name) }
