package main

import (
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/admin"
)

func newUpgradeCommand(s *session) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "upgrade",
		Short: "Hand the node's sockets over to a new process of its binary",
		Long: `Have the running node start a new process of the binary that stands at its path
now, with the same arguments, environment and folder. The new process reads its
settings anew, takes the listening sockets over and serves; then the old one drains
and ends. No connection is refused and no request is lost.

If the new process does not come up, the old one goes on undisturbed, and the reason
is printed. SIGUSR2 to the node does the same, with the outcome in the node's log.

Exit status: 0 the new process serves, 1 the old one goes on.`,
		Example: "  gatehouse upgrade\n  gatehouse upgrade -o json",
		Args:    cobra.NoArgs,
	}
	s.addNodeFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := s.newClient(upgradeWait + 15*time.Second) // the answer comes after the node's own wait
		if err != nil {
			return err
		}
		var done admin.Upgraded
		if err := c.do(cmd.Context(), http.MethodPost, "/upgrade", nil, &done); err != nil {
			return err
		}
		if s.json() {
			return s.printJSON(done)
		}
		fmt.Fprintf(s.Out, "process %d (%s) serves after %.1f s; process %d (%s) drains and ends\n",
			done.NewPID, printable(done.NewVersion), done.Seconds, done.OldPID, printable(done.OldVersion))
		return nil
	}
	return cmd
}
