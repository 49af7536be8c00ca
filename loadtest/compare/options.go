package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// errUsage: the command line is wrong, and why has been said.
var errUsage = errors.New("usage")

// Rounds and seconds of a full run, and the sizes of a full --flat.
const (
	fullRounds, fullSeconds         = 3, 4
	fullFlatRounds, fullFlatSeconds = 10, 2
	fullConnections                 = 64
	fullVhosts, fullTenants         = 10000, 1000
)

// options are what the command line says.
type options struct {
	rounds      int
	seconds     int // of measured load per cell
	connections int
	peers       []peer
	named       bool // the peers were named, so all must be installed
	scenarios   []scenario
	out         string // folder to write to; empty: none
	gatehouse   string // the binary
	keep        bool   // the run folder stays
	check       bool   // a missed target is an error, and so is one that was not judged

	flat    bool
	vhosts  int // --flat: the many
	tenants int
	pairs   []flatPair
	loads   []flatLoad
}

// lists are the flags that choose among names, as they were given.
type lists struct{ peers, scenarios, only string }

func (o *options) flags(l *lists, stderr io.Writer) *flag.FlagSet {
	f := flag.NewFlagSet("compare", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.IntVar(&o.rounds, "rounds", 0, fmt.Sprintf("interleaved rounds (default %d; %d with --flat)", fullRounds, fullFlatRounds))
	f.IntVar(&o.seconds, "seconds", 0, fmt.Sprintf("seconds of load for each number (default %d; %d with --flat)", fullSeconds, fullFlatSeconds))
	f.IntVar(&o.connections, "connections", fullConnections, "connections of the load")
	f.StringVar(&l.peers, "peers", "", "some of "+nameList(allPeers)+" (default: gatehouse and those that are installed)")
	f.StringVar(&l.scenarios, "scenarios", "", "some of "+nameList(allScenarios)+"; with --flat some of "+nameList(flatLoads)+" (default: all)")
	f.StringVar(&o.out, "out", "", "write the result to files in this `folder`; those of a run that is not a full one have names of their own")
	f.StringVar(&o.gatehouse, "gatehouse", "bin/gatehouse", "the gatehouse to measure, as `make build` makes it")
	f.BoolVar(&o.keep, "keep", false, "keep the folder with configurations and logs")
	f.BoolVar(&o.check, "check", false, "exit 1 when a target is missed, or could not be judged")
	f.BoolVar(&o.flat, "flat", false, "measure how the cost grows with vhosts and tenants instead")
	f.StringVar(&l.only, "only", "", "some of "+nameList(flatPairs(o))+", for --flat (default: both)")
	f.IntVar(&o.vhosts, "vhosts", fullVhosts, "many vhosts, for --flat")
	f.IntVar(&o.tenants, "tenants", fullTenants, "many tenants, for --flat")
	return f
}

func parseOptions(args []string, stderr io.Writer) (options, error) {
	var o options
	var l lists
	f := o.flags(&l, stderr)
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return o, err
		}
		return o, errUsage
	}
	given := map[string]bool{}
	f.Visit(func(f *flag.Flag) { given[f.Name] = true })
	o.setDefaults(given)
	err := o.inBounds()
	if f.NArg() > 0 {
		err = fmt.Errorf("what is %q? Lists are separated by commas, without spaces", f.Arg(0))
	}
	if err == nil {
		err = o.fits(given, l)
	}
	if err == nil {
		err = o.choose(l)
	}
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return o, errUsage
	}
	return o, nil
}

// setDefaults fills in what was not given: a zero on the line is none of these.
func (o *options) setDefaults(given map[string]bool) {
	rounds, seconds := fullRounds, fullSeconds
	if o.flat {
		rounds, seconds = fullFlatRounds, fullFlatSeconds
	}
	if !given["rounds"] {
		o.rounds = rounds
	}
	if !given["seconds"] {
		o.seconds = seconds
	}
}

// fits refuses flags that mean nothing in this kind of run: they would be taken for
// something that was measured.
func (o *options) fits(given map[string]bool, l lists) error {
	if o.flat && given["peers"] {
		return errors.New("--flat measures gatehouse alone; --peers means nothing to it")
	}
	for _, list := range [][2]string{{"peers", l.peers}, {"scenarios", l.scenarios}, {"only", l.only}} {
		if given[list[0]] && strings.TrimSpace(list[1]) == "" {
			return fmt.Errorf("--%s: it is empty; leave it out for all", list[0])
		}
	}
	for _, name := range []string{"only", "vhosts", "tenants"} {
		if given[name] && !o.flat {
			return fmt.Errorf("--%s goes with --flat (make bench-flat)", name)
		}
	}
	return nil
}

// choose turns the lists into what they name.
func (o *options) choose(l lists) (err error) {
	if o.flat {
		if o.loads, err = choose(flatLoads, l.scenarios); err != nil {
			return fmt.Errorf("--scenarios: %w", err)
		}
		if o.pairs, err = choose(flatPairs(o), l.only); err != nil {
			return fmt.Errorf("--only: %w", err)
		}
		return nil
	}
	if o.scenarios, err = choose(allScenarios, l.scenarios); err != nil {
		return fmt.Errorf("--scenarios: %w", err)
	}
	if o.peers, err = choose(allPeers, l.peers); err != nil {
		return fmt.Errorf("--peers: %w", err)
	}
	o.named = l.peers != ""
	if judged, _ := o.targets(); o.check && len(judged) == 0 {
		return errors.New("--check: no target is about the scenarios and peers that were chosen, so nothing would be judged")
	}
	return nil
}

// inBounds keeps a slip of the finger from loading a machine for a day.
func (o *options) inBounds() error {
	fewest, because := 1, ""
	if o.check { // a verdict needs a median that means something
		if fewest = fullRounds; o.flat {
			fewest = fullFlatRounds
		}
		because = ", since --check gives a verdict"
	}
	for _, b := range []struct {
		flag          string
		value, lo, hi int
		because       string
	}{
		{"rounds", o.rounds, fewest, 100, because},
		{"seconds", o.seconds, 1, 60, ""},
		{"connections", o.connections, 1, 4096, ""},
		{"vhosts", o.vhosts, 2, 20000, ""},
		{"tenants", o.tenants, 2, 20000, ""},
	} {
		if b.value < b.lo || b.value > b.hi {
			return fmt.Errorf("--%s %d: want %d to %d%s", b.flag, b.value, b.lo, b.hi, b.because)
		}
	}
	return nil
}

// command returns the line that repeats a run with these options.
func (o *options) command() string {
	out := "make bench"
	if o.flat {
		out += "-flat"
	}
	out += " ROUNDS=" + strconv.Itoa(o.rounds) + " SECONDS=" + strconv.Itoa(o.seconds)
	add := func(name, value string, given bool) {
		if given {
			out += " " + name + "=" + value
		}
	}
	add("PEERS", nameList(o.peers), o.named)
	if o.flat {
		add("SCENARIOS", nameList(o.loads), len(o.loads) < len(flatLoads))
		add("ONLY", nameList(o.pairs), len(o.pairs) < len(flatPairs(o)))
		add("VHOSTS", strconv.Itoa(o.vhosts), o.vhosts != fullVhosts)
		add("TENANTS", strconv.Itoa(o.tenants), o.tenants != fullTenants)
	} else {
		add("SCENARIOS", nameList(o.scenarios), len(o.scenarios) < len(allScenarios))
	}
	add("CONNECTIONS", strconv.Itoa(o.connections), o.connections != fullConnections)
	return out
}
