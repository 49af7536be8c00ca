package main

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/admin"
)

func newCertECH(s *session) *cobra.Command {
	cmd := &cobra.Command{
		Use: "ech [NAME…]", Short: "Print the records of DNS by which clients encrypt the server name (ECH, experimental)",
		Long: `Print the HTTPS record of each name of the node's vhosts, or of NAME, with the key by which clients
encrypt the server name (Encrypted Client Hello), as lines of a zone's file, and when the key changes:
publish them anew then. Nodes that share keys print the same.

A name with a CNAME cannot have one: publish it where that leads. If a name has an HTTPS record
already, add ech="…" to it.

Exit 1: ECH is off (tls.ech.public_name), or there is no key yet. What would make clients fail is a
warning: mend it before you publish anything.`,
		Example: "  gatehouse cert ech\n" +
			"  gatehouse cert ech www.shop.test -o json",
		ValidArgsFunction: s.completeHosts,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := refuseBlank(cmd, args); err != nil {
			return err
		}
		var r admin.ECHRecords
		if err := s.ask(cmd.Context(), http.MethodGet, "/certs/ech?"+url.Values{"name": args}.Encode(), nil, &r); err != nil {
			return err
		}
		if s.json() {
			if err := s.printJSON(r); err != nil {
				return err
			}
		} else {
			s.printECH(&r)
		}
		if r.ConfigList == nil {
			return errFailed
		}
		return nil
	}
	return cmd
}

// printECH prints a piece of a zone's file; what is no record is a comment there.
func (s *session) printECH(r *admin.ECHRecords) {
	if r.Problem != "" {
		fmt.Fprintf(s.Err, "warning: %s\n", printable(r.Problem))
	}
	if r.ConfigList == nil {
		return
	}
	fmt.Fprintf(s.Out, "; ECH of %s: the key changes at %s (%s), and decrypts until %s\n",
		printable(r.PublicName), r.Changes.UTC().Format(time.RFC3339), fromNow(r.Changes, r.Now), r.Until.UTC().Format(time.RFC3339))
	for _, record := range r.Records {
		fmt.Fprintf(s.Out, "%s %d IN HTTPS %s\n", printable(record.Owner), record.TTL, printable(record.Value))
	}
}
