package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// sampleRequest is a request written with curl's flags.
type sampleRequest struct {
	method, agent, cookie, client, user, referer string
	headers, json, query                         []string
	data                                         []datum
	forms                                        []formPart
	get, head, compressed                        bool
}

func (r *sampleRequest) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVarP(&r.method, "request", "X", "", "`method` (default GET, or POST with data)")
	f.StringArrayVarP(&r.headers, "header", "H", nil, "header field \"`Name: value`\"; \"Name:\" removes a usual one")
	f.VarP(&dataFlag{&r.data, asForm}, "data", "d", "form `data`; @FILE reads a file, @- standard input")
	f.Var(&dataFlag{&r.data, asItIs}, "data-raw", "`data` in which an @ is an @")
	f.Var(&dataFlag{&r.data, asBinary}, "data-binary", "`data` with its line ends; @FILE reads a file, @- standard input")
	f.Var(&dataFlag{&r.data, asEscaped}, "data-urlencode", "form data `[name=]value` that is escaped first; [name]@FILE reads a file")
	f.StringArrayVar(&r.json, "json", nil, "JSON `data`, with the fields for it; @FILE reads a file, @- standard input")
	f.VarP(&formFlag{&r.forms, false}, "form", "F", "part \"`name=value`\" of a multipart form; name=@FILE uploads, name=<FILE reads a file; ;type= and ;filename=")
	f.Var(&formFlag{&r.forms, true}, "form-string", "part \"`name=value`\" in which @, < and ; mean nothing")
	f.BoolVarP(&r.get, "get", "G", false, "put the data into the query")
	f.StringArrayVar(&r.query, "url-query", nil, "add `[name=]value`, escaped, to the query; +text as it is")
	f.BoolVarP(&r.head, "head", "I", false, "the method HEAD")
	f.StringVarP(&r.agent, "user-agent", "A", "Mozilla/5.0 (X11; Linux x86_64) gatehouse-waf-test", "User-Agent `text`")
	f.StringVarP(&r.referer, "referer", "e", "", "Referer `URL`")
	f.StringVarP(&r.cookie, "cookie", "b", "", "Cookie `text`: \"name=value; …\"")
	f.StringVarP(&r.user, "user", "u", "", "`user:password` for Authorization: Basic")
	f.BoolVar(&r.compressed, "compressed", false, "Accept-Encoding as curl sends it")
	f.StringVar(&r.client, "client", "127.0.0.1", "`address` that the request seems to come from")
	f.Var(&dataFlag{&r.data, asForm}, "data-ascii", "as --data")
	hide(f, "data-ascii")
	addIdleFlags(f)
}

// idleFlags are curl's own matters: pasted lines have them, and the request is the
// same without.
var idleFlags = map[string]string{
	"insecure": "k", "silent": "s", "show-error": "S", "include": "i", "show-headers": "", "location": "L", "verbose": "v",
	"globoff": "g", "fail": "f", "no-buffer": "N", "path-as-is": "", "http1.1": "", "http2": "", "http3": "",
	"no-progress-meter": "", "tlsv1.2": "", "tlsv1.3": "", "ipv4": "4", "ipv6": "6",
	"remote-name": "O", "remote-header-name": "J", "retry-all-errors": "",
}

// idleValues are the same, with a value.
var idleValues = map[string]string{
	"max-time": "m", "connect-timeout": "", "write-out": "w", "resolve": "", "connect-to": "", "cacert": "", "cookie-jar": "",
	"proto": "", "proto-redir": "", "proto-default": "", "retry": "", "retry-delay": "", "retry-max-time": "", "max-redirs": "", "limit-rate": "",
}

// otherFlags are curl's, and no part of what can be tried: their short names, and
// what to do instead.
var otherFlags = map[string][2]string{
	"upload-file":   {"T", "use -X PUT --data-binary @FILE"},
	"http1.0":       {"0", "write the request into a file and use --raw"},
	"proxy":         {"x", "the request goes nowhere, so leave it out"},
	"digest":        {"", "write the field with -H 'Authorization: …'"},
	"oauth2-bearer": {"", "write the field with -H 'Authorization: Bearer …'"},
	"time-cond":     {"z", "write the field with -H 'If-Modified-Since: …'"},
	"next":          {"", "try one request after the other"},
}

func addIdleFlags(f *pflag.FlagSet) {
	for name, short := range idleFlags {
		f.BoolP(name, short, false, "without effect")
		hide(f, name)
	}
	for name, short := range idleValues {
		f.StringArrayP(name, short, nil, "without effect")
		hide(f, name)
	}
	for name, other := range otherFlags {
		f.StringP(name, other[0], "", "not supported")
		f.Lookup(name).NoOptDefVal = "given" // whether it has a value is of no interest
		hide(f, name)
	}
}

func hide(f *pflag.FlagSet, name string) { f.Lookup(name).Hidden = true }

// check refuses what curl knows and cannot be tried here.
func (r *sampleRequest) check(cmd *cobra.Command) error {
	for _, name := range slices.Sorted(maps.Keys(otherFlags)) {
		if cmd.Flags().Changed(name) {
			return usagef("--%s is not supported: %s", name, otherFlags[name][1])
		}
	}
	kinds := 0
	for _, given := range []bool{len(r.data) > 0, len(r.json) > 0, len(r.forms) > 0} {
		if given {
			kinds++
		}
	}
	switch {
	case kinds > 1:
		return usagef("-d, --json and -F are three kinds of body: use one")
	case r.get && len(r.forms) > 0:
		return usagef("-G puts -d into the query; a form of -F has no place there")
	case r.head && kinds > 0 && !r.get && r.method == "":
		return usagef("-I has no body: use -G, or name the method with -X")
	case r.user != "" && !strings.Contains(r.user, ":"):
		return usagef("-u %s: want user:password; nobody is asked for one", r.user)
	case cmd.Flags().Changed("cookie") && r.cookie != "" && !strings.Contains(r.cookie, "="):
		return usagef("-b %s: want \"name=value\"; files of cookies are not read", r.cookie)
	}
	return nil
}

// onlyClient refuses flags that describe a request, where source has one.
func (r *sampleRequest) onlyClient(cmd *cobra.Command, source string) (err error) {
	own := map[string]bool{"client": true, "offline": true, "raw": true, "har": true, "only-refused": source == "--har", "output": true, "config": true, "admin": true}
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if err == nil && !own[f.Name] {
			err = usagef("--%s describes a request, and %s has its own", f.Name, source)
		}
	})
	return err
}
