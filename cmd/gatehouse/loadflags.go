package main

import (
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/loadtest"
)

// loadFlags are the flags of the verb `loadtest`.
type loadFlags struct {
	plan     loadtest.Plan
	rate     string
	method   string
	headers  []string
	data     string
	expect   statuses
	ca       string
	scenario string
	slos     []string
	json     string
	html     string
}

func (f *loadFlags) add(cmd *cobra.Command) {
	p, fs := &f.plan, cmd.Flags()
	fs.StringVar(&f.rate, "rate", "", "open model: `N` planned requests a second (default: closed)")
	fs.IntVarP(&p.Connections, "connections", "c", 64, "`N` clients, each with its connection; open: so many are busy at most")
	fs.IntVar(&p.Streams, "streams", 1, "`N` requests under way on each HTTP/2 connection")
	fs.DurationVarP(&p.Duration, "duration", "d", 10*time.Second, "`TIME` to measure, at most 1h")
	fs.Int64VarP(&p.Requests, "requests", "n", 0, "end after `N` measured requests as well")
	fs.DurationVar(&p.Warmup, "warmup", time.Second, "`TIME` of load before the measuring, not counted in -d; with -n none unless given")
	fs.DurationVar(&p.Timeout, "timeout", 10*time.Second, "`TIME` that one request may take")
	fs.StringVar(&p.HTTP, "http", "1.1", "`VERSION` of HTTP: 1.1 or 2 (3: not supported yet)")
	fs.StringVar(&p.TLS, "tls", "full", "`HANDSHAKE` of new connections: full or resumed")
	fs.StringVar(&p.Curve, "curve", "", "`NAME` of the key exchange: "+strings.Join(loadtest.Curves(), ", ")+" (default: Go's choice)")
	fs.BoolVar(&p.Handshakes, "handshakes", false, "open and close connections, send nothing")
	fs.BoolVar(&p.NoKeepAlive, "no-keepalive", false, "a connection for each request")
	fs.StringVar(&f.ca, "ca", "", "`FILE` of certificates to trust, PEM (default: those of the system)")
	fs.BoolVar(&p.Insecure, "insecure", false, "take any certificate")
	fs.StringVar(&p.Connect, "connect", "", "`HOST:PORT` to connect to, whatever the URL says; its host stays server name and Host")
	fs.StringVarP(&f.method, "method", "X", "", "`METHOD` (default: GET, with --data POST)")
	fs.StringArrayVarP(&f.headers, "header", "H", nil, "`FIELD` to send, 'Name: value'; 'Name:' sends none; repeatable")
	fs.StringVar(&f.data, "data", "", "`TEXT` to send as body, or @FILE")
	fs.Var(&f.expect, "expect", "`STATUSES` that are good, by comma: 404, 200-299, 2xx (default: 200-399)")
	fs.StringVar(&f.scenario, "scenario", "", "YAML `FILE` with a mix of requests")
	fs.StringArrayVar(&f.slos, "slo", nil, "`LEVEL` that must be met, see above; repeatable")
	fs.StringVar(&f.json, "json", "", "write the result to `FILE` as JSON, too; -: standard output, and the text goes to standard error")
	fs.StringVar(&f.html, "html", "", "write the result to `FILE` as an HTML page, too; -: as with --json")
	fs.BoolVar(&p.Public, "i-own-this", false, "the targets may be outside this machine: they are mine")
	for flag, types := range map[string][]string{"ca": {"pem", "crt"}, "scenario": {"yaml", "yml"}} {
		_ = cmd.MarkFlagFilename(flag, types...) // fails only for a flag that is not there
	}
	for flag, values := range map[string][]string{"http": {"1.1", "2"}, "tls": {"full", "resumed"}, "curve": loadtest.Curves()} {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
}
