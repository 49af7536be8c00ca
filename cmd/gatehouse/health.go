package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/admin"
)

func newHealthCommand(s *session) *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Ask a node whether it is ready for traffic",
		Long: `Ask a node whether it is ready for traffic, as health checks of containers do.

Exit status: 0 ready, 1 not ready or no answer.`,
		Example: "  gatehouse health\n  gatehouse health --admin http://127.0.0.1:9180",
		Args:    cobra.NoArgs,
	}
	s.addNodeFlags(cmd)
	cmd.Flags().DurationVar(&timeout, "timeout", 2*time.Second, "longest wait for the answer")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := s.newClient(timeout)
		if err != nil {
			return err
		}
		var r admin.Readiness
		err = c.do(cmd.Context(), http.MethodGet, "/readyz", nil, &r)
		var no *nodeError
		if errors.As(err, &no) && no.status == http.StatusServiceUnavailable {
			err = json.Unmarshal(no.body, &r)
		}
		if err != nil {
			return err
		}
		return s.printReadiness(&r)
	}
	return cmd
}

func (s *session) printReadiness(r *admin.Readiness) error {
	if s.json() {
		if err := s.printJSON(r); err != nil {
			return err
		}
	} else {
		if r.Ready {
			fmt.Fprintln(s.Out, "ready")
		}
		for _, reason := range r.Reasons {
			fmt.Fprintln(s.Out, "not ready: "+printable(reason))
		}
		for _, warning := range r.Warnings {
			fmt.Fprintln(s.Out, "warning: "+printable(warning))
		}
	}
	if !r.Ready {
		return errFailed
	}
	return nil
}
