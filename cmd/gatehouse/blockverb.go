package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"gatehouse/admin"
	"gatehouse/routes"
)

func newBlockCommand(s *session) *cobra.Command {
	cmd := &cobra.Command{Use: "block", Short: "Keep networks out for a while, on all nodes, and see which are"}
	s.addNodeFlags(cmd)
	return group(cmd, newBlockAdd(s), newBlockRemove(s), newBlockList(s))
}

func newBlockAdd(s *session) *cobra.Command {
	var lasts string
	var yes bool
	var in admin.BlockRequest
	cmd := &cobra.Command{
		Use: "add CIDR", Short: "Refuse the requests of a network with 403, from now on",
		Long: `Refuse the requests of a network or an address with 403, on this node at once and on all that
share its Redis within a second, also on connections that are open; WebSockets are cut. With --for
it ends by itself; without, by block rm. A block of the same network and tenant is replaced.

Addresses in addresses.allow, of the process or of a vhost or its tenant, are never blocked there.

A network that has your own address (SSH_CONNECTION or SSH_CLIENT, or over TCP the one that the node
sees), an address of trusted_proxies, or everybody in it, is asked about first. Where nobody can be
asked, nothing is blocked, and the exit code is 2; --yes blocks it all the same.`,
		Example: "  gatehouse block add 203.0.113.0/24 --for 2h --note 'scraper, ticket 17'\n" +
			"  gatehouse block add 2001:db8::/32 --tenant shop",
		Args: cobra.ExactArgs(1), ValidArgsFunction: cobra.NoFileCompletions,
	}
	f := cmd.Flags()
	f.StringVar(&lasts, "for", "", "end it after this `time`, such as 2h or 7d (default: it ends by block rm)")
	f.StringVar(&in.Tenant, "tenant", "", "only for the vhosts of this `tenant`")
	f.StringVar(&in.Note, "note", "", "`text` that says why, for block list")
	f.BoolVar(&yes, "yes", false, "ask nothing")
	s.completeTenantFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := refuseBlank(cmd, args, "for", "tenant", "note"); err != nil {
			return err
		}
		if _, err := routes.ParseNetwork(args[0]); err != nil {
			return usagef("%w", err)
		}
		if lasts != "" {
			d, err := spanOf("for", lasts)
			if err != nil {
				return err
			}
			in.For = d
		}
		in.Network, in.By, in.Callers, in.Confirmed = args[0], caller(s.Environ), sshCallers(s.Environ, "/proc"), yes
		return s.addBlock(cmd.Context(), &in)
	}
	return cmd
}

// addBlock blocks a network, and asks first if the node has doubts.
func (s *session) addBlock(ctx context.Context, in *admin.BlockRequest) error {
	c, err := s.newClient(clientTimeout)
	if err != nil {
		return err
	}
	var out admin.BlockResult
	err = c.do(ctx, http.MethodPost, "/blocks", in, &out)
	if doubt, is := errors.AsType[*nodeError](err); is && doubt.status == http.StatusConflict {
		agreed, asked := s.confirm(doubt.Failure.Error)
		switch {
		case !asked:
			return usagef("%s (this is no terminal, so nobody can be asked: add --yes if you mean it)", doubt.Failure.Error)
		case !agreed:
			fmt.Fprintln(s.Err, "nothing was blocked")
			return errFailed
		}
		in.Confirmed = true
		err = c.do(ctx, http.MethodPost, "/blocks", in, &out)
	}
	if err != nil {
		return err
	}
	if s.json() {
		return s.printJSON(out)
	}
	until := "until it is removed (gatehouse block rm)"
	if !out.Block.Until.IsZero() {
		until = "until " + out.Block.Until.Format("2006-01-02 15:04:05 MST")
	}
	fmt.Fprintf(s.Out, "blocked: %s for %s, %s\n", out.Block.Network, or(tenantText(out.Block.Tenant), "everybody"), until)
	return nil
}

func tenantText(tenant string) string {
	if tenant == "" {
		return ""
	}
	return "tenant " + tenant
}

// confirm asks a question on the terminal; asked is false if there is none.
func (s *session) confirm(doubt string) (agreed, asked bool) {
	if !s.answers {
		return false, false
	}
	fmt.Fprintf(s.Err, "%s\nblock it all the same? [y/N] ", printable(doubt))
	line, err := bufio.NewReader(s.In).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return false, true
	}
	line = strings.ToLower(strings.TrimSpace(line))
	return line == "y" || line == "yes", true
}

func newBlockRemove(s *session) *cobra.Command {
	var in admin.UnblockRequest
	cmd := &cobra.Command{
		Use: "rm CIDR", Short: "End a block", Long: "End the block of a network, as it was added: one of a part of it, or of another tenant, is another one.",
		Example: "  gatehouse block rm 203.0.113.0/24",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: s.completeBlock,
	}
	cmd.Flags().StringVar(&in.Tenant, "tenant", "", "the block for this `tenant`")
	s.completeTenantFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := refuseBlank(cmd, args, "tenant"); err != nil {
			return err
		}
		if _, err := routes.ParseNetwork(args[0]); err != nil {
			return usagef("%w", err)
		}
		in.Network, in.By = args[0], caller(s.Environ)
		var out admin.BlockResult
		if err := s.ask(cmd.Context(), http.MethodPost, "/blocks/remove", in, &out); err != nil {
			return err
		}
		if s.json() {
			return s.printJSON(out)
		}
		fmt.Fprintf(s.Out, "not blocked any more: %s for %s\n", out.Block.Network, or(tenantText(out.Block.Tenant), "everybody"))
		return nil
	}
	return cmd
}

func newBlockList(s *session) *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use: "list", Short: "List the blocked networks, with until when, by whom and why",
		Long: "List the blocked networks, with until when, by whom and why. What stands in Redis and does not act, since somebody has written it by hand, is said on\n" +
			"standard error; -o json has it as faults.",
		Example: "  gatehouse block list\n  gatehouse block list --tenant shop -o csv",
		Args:    cobra.NoArgs, Annotations: map[string]string{takesCSV: "yes"},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "only those for this `tenant`")
	s.completeTenantFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := refuseBlank(cmd, args, "tenant"); err != nil {
			return err
		}
		path := "/blocks"
		if tenant != "" {
			path += "?tenant=" + url.QueryEscape(tenant)
		}
		var list admin.BlockList
		if err := s.ask(cmd.Context(), http.MethodGet, path, nil, &list); err != nil {
			return err
		}
		if list.Problem != "" && !s.json() {
			fmt.Fprintf(s.Err, "gatehouse: %s\n", printable(list.Problem))
		}
		for i := range list.Faults {
			if !s.json() {
				fmt.Fprintf(s.Err, "gatehouse: %s\n", printable(list.Faults[i].String()))
			}
		}
		switch {
		case s.json():
			return s.printJSON(list)
		case s.output == "csv":
			return s.printBlockCSV(&list)
		case len(list.Blocks) == 0:
			fmt.Fprintln(s.Out, "none")
			return nil
		}
		rows := make([][]string, 0, len(list.Blocks))
		for _, b := range list.Blocks {
			rows = append(rows, []string{b.Network.String(), dash(b.Tenant), dash(fromNow(b.Until, list.Now)), dash(utcStamp(b.Until)), dash(b.By), dash(b.Note)})
		}
		return s.printTable([]string{"NETWORK", "TENANT", "ENDS", "UNTIL", "BY", "NOTE"}, rows)
	}
	return cmd
}

func (s *session) printBlockCSV(list *admin.BlockList) error {
	rows := [][]string{{"network", "tenant", "until", "added", "by", "note"}}
	for _, b := range list.Blocks {
		rows = append(rows, []string{b.Network.String(), b.Tenant, utcStamp(b.Until), utcStamp(b.Added), b.By, b.Note})
	}
	return csv.NewWriter(s.Out).WriteAll(rows)
}

func (s *session) completeTenantFlag(cmd *cobra.Command) {
	if err := cmd.RegisterFlagCompletionFunc("tenant", func(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
		return s.completeTenant(cmd, nil, word)
	}); err != nil {
		panic(err) // the flag was added before
	}
}

// completeBlock offers the networks that are blocked.
func (s *session) completeBlock(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var list admin.BlockList
	var networks []string
	if len(args) == 0 && s.askForCompletion(cmd, "/blocks", &list) {
		for _, b := range list.Blocks {
			networks = append(networks, b.Network.String())
		}
	}
	return networks, cobra.ShellCompDirectiveNoFileComp
}
