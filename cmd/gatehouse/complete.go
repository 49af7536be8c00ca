package main

import (
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/admin"
)

// completionTimeout bounds how long a Tab may hang on a node that does not answer.
const completionTimeout = time.Second

type completer func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// completeVhost offers the names of the node's vhosts for the first argument.
func (s *session) completeVhost(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var list admin.VhostList
	var names []string
	if len(args) == 0 && s.askForCompletion(cmd, "/vhosts", &list) {
		for _, v := range list.Vhosts {
			names = append(names, v.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeTenant offers the names of the node's tenants for the first argument.
func (s *session) completeTenant(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var list admin.TenantList
	var names []string
	if len(args) == 0 && s.askForCompletion(cmd, "/tenants", &list) {
		for _, t := range list.Tenants {
			names = append(names, t.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeSet offers names for the first argument and the paths of a document's
// fields for those after it.
func (s *session) completeSet(names completer, document reflect.Type) completer {
	return func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return names(cmd, args, word)
		}
		var paths []string
		for _, field := range settingsOf(document, "") {
			if !field.later() {
				paths = append(paths, field.path+"=")
			}
		}
		return paths, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
}

// askForCompletion asks the node; false: there is nothing to offer, and nobody to
// tell why.
func (s *session) askForCompletion(cmd *cobra.Command, path string, out any) bool {
	c, err := s.newClient(completionTimeout)
	if err != nil {
		return false
	}
	return c.do(cmd.Context(), http.MethodGet, path, nil, out) == nil
}

// hosts are the names and aliases of the node's vhosts.
func (s *session) hosts(cmd *cobra.Command) (names []string) {
	var list admin.VhostList
	if s.askForCompletion(cmd, "/vhosts", &list) {
		for _, v := range list.Vhosts {
			names = append(append(names, v.Name), v.Aliases...)
		}
	}
	return names
}

// completeHost offers the node's hosts as the value of a flag.
func (s *session) completeHost(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return s.hosts(cmd), cobra.ShellCompDirectiveNoFileComp
}

// completeHosts offers the node's hosts for each argument.
func (s *session) completeHosts(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return s.hosts(cmd), cobra.ShellCompDirectiveNoFileComp
}

// completeURL offers the beginnings of URLs of the node's hosts, but for wildcards.
func (s *session) completeURL(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	var urls []string
	for _, host := range s.hosts(cmd) {
		if !strings.HasPrefix(host, "*") {
			urls = append(urls, "https://"+host+"/")
		}
	}
	return urls, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}
