package main

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"gatehouse/admin"
	"gatehouse/routes"
)

// maxPEM bounds the file of a certificate or key, in bytes.
const maxPEM = 1 << 20

func newCertImport(s *session) *cobra.Command {
	var certFile, keyFile string
	cmd := &cobra.Command{
		Use: "import --cert FILE --key FILE [NAME…]", Short: "Serve a certificate that somebody else has issued",
		Long: `Serve a certificate for NAME…, or for all names that it covers, from now on and on all nodes that
share certificates with this one. FILE is in PEM form: the chain, the site's own certificate first,
and its private key without a passphrase; both may be in the same file. What is imported goes before
what is ordered, and behind files that a vhost names. It is not renewed: import its successor.

What no client could use is refused with the reason; what some may refuse is a warning.`,
		Example: "  gatehouse cert import --cert chain.pem --key key.pem\n" +
			"  gatehouse cert import --cert all.pem --key all.pem www.shop.test '*.shop.test'",
		ValidArgsFunction: s.completeHosts,
	}
	cmd.Flags().StringVar(&certFile, "cert", "", "PEM `file` with the certificate and its chain")
	cmd.Flags().StringVar(&keyFile, "key", "", "PEM `file` with the private key")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := refuseBlank(cmd, args, "cert", "key"); err != nil {
			return err
		}
		if certFile == "" || keyFile == "" {
			return usagef("say what to import: --cert FILE and --key FILE (they may be the same)")
		}
		in := admin.ImportRequest{Names: args, By: caller(s.Environ)}
		for _, from := range []struct {
			file string
			to   *string
		}{{certFile, &in.Cert}, {keyFile, &in.Key}} {
			text, err := routes.ReadFile(from.file, maxPEM)
			if err != nil {
				return fmt.Errorf("%s %s", from.file, unreadable(err))
			}
			*from.to = string(text)
		}
		var r admin.ImportResult
		err := s.ask(cmd.Context(), http.MethodPost, "/certs/import", in, &r)
		if no, ok := errors.AsType[*nodeError](err); ok && no.status == http.StatusUnprocessableEntity {
			return fmt.Errorf("certificate %s with key %s: %w", certFile, keyFile, err) // the node knows no files
		}
		if err != nil {
			return err
		}
		if s.json() {
			return s.printJSON(r)
		}
		fmt.Fprintf(s.Out, "imported for %s\n", printable(strings.Join(r.Imported, ", ")))
		for _, w := range r.Warnings {
			fmt.Fprintf(s.Err, "warning: %s\n", printable(w))
		}
		return nil
	}
	return cmd
}

func newCertRemove(s *session) *cobra.Command {
	return &cobra.Command{
		Use: "remove NAME…", Short: "Stop serving what was imported for names",
		Long: `Stop serving what cert import brought in for NAME…, on all nodes. What is ordered for the name, or
the internal CA's, is served again. Exit 1: there was nothing for one of them; the others are removed.`,
		Example: "  gatehouse cert remove www.shop.test '*.shop.test'",
		Args:    cobra.MinimumNArgs(1), ValidArgsFunction: s.completeHosts,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := refuseBlank(cmd, args); err != nil {
				return err
			}
			var r admin.RemoveCertResult
			if err := s.ask(cmd.Context(), http.MethodPost, "/certs/remove", admin.RemoveCertRequest{Names: args, By: caller(s.Environ)}, &r); err != nil {
				return err
			}
			if s.json() {
				if err := s.printJSON(r); err != nil {
					return err
				}
			} else {
				fmt.Fprintf(s.Out, "removed what was imported for %s\n", printable(strings.Join(r.Removed, ", ")))
				for _, f := range r.Failed {
					fmt.Fprintf(s.Out, "%s: not removed: %s\n", printable(f.Name), printable(f.Error))
				}
			}
			if len(r.Failed) > 0 {
				return errFailed
			}
			return nil
		},
	}
}
