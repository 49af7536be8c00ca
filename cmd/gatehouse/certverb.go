package main

import (
	"encoding/csv"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/admin"
	"gatehouse/routes"
)

func newCertCommand(s *session) *cobra.Command {
	cmd := &cobra.Command{Use: "cert", Short: "See which certificates are served and what is wrong with them; renew and import them"}
	s.addNodeFlags(cmd)
	return group(cmd, newCertList(s), newCertRenew(s), newCertImport(s), newCertRemove(s), newCertECH(s))
}

// takesCSV marks commands that print csv, too.
const takesCSV = "csv"

func newCertList(s *session) *cobra.Command {
	var issuer, expiring string
	cmd := &cobra.Command{
		Use: "list [NAME…]", Short: "List the certificate of each name, until when it is good, and what is wrong",
		Long: `List what is served for each name of the node's vhosts, or for NAME: by whom it was issued, where
it comes from (file, imported, acme, internal), how many days are left, whether an OCSP response is
stapled, when the next order or renewal is, and what is wrong, with what to do about it. Names of
one SET share a certificate: those of a vhost with tls.one_certificate, whose name it is. What was
imported for a name that no vhost has is listed, too.

--expiring leaves out certificates of the internal CA: they live for a week, and the node makes them
anew by itself.`,
		Example: "  gatehouse cert list\n" +
			"  gatehouse cert list --expiring 10d\n" +
			"  gatehouse cert list --issuer startcom -o csv\n" +
			"  gatehouse cert list www.shop.test -o json",
		ValidArgsFunction: s.completeHosts,
		Annotations:       map[string]string{takesCSV: "yes"},
	}
	cmd.Flags().StringVar(&issuer, "issuer", "", "only those whose issuer's name has this `text` in it, in any case")
	cmd.Flags().StringVar(&expiring, "expiring", "", "only those with less than this `time` left, such as 10d")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := refuseBlank(cmd, args, "issuer", "expiring"); err != nil {
			return err
		}
		q := url.Values{}
		if issuer != "" {
			q.Set("issuer", issuer)
		}
		if expiring != "" {
			if _, err := spanOf("expiring", expiring); err != nil {
				return err
			}
			q.Set("expiring", expiring)
		}
		for _, name := range args {
			q.Add("name", name)
		}
		var list admin.CertificateList
		if err := s.ask(cmd.Context(), http.MethodGet, "/certs?"+q.Encode(), nil, &list); err != nil {
			return err
		}
		switch {
		case s.json():
			return s.printJSON(list)
		case s.output == "csv":
			return s.printCertCSV(&list)
		case len(list.Certificates) == 0:
			fmt.Fprintln(s.Out, "none")
			return nil
		}
		return s.printCerts(&list)
	}
	return cmd
}

// refuseBlank refuses flags and arguments that are there and empty, as variables of a script are that are not set.
func refuseBlank(cmd *cobra.Command, args []string, flags ...string) error {
	for _, name := range flags {
		if cmd.Flags().Changed(name) && strings.TrimSpace(cmd.Flags().Lookup(name).Value.String()) == "" {
			return usagef("--%s is empty", name)
		}
	}
	for _, arg := range args {
		if strings.TrimSpace(arg) == "" {
			return usagef("a NAME is empty")
		}
	}
	return nil
}

// spanOf reads the value of a flag that is a time from now.
func spanOf(flag, text string) (routes.Duration, error) {
	d, err := routes.ParseDuration(text)
	if err != nil {
		return 0, usagef("--%s: %w", flag, err)
	}
	if d == 0 {
		return 0, usagef("--%s %s: want more than nothing, such as 10d", flag, text)
	}
	return d, nil
}

func (s *session) printCerts(list *admin.CertificateList) error {
	rows := make([][]string, 0, len(list.Certificates))
	heading := []string{"NAME", "ISSUER", "SOURCE", "KEY", "DAYS", "STAPLE", "NEXT", "PROBLEM"}
	const keyColumn = 3
	sets := slices.ContainsFunc(list.Certificates, func(c admin.Certificate) bool { return c.Set != "" })
	if sets { // most nodes have none
		heading = slices.Insert(heading, keyColumn, "SET")
	}
	for i := range list.Certificates {
		c := &list.Certificates[i]
		staple := c.Staple
		if staple == "none" {
			staple = ""
		}
		row := []string{
			c.Name, dash(c.Issuer), c.Source, c.Key, dash(daysLeft(c, list.Now)), dash(staple), dash(fromNow(c.NextTry, list.Now)), dash(c.Problem),
		}
		if sets {
			row = slices.Insert(row, keyColumn, dash(c.Set))
		}
		rows = append(rows, row)
	}
	return s.printTable(heading, rows)
}

func (s *session) printCertCSV(list *admin.CertificateList) error {
	w := csv.NewWriter(s.Out)
	rows := [][]string{{"name", "issuer", "source", "key", "not_before", "not_after", "days", "staple", "next", "problem", "set"}}
	for i := range list.Certificates {
		c := &list.Certificates[i]
		rows = append(rows, []string{
			c.Name, c.Issuer, c.Source, c.Key, utcStamp(c.NotBefore), utcStamp(c.NotAfter), daysLeft(c, list.Now), c.Staple, utcStamp(c.NextTry), c.Problem, c.Set,
		})
	}
	return w.WriteAll(rows)
}

// utcStamp writes a time for programs; empty: there is none.
func utcStamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// daysLeft is how many whole days a certificate is good for; negative: for so long it is not. Empty: there is none yet.
func daysLeft(c *admin.Certificate, now time.Time) string {
	if c.NotAfter.IsZero() {
		return ""
	}
	return strconv.FormatFloat(math.Floor(c.NotAfter.Sub(now).Hours()/24), 'f', 0, 64)
}

// fromNow says when something is, as seen from now, in one unit; empty: never.
func fromNow(at, now time.Time) string {
	d := at.Sub(now)
	switch {
	case at.IsZero():
		return ""
	case d < time.Second:
		return "now"
	case d < 2*time.Minute:
		return fmt.Sprintf("in %ds", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("in %dm", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("in %dh", d/time.Hour)
	}
	return fmt.Sprintf("in %dd", d/(24*time.Hour))
}
