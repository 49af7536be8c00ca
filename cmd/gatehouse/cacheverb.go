package main

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/admin"
	"gatehouse/routes"
)

func newCacheCommand(s *session) *cobra.Command {
	cmd := &cobra.Command{Use: "cache", Short: "Purge what is stored, and see what the cache does for each vhost"}
	s.addNodeFlags(cmd)
	return group(cmd, newCachePurge(s), newCacheStats(s))
}

func newCachePurge(s *session) *cobra.Command {
	var r admin.PurgeRequest
	wait := admin.DefaultPurgeWait
	cmd := &cobra.Command{
		Use:   "purge (--url URL | --prefix URL | --tag TAG --host HOST | --host HOST | --tenant T | --all)",
		Short: "Have what is stored not be served any more, on all nodes",
		Long: `Have stored answers not be served any more, by this node and by all that share its Redis,
and print what each of them says. A URL is purged in all its forms: by both schemes, in
every variant, for every cookie and device that counts; another query is another URL.
Tags are those of Surrogate-Key, Cache-Tag and xkey.

With --soft, answers become stale: they may still be validated, and served while they
are, or while the backend fails, where the vhost or the answer allows that.

Exit 1: a node did not answer in time. It purges as soon as it reaches Redis again.`,
		Example: "  gatehouse cache purge --url https://www.shop.test/news\n" +
			"  gatehouse cache purge --tag article-17 --host www.shop.test --soft\n" +
			"  gatehouse cache purge --tenant shop --wait 10s -o json",
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&r.URL, "url", "", "this `URL`, as its vhost counts the query")
	f.StringVar(&r.Prefix, "prefix", "", "all URLs of the same host that begin as this `URL` does")
	f.StringVar(&r.Tag, "tag", "", "what has this `tag`, of the vhost that answers for --host and its path vhosts, or of --tenant")
	f.StringVar(&r.Host, "host", "", "all of this `host`, its path vhosts too; by the name of a vhost: all of that, its aliases too")
	f.StringVar(&r.Tenant, "tenant", "", "all of this `tenant`")
	f.BoolVar(&r.All, "all", false, "everything")
	f.BoolVar(&r.Soft, "soft", false, "make it stale in the place of unusable")
	f.DurationVar(&wait, "wait", wait, "longest wait for the nodes' answers; 0s: none")
	for name, complete := range map[string]completer{"host": s.completeHost, "tenant": s.completeTenant, "url": s.completeURL, "prefix": s.completeURL} {
		if err := cmd.RegisterFlagCompletionFunc(name, complete); err != nil {
			panic(err) // the flag was added above
		}
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		for _, name := range []string{"url", "prefix", "tag", "host", "tenant"} {
			if f.Changed(name) && strings.TrimSpace(f.Lookup(name).Value.String()) == "" { // a script's variable that is not set must not purge more
				return usagef("--%s is empty: nothing is purged", name)
			}
		}
		if err := checkPurgeFlags(&r, wait); err != nil {
			return err
		}
		most := routes.Duration(wait)
		r.Wait, r.By = &most, caller(s.Environ)
		c, err := s.newClient(wait + clientTimeout)
		if err != nil {
			return err
		}
		var out admin.PurgeResult
		if err := c.do(cmd.Context(), http.MethodPost, "/cache/purge", r, &out); err != nil {
			return err
		}
		return s.printPurge(&out, wait)
	}
	return cmd
}

// checkPurgeFlags refuses what is no purge: a mistake in the command line.
func checkPurgeFlags(r *admin.PurgeRequest, wait time.Duration) error {
	given := 0
	for _, is := range []bool{r.URL != "", r.Prefix != "", r.Host != "", r.Tenant != "", r.All} {
		if is {
			given++
		}
	}
	switch {
	case r.Tag != "" && r.Host == "" && r.Tenant == "":
		return usagef("--tag is that of a vhost's or a tenant's answers: say which by --host HOST or --tenant T")
	case given == 0:
		return usagef("say what to purge: --url URL, --prefix URL, --tag TAG --host HOST, --host HOST, --tenant T or --all")
	case given > 1 || r.Tag != "" && given == 1 && r.Host == "" && r.Tenant == "":
		return usagef("say what to purge by one of --url, --prefix, --host, --tenant and --all")
	case wait < 0 || wait > admin.MaxPurgeWait:
		return usagef("--wait %v: want 0s to %v", wait, admin.MaxPurgeWait)
	}
	if r.Tenant != "" {
		if err := routes.CheckTenantName(r.Tenant); err != nil {
			return usagef("--tenant: %w", err)
		}
	}
	for flag, u := range map[string]string{"url": r.URL, "prefix": r.Prefix} {
		if u == "" {
			continue
		}
		if _, _, _, err := routes.SplitURL(u); err != nil {
			return usagef("--%s %s: %w", flag, u, err)
		}
	}
	return nil
}

// printPurge prints each node's answer. One that is late, or a Redis that did not take the purge, is a failure.
func (s *session) printPurge(r *admin.PurgeResult, wait time.Duration) error {
	if s.json() {
		if err := s.printJSON(r); err != nil {
			return err
		}
	} else {
		done := "purged"
		if r.Soft {
			done = "made stale"
		}
		fmt.Fprintf(s.Out, "%s: %s\n", done, printable(r.Purged))
		for _, a := range r.Nodes {
			switch {
			case a.Purged:
				fmt.Fprintf(s.Out, "%s: %s in %s\n", printable(a.Node), done, milliseconds(a.Seconds))
			case a.Silent >= 10:
				fmt.Fprintf(s.Out, "%s: no answer within %v; it was last heard of %.0f s ago, and purges when it is back\n", printable(a.Node), wait, a.Silent)
			default:
				fmt.Fprintf(s.Out, "%s: no answer within %v\n", printable(a.Node), wait)
			}
		}
		if len(r.Nodes) == 0 && r.Problem == "" {
			fmt.Fprintf(s.Out, "published as %s; no answer was waited for\n", r.ID)
		}
		if r.Problem != "" {
			fmt.Fprintf(s.Err, "gatehouse: %s\n", printable(r.Problem))
		}
	}
	if r.Problem != "" || r.Late() > 0 {
		return errFailed
	}
	return nil
}

func milliseconds(seconds float64) string {
	if seconds < 0.001 {
		return "less than 1 ms"
	}
	return strconv.FormatFloat(seconds*1000, 'f', 0, 64) + " ms"
}

// caller is who runs this verb, as far as the environment says; for the node's log.
func caller(environ []string) string {
	for _, name := range []string{"SUDO_USER", "USER", "LOGNAME"} {
		i := slices.IndexFunc(environ, func(e string) bool { return strings.HasPrefix(e, name+"=") })
		if i >= 0 && len(environ[i]) > len(name)+1 {
			return environ[i][len(name)+1:]
		}
	}
	return "uid " + strconv.Itoa(os.Getuid())
}

func newCacheStats(s *session) *cobra.Command {
	return &cobra.Command{
		Use: "stats [HOST]", Short: "Print what the cache of one node does for each vhost",
		Long: `Print what the cache of one node has done for each vhost since the node was started, or
for the one that answers for HOST.

HIT is how many of 100 requests no backend was asked for; BYPASS those that the cache did not
deal with: of another method, or past it by the vhost's settings. COLLAPSED are those that got
the answer to an equal one; HIT-FOR-MISS those that did not wait for an equal one, since its
answer could not be shared a moment ago. SAVED is bytes of bodies that no backend sent.`,
		Example: "  gatehouse cache stats\n  gatehouse cache stats www.shop.test -o json",
		Args:    cobra.MaximumNArgs(1), ValidArgsFunction: s.completeVhost,
		RunE: func(cmd *cobra.Command, args []string) error {
			var stats admin.CacheStats
			if err := s.ask(cmd.Context(), http.MethodGet, ofHost("/cache/stats", args), nil, &stats); err != nil {
				return err
			}
			if s.json() {
				return s.printJSON(stats)
			}
			return s.printStats(&stats)
		},
	}
}

func (s *session) printStats(stats *admin.CacheStats) error {
	rows := make([][]string, 0, len(stats.Vhosts))
	count := func(n uint64) string { return strconv.FormatUint(n, 10) }
	for i := range stats.Vhosts {
		f := &stats.Vhosts[i]
		hit := "-"
		if f.Total() > 0 {
			hit = strconv.FormatFloat(f.HitPercent, 'f', 1, 64) + " %"
		}
		rows = append(rows, []string{
			f.Vhost, dash(f.Tenant), hit, count(f.Total()), count(f.Requests["bypass"]), byteCount(f.Bytes), strconv.FormatInt(f.Entries, 10), count(f.Evictions),
			count(f.Requests["collapsed"]), count(f.HitForMiss), byteCount(int64(f.SavedBytes)),
		})
	}
	return s.printTable([]string{"VHOST", "TENANT", "HIT", "REQUESTS", "BYPASS", "STORED", "ENTRIES", "EVICTED", "COLLAPSED", "HIT-FOR-MISS", "SAVED"}, rows)
}

// byteCount writes a number of bytes with three digits or so.
func byteCount(n int64) string {
	const units = "KMGT"
	if n < 1024 {
		return strconv.FormatInt(n, 10) + " B"
	}
	size, unit := float64(n)/1024, 0
	for size >= 1023.95 && unit < len(units)-1 {
		size, unit = size/1024, unit+1
	}
	return strconv.FormatFloat(size, 'f', 1, 64) + " " + units[unit:unit+1] + "iB"
}
