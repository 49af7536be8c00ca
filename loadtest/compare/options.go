package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// errUsage: the command line is wrong, and the flag package has said why.
var errUsage = errors.New("usage")

// options are what the command line says.
type options struct {
	rounds      int
	seconds     int // of measured load per cell
	connections int
	peers       []peer
	named       bool // the peers were named, so all must be installed
	scenarios   []scenario
	json        string // files to write; empty: none
	html        string
	markdown    string
	gatehouse   string // the binary
	keep        bool   // the run folder stays
	check       bool   // a missed target is an error
	flat        bool
	vhosts      int // --flat: the many
	tenants     int
}

func parseOptions(args []string, stderr io.Writer) (options, error) {
	var o options
	var peerList, scenarioList string
	f := flag.NewFlagSet("compare", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.IntVar(&o.rounds, "rounds", 0, "interleaved rounds (default 3; 10 with --flat)")
	f.IntVar(&o.seconds, "seconds", 0, "seconds of load for each number (default 4; 2 with --flat)")
	f.IntVar(&o.connections, "connections", 64, "connections of the load")
	f.StringVar(&peerList, "peers", "", "some of "+nameList(allPeers)+" (default: gatehouse and those that are installed)")
	f.StringVar(&scenarioList, "scenarios", "", "some of "+nameList(allScenarios)+" (default: all)")
	f.StringVar(&o.json, "json", "", "write the result to this `file` as JSON")
	f.StringVar(&o.html, "html", "", "write the result to this `file` as HTML")
	f.StringVar(&o.markdown, "markdown", "", "write the table to this `file` as Markdown")
	f.StringVar(&o.gatehouse, "gatehouse", "bin/gatehouse", "the gatehouse to measure, as `make build` makes it")
	f.BoolVar(&o.keep, "keep", false, "keep the folder with configurations and logs")
	f.BoolVar(&o.check, "check", false, "exit 1 when a target is missed")
	f.BoolVar(&o.flat, "flat", false, "measure how the cost grows with vhosts and tenants instead")
	f.IntVar(&o.vhosts, "vhosts", 10000, "many vhosts, for --flat")
	f.IntVar(&o.tenants, "tenants", 1000, "many tenants, for --flat")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return o, err
		}
		return o, errUsage
	}
	fail := func(err error) (options, error) {
		fmt.Fprintln(stderr, "bench:", err)
		return o, errUsage
	}
	if f.NArg() > 0 {
		return fail(fmt.Errorf("what is %q? Lists are separated by commas, without spaces", f.Arg(0)))
	}
	o.setDefaults()
	if err := o.inBounds(); err != nil {
		return fail(err)
	}
	var err error
	if o.scenarios, err = choose(allScenarios, scenarioList); err != nil {
		return fail(fmt.Errorf("--scenarios: %w", err))
	}
	if o.peers, err = choose(allPeers, peerList); err != nil {
		return fail(fmt.Errorf("--peers: %w", err))
	}
	o.named = peerList != ""
	return o, nil
}

func (o *options) setDefaults() {
	rounds, seconds := 3, 4
	if o.flat {
		rounds, seconds = 10, 2
	}
	if o.rounds == 0 {
		o.rounds = rounds
	}
	if o.seconds == 0 {
		o.seconds = seconds
	}
}

// inBounds keeps a slip of the finger from loading a machine for a day.
func (o *options) inBounds() error {
	fewest := 1
	if o.check { // a verdict needs a median that means something
		if fewest = 3; o.flat {
			fewest = 10
		}
	}
	for _, b := range []struct {
		flag          string
		value, lo, hi int
	}{
		{"rounds", o.rounds, fewest, 100},
		{"seconds", o.seconds, 1, 60},
		{"connections", o.connections, 1, 4096},
		{"vhosts", o.vhosts, 2, 20000},
		{"tenants", o.tenants, 2, 20000},
	} {
		if b.value < b.lo || b.value > b.hi {
			return fmt.Errorf("--%s %d: want %d to %d%s", b.flag, b.value, b.lo, b.hi, o.because(b.flag))
		}
	}
	return nil
}

// command returns the line that repeats a run with these options.
func (o *options) command(peerNames string) string {
	out := "make bench ROUNDS=" + strconv.Itoa(o.rounds) + " SECONDS=" + strconv.Itoa(o.seconds) + " PEERS=" + peerNames
	if len(o.scenarios) < len(allScenarios) {
		out += " SCENARIOS=" + nameList(o.scenarios)
	}
	return out
}

// findPrograms makes the path to gatehouse absolute and lets what is beside it be
// found, where `make bench-deps` puts caddy, and what only root has in its path.

// because says why a bound is not the usual one.
func (o *options) because(flag string) string {
	if flag == "rounds" && o.check {
		return ", since --check gives a verdict"
	}
	return ""
}

func (o *options) findPrograms() error {
	var err error
	if o.gatehouse, err = filepath.Abs(o.gatehouse); err != nil {
		return err
	}
	path := strings.Join([]string{os.Getenv("PATH"), "/usr/sbin", filepath.Dir(o.gatehouse)}, string(os.PathListSeparator))
	if err := os.Setenv("PATH", path); err != nil {
		return err
	}
	return requireTools("nginx", "wrk", "taskset", "unshare", o.gatehouse)
}

// requireTools says which programs are missing and where they come from.
func requireTools(programs ...string) error {
	var missing []string
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			missing = append(missing, p)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%s: not found; `make bench-deps` installs peers and tools, `make build` makes bin/gatehouse", strings.Join(missing, ", "))
	}
	return nil
}

// raiseDescriptors lifts the limit of open files as far as we may, for us and for
// everything that we start. Where it stays too low, whoever lacks one says so.
func raiseDescriptors() {
	const wanted = 1 << 16
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return
	}
	higher := syscall.Rlimit{Cur: wanted, Max: max(limit.Max, wanted)}
	if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &higher) == nil { // root may
		return
	}
	limit.Cur = limit.Max
	// Cannot fail: it is what everybody may do.
	_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
}

// descriptors returns how many files a process may have open.
func descriptors() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 1024
	}
	return int(min(limit.Cur, 1<<16))
}

// A named thing can be chosen on the command line.
type named interface{ id() string }

func nameList[T named](all []T) string {
	var names []string
	for _, x := range all {
		names = append(names, x.id())
	}
	return strings.Join(names, ",")
}

// choose returns those of all that a list of names says, in the order of all; an
// empty list means all.
func choose[T named](all []T, list string) ([]T, error) {
	if list == "" {
		return all, nil
	}
	names := strings.Split(list, ",")
	var out []T
	for _, x := range all {
		if slices.Contains(names, x.id()) {
			out = append(out, x)
			names = slices.DeleteFunc(names, func(n string) bool { return n == x.id() })
		}
	}
	if len(names) > 0 {
		return nil, fmt.Errorf("no %s; there are %s", strings.Join(names, ","), nameList(all))
	}
	return out, nil
}
