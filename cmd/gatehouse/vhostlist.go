package main

import (
	"cmp"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"gatehouse/admin"
	"gatehouse/routes"
)

func newVhostList(s *session) *cobra.Command {
	return &cobra.Command{
		Use: "list [NAME…]", Short: "List all vhosts, or those of these names", Aliases: []string{"ls"},
		Long: `List all vhosts, or those of these names: * stands for any text, an alias for its vhost, and
a host for its path vhosts too. gatehouse vhost show HOST says which one answers for HOST.`,
		Example:           "  gatehouse vhost list -o json\n  gatehouse vhost list www.shop.test '*.blog.test'",
		ValidArgsFunction: s.completeVhost,
		RunE: func(cmd *cobra.Command, names []string) error {
			var list admin.VhostList
			if err := s.ask(cmd.Context(), http.MethodGet, "/vhosts", nil, &list); err != nil {
				return err
			}
			if err := onlyNamed(&list, names); err != nil {
				return err
			}
			if s.json() {
				return s.printJSON(list)
			}
			rows := make([][]string, 0, len(list.Vhosts))
			for _, v := range list.Vhosts {
				rows = append(rows, []string{
					v.Name, dash(strings.Join(v.Aliases, " ")), dash(v.Tenant), dash(cmp.Or(v.Answer, strings.Join(v.Backends, " "))),
					dash(v.WAF), onOff(v.Cache), statusCell(v.Status, v.Reason),
				})
			}
			return s.printTable([]string{"NAME", "ALIASES", "TENANT", "BACKENDS", "WAF", "CACHE", "STATUS"}, rows)
		},
	}
}

// onlyNamed leaves the vhosts of these names in the list; no names: all. One that is no vhost's is an error.
func onlyNamed(list *admin.VhostList, names []string) error {
	if len(names) == 0 {
		return nil
	}
	found := make([]bool, len(names))
	list.Vhosts = slices.DeleteFunc(list.Vhosts, func(v admin.VhostSummary) bool {
		wanted := false
		for i, name := range names {
			if isNamed(&v, name) {
				found[i], wanted = true, true
			}
		}
		return !wanted
	})
	if i := slices.Index(found, false); i >= 0 {
		return fmt.Errorf("there is no vhost %s: gatehouse vhost show %[1]s says which one answers for that host", names[i])
	}
	return nil
}

// slashless has * stand for slashes, too.
var slashless = strings.NewReplacer("/", "\x00")

func isNamed(v *admin.VhostSummary, name string) bool {
	if canonical, err := routes.CanonicalVhost(name); err == nil {
		name = canonical
	}
	host, _ := routes.SplitName(v.Name)
	return slices.ContainsFunc(slices.Concat(v.Aliases, []string{v.Name, host}), func(own string) bool {
		matches, err := path.Match(slashless.Replace(name), slashless.Replace(own))
		return own == name || matches && err == nil
	})
}
