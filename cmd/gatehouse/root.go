package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"gatehouse/routes"
)

// Exit codes of every verb.
const (
	exitOK     = 0
	exitFailed = 1 // it says what is wrong
	exitUsage  = 2
)

// terminal is what a verb reads from and writes to.
type terminal struct {
	In       io.Reader
	Out, Err io.Writer
	Environ  []string
	answers  bool // somebody is at In, and can be asked
}

// session is what the flags of the whole tree say.
type session struct {
	*terminal
	output string // -o: "table", "json" or, where a command takes it, "csv"
	config string // -c; empty: gatehouse.yaml if it is there
	admin  string // --admin; empty: the socket of the data folder
}

func (s *session) json() bool { return s.output == "json" }

// loadConfig reads the process settings that -c names.
func (s *session) loadConfig(flags map[string]string) (*Config, error) {
	file, explicit := configFile, false
	if s.config != "" {
		file, explicit = s.config, true
	}
	cfg, problems := loadConfig(file, explicit, s.Environ, flags)
	return cfg, problems.Err()
}

// usageError is a mistake in the command line: exit 2.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// errFailed ends a verb with exit 1 that has said already what is wrong.
var errFailed = errors.New("failed")

// execute runs the command line and returns the exit code.
func execute(ctx context.Context, t *terminal, args []string) int {
	root := newRootCommand(t)
	root.SetArgs(args)
	ran := false
	onRun(root, func() { ran = true })
	cmd, err := root.ExecuteContextC(ctx)
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errFailed):
		return exitFailed
	case errors.As(err, &usage) || !ran: // cobra's own: unknown command, number of arguments
		fmt.Fprintf(t.Err, "%s: %v\nTry: %s --help\n", cmd.CommandPath(), err, cmd.CommandPath())
		return exitUsage
	}
	fmt.Fprintf(t.Err, "gatehouse: %v\n", err)
	return exitFailed
}

// onRun calls f before the verb itself runs, after cobra has taken the arguments.
func onRun(cmd *cobra.Command, f func()) {
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			f()
			return run(cmd, args)
		}
	}
	for _, sub := range cmd.Commands() {
		onRun(sub, f)
	}
}

func newRootCommand(t *terminal) *cobra.Command {
	s := &session{terminal: t}
	root := &cobra.Command{
		Use:   "gatehouse",
		Short: "A TLS-terminating, multi-tenant edge with a WAF and a cache",
		Long: `Gatehouse stands in front of many websites: it picks a certificate by SNI, passes
each request through a WAF and a response cache, and routes it by host to a backend.

Exit status: 0 good, 1 something is wrong (it says what), 2 wrong usage.`,
		Example:       "  gatehouse demo\n  gatehouse serve -c /etc/gatehouse/gatehouse.yaml\n  gatehouse vhost add www.shop.test http://127.0.0.1:9000",
		SilenceErrors: true, SilenceUsage: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.CommandPath() == "gatehouse waf test" && strings.ContainsAny(s.output, "/.") {
				s.output = "table" // curl's -o FILE, in a pasted line
			}
			switch _, alsoCSV := cmd.Annotations[takesCSV]; {
			case s.output == "table" || s.output == "json" || s.output == "csv" && alsoCSV:
			case alsoCSV:
				return usagef("-o %s: want table, json or csv", s.output)
			default:
				return usagef("-o %s: want table or json", s.output)
			}
			return nil
		},
	}
	root.SetIn(t.In)
	root.SetOut(t.Out)
	root.SetErr(t.Err)
	root.PersistentFlags().StringVarP(&s.output, "output", "o", "table", "`format` of what is printed: table or json; of lists of certificates and blocks csv, too")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{withFlagGuess(cmd, err)}
	})
	root.AddCommand(
		newServeCommand(s), newCheckCommand(s), newVhostCommand(s), newTenantCommand(s),
		newWAFCommand(s), newCacheCommand(s), newCertCommand(s), newBackendCommand(s), newBlockCommand(s), newUpgradeCommand(s), newLoadtestCommand(s), newHealthCommand(s), newVersionCommand(s),
	)
	for _, newCommand := range extraCommands {
		root.AddCommand(newCommand())
	}
	return root
}

// group makes a command that only holds others say which there are.
func group(cmd *cobra.Command, subs ...*cobra.Command) *cobra.Command {
	cmd.AddCommand(subs...)
	var names []string
	for _, sub := range subs {
		names = append(names, sub.Name())
	}
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usagef("say which: %s", strings.Join(names, ", "))
		}
		if guess := routes.Nearest(args[0], names); guess != "" {
			return usagef("unknown command %q (did you mean %q?)", args[0], guess)
		}
		return usagef("unknown command %q: want %s", args[0], strings.Join(names, ", "))
	}
	return cmd
}

// withFlagGuess adds what an unknown flag was probably meant to be, and says what kind
// of value a flag wants that was given another.
func withFlagGuess(cmd *cobra.Command, err error) error {
	if bad, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		return fmt.Errorf("--%s %s: %w", bad.GetFlag().Name, bad.GetValue(), wantedValue(bad))
	}
	name, ok := strings.CutPrefix(err.Error(), "unknown flag: --")
	if !ok {
		return err
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if guess := routes.Nearest(name, names); guess != "" {
		return fmt.Errorf("%w (did you mean %q?)", err, "--"+guess)
	}
	return err
}

// wantedValue replaces what package strconv says.
func wantedValue(bad *pflag.InvalidValueError) error {
	switch bad.GetFlag().Value.Type() {
	case "duration":
		return errors.New("want a time with its unit, such as 10s or 500ms")
	case "int", "int64":
		if errors.Is(bad, strconv.ErrRange) {
			return errors.New("the number is too large")
		}
		return errors.New("want a whole number, digits only")
	case "bool":
		return errors.New("want true or false")
	}
	return bad.Unwrap()
}

// addConfigFlag adds -c.
func (s *session) addConfigFlag(cmd *cobra.Command) {
	cmd.PersistentFlags().StringVarP(&s.config, "config", "c", "", "process settings `FILE` (default: gatehouse.yaml, if it is there)")
	if err := cmd.MarkPersistentFlagFilename("config", "yaml", "yml"); err != nil {
		panic(err) // the flag was added one line above
	}
}

// addNodeFlags adds the flags that say which running node a verb speaks to.
func (s *session) addNodeFlags(cmd *cobra.Command) {
	s.addConfigFlag(cmd)
	cmd.PersistentFlags().StringVar(&s.admin, "admin", "", "socket or `URL` of the node (default: gatehouse.sock in its data folder)")
}
