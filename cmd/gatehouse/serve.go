package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"gatehouse/routes"
)

func newServeCommand(s *session) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve until a signal ends it",
		Long: `Serve until SIGINT or SIGTERM, then drain: go on for limits.drain_accept, and let
requests end within limits.drain_grace. A second signal ends it at once.

Settings come from gatehouse.yaml (or -c FILE), overridden by environment variables
(GATEHOUSE_LISTEN_HTTPS; with _FILE at the end the value is read from a file),
overridden by flags. Sites come from the folder or the Redis that "routes" names.
Listening sockets may come from the service manager (LISTEN_FDS), by the names http,
https and admin or by their addresses. SIGUSR2 is gatehouse upgrade.`,
		Example: "  gatehouse serve\n  gatehouse serve -c /etc/gatehouse/gatehouse.yaml --listen.https :443",
		Args:    cobra.NoArgs,
	}
	s.addConfigFlag(cmd)
	flags := addSettingFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		in, err := inherit(s.Environ)
		if err != nil {
			return err
		}
		s.Environ = withoutInheritance(s.Environ)
		cfg, err := s.loadConfig(flags.given)
		if err != nil {
			s.printProblems(err)
			return errFailed
		}
		if runServer == nil {
			return errors.New("this binary was built without a server")
		}
		return runServer(cmd.Context(), cfg, s.Err, in)
	}
	return cmd
}

// printProblems writes each problem with its excerpt to the error output.
func (s *session) printProblems(err error) {
	var problems routes.Problems
	if !errors.As(err, &problems) {
		fmt.Fprintf(s.Err, "gatehouse: %v\n", err)
		return
	}
	for _, p := range problems {
		writeProblem(s.Err, "", p)
	}
}
