package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"gatehouse/admin"
)

// What the verbs need of the rest of the program. run.go, the only place that
// knows every package, sets these before the command tree runs.
var (
	// runServer serves until ctx ends. An error means that it could not start
	// or did not end well; log lines go to out where cfg says so. in holds
	// inherited sockets; nil: there are none, and it cannot be upgraded.
	runServer func(ctx context.Context, cfg *Config, out io.Writer, in *inheritance) error

	// offlineInspect opens the rules and routes that cfg names, without a node.
	offlineInspect func(ctx context.Context, cfg *Config) (*offlineWAF, error)

	// openJudge makes what compares exclusions with the rules that cfg names, which
	// it compiles, and says why these have no gate although cfg asks for one; empty: they have. An
	// error says what is wrong with the rules. Nil: the embedded ones.
	openJudge func(cfg *Config) (judge exclusionJudge, ungated string, err error)

	// buildProblem says why this build cannot serve; nil: it can.
	buildProblem = func() error { return nil }

	// parseRedisURL reports what is wrong with a routes URL that is not file:DIR.
	parseRedisURL = knownRedisScheme
)

// An offlineWAF judges requests without a node.
type offlineWAF struct {
	inspect inspector
	close   func() error
}

// An inspector says what the WAF would do with a request. Its error wraps
// admin.ErrNoVhost if no vhost answers for the host.
type inspector func(ctx context.Context, r admin.InspectRequest) (admin.InspectResult, error)

func knownRedisScheme(url string) error {
	for _, scheme := range []string{"redis://", "rediss://", "redis+sentinel://", "redis+cluster://"} {
		if rest, ok := strings.CutPrefix(url, scheme); ok && rest != "" {
			return nil
		}
	}
	return fmt.Errorf("want file:DIR, redis://, rediss://, redis+sentinel:// or redis+cluster://")
}

// extraCommands make the verbs of other files; each adds its own when the
// program starts.
var extraCommands []func() *cobra.Command
