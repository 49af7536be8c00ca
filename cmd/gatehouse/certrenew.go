package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/admin"
)

const (
	// mostRenewWait bounds --wait: an order that takes longer is told by cert list.
	mostRenewWait = 30 * time.Minute
	// renewPoll is the pause between two questions whether a certificate is there.
	renewPoll = 500 * time.Millisecond
)

func newCertRenew(s *session) *cobra.Command {
	var expiring string
	var wait time.Duration
	cmd := &cobra.Command{
		Use: "renew (NAME… | --all-expiring TIME)", Short: "Have certificates made anew now",
		Long: `Have the certificates of names ordered anew from the ACME issuer now, whatever their age and
whatever waits after orders that failed; where the internal CA issues, the next handshake gets
another one. A name that shares its certificate with others (tls.one_certificate) is renewed with
all of them. Certificates from files and imported ones are replaced by other means.

Issuers bound how many orders and failed validations a name may have: see cert list for what is
wrong before you repeat an order.

Exit 1: a name cannot be renewed, its order failed, or with --wait it took longer.`,
		Example: "  gatehouse cert renew www.shop.test --wait 60s\n" +
			"  gatehouse cert renew --all-expiring 10d",
		ValidArgsFunction: s.completeHosts,
	}
	cmd.Flags().StringVar(&expiring, "all-expiring", "", "all that have less than this `time` left, such as 10d")
	cmd.Flags().DurationVar(&wait, "wait", 0, "wait so long until the new certificates are served or an order has failed; 0s: do not")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := refuseBlank(cmd, args, "all-expiring"); err != nil {
			return err
		}
		in := admin.RenewRequest{Names: args, By: caller(s.Environ)}
		switch {
		case (len(args) == 0) == (expiring == ""):
			return usagef("say what to renew: by NAME… or by --all-expiring TIME")
		case wait < 0 || wait > mostRenewWait:
			return usagef("--wait %v: want 0s to %v", wait, mostRenewWait)
		}
		if expiring != "" {
			d, err := spanOf("all-expiring", expiring)
			if err != nil {
				return err
			}
			in.Expiring = &d
		}
		c, err := s.newClient(clientTimeout)
		if err != nil {
			return err
		}
		var r admin.RenewResult
		if err := c.do(cmd.Context(), http.MethodPost, "/certs/renew", in, &r); err != nil {
			return err
		}
		return s.finishRenewal(cmd.Context(), c, &r, wait)
	}
	return cmd
}

// The states of a renewal.
const (
	renewRefused = "refused"
	renewMinted  = "minted"
	renewOrdered = "ordered"
	renewServed  = "served"
	renewFailed  = "failed"
	renewLate    = "late"
)

// A renewal is what is printed of one name.
type renewal struct {
	Name  string `json:"name"`
	State string `json:"state"` // ordered, minted (at the next handshake), refused; with --wait served, failed, late
	Error string `json:"error,omitempty"`
	// Certificate is the one that is served now; with --wait.
	Certificate *admin.Certificate `json:"certificate,omitempty"`

	before string // fingerprint
}

// finishRenewal waits for what was ordered, if that is wanted, and says what became of each name.
func (s *session) finishRenewal(ctx context.Context, c *client, r *admin.RenewResult, wait time.Duration) error {
	all := make([]renewal, len(r.Names))
	for i, n := range r.Names {
		all[i] = renewal{Name: n.Name, State: renewOrdered, Error: n.Error, before: n.Before}
		switch {
		case n.Error != "":
			all[i].State = renewRefused
		case n.Minted:
			all[i].State = renewMinted
		}
	}
	if wait > 0 {
		if err := awaitRenewals(ctx, c, all, r.Asked, wait); err != nil {
			return err
		}
	}
	if s.json() {
		if err := s.printJSON(struct {
			Node  string    `json:"node"`
			Names []renewal `json:"names"`
		}{r.Node, all}); err != nil {
			return err
		}
	}
	bad := false
	for i := range all {
		n := &all[i]
		bad = bad || n.State == renewRefused || n.State == renewFailed || n.State == renewLate
		if !s.json() {
			fmt.Fprintf(s.Out, "%s: %s\n", printable(n.Name), printable(n.text(wait, r.Asked)))
		}
	}
	if len(all) == 0 && !s.json() {
		fmt.Fprintln(s.Out, "nothing is to be renewed")
	}
	if bad {
		return errFailed
	}
	return nil
}

func (n *renewal) text(wait time.Duration, asked time.Time) string {
	switch n.State {
	case renewRefused:
		return "not renewed: " + n.Error
	case renewMinted:
		return "the internal CA makes another one at the next handshake"
	case renewServed:
		return fmt.Sprintf("served, by %s, %s days left", n.Certificate.Issuer, daysLeft(n.Certificate, asked))
	case renewFailed:
		return "the order failed: " + n.Error
	case renewLate:
		return fmt.Sprintf("not there within %v; see gatehouse cert list %s", wait, n.Name)
	}
	return "ordered; see gatehouse cert list " + n.Name
}

// awaitRenewals asks for each name that was ordered until its certificate is another one, or an order has ended since.
func awaitRenewals(ctx context.Context, c *client, all []renewal, asked time.Time, wait time.Duration) error {
	deadline := time.Now().Add(wait)
	for {
		open := 0
		for i := range all {
			if all[i].State != renewOrdered {
				continue
			}
			if err := all[i].look(ctx, c, asked); err != nil {
				return err
			}
			if all[i].State == renewOrdered {
				open++
			}
		}
		left := time.Until(deadline)
		if open == 0 || left <= 0 {
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(min(renewPoll, left)):
		}
	}
	for i := range all {
		if all[i].State == renewOrdered {
			all[i].State = renewLate
		}
	}
	return nil
}

func (n *renewal) look(ctx context.Context, c *client, asked time.Time) error {
	var list admin.CertificateList
	if err := c.do(ctx, http.MethodGet, "/certs?"+url.Values{"name": {n.Name}}.Encode(), nil, &list); err != nil {
		return err
	}
	if len(list.Certificates) != 1 { // not of the table any more
		return nil
	}
	now := &list.Certificates[0]
	switch {
	case now.Fingerprint != "" && now.Fingerprint != n.before:
		n.State, n.Certificate = renewServed, now
	case now.LastTry.After(asked) && now.LastError != "":
		n.State, n.Error = renewFailed, now.Problem
	}
	return nil
}
