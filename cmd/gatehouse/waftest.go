package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"gatehouse/admin"
)

// A trial is what waf test is asked to try.
type trial struct {
	sample    sampleRequest
	raw       string // --raw
	recording string // --har
	refused   bool   // --only-refused
	offline   bool
}

func newWAFTest(s *session) *cobra.Command {
	var t trial
	cmd := &cobra.Command{
		Use: "test URL | --raw FILE [URL] | --har FILE", Short: "Say what the WAF would do with requests, and why",
		Long: `Say what the WAF would do with a request, and why. It is judged with the rules of
the vhost that its host selects, read as at the door, and goes nowhere.

A request is written with curl's flags: what a browser copies "as cURL" can be pasted
behind "gatehouse waf test". Flags that only concern curl's connection or output are
taken and change nothing: --insecure, --silent, --location, --include, --verbose and
the like.

--raw FILE has one request as it goes over the wire. Lines may end without CR, chunks
are decoded, Content-Length follows from the body. A URL (https://HOST) selects
another vhost than its Host.

--har FILE has a browser's recording of a visit: each request to a host of this node
is judged, the others are counted. It tells before a site goes from detect to block
what its visitors would be refused.

Exit status: 0 it would pass (of one request also in the mode detect); 1 it would be
blocked, or could not be tried; of a recording, one request or more would be blocked
in the mode block, whatever the mode is now; 2 wrong usage.`,
		Example: "  gatehouse waf test \"https://www.shop.test/search?q=' OR 1=1--\"\n" +
			"  gatehouse waf test -X POST -d 'comment=<script>alert(1)</script>' https://www.shop.test/post\n" +
			"  gatehouse waf test --offline -c gatehouse.yaml https://www.shop.test/.git/config\n" +
			"  gatehouse waf test --raw request.txt https://staging.shop.test\n" +
			"  gatehouse waf test --har visit.har --only-refused",
		Args: t.args, ValidArgsFunction: cobra.NoFileCompletions,
	}
	t.sample.addFlags(cmd)
	f := cmd.Flags()
	f.BoolVar(&t.offline, "offline", false, "without a node: with the routes and rules that the process settings name")
	f.StringVar(&t.raw, "raw", "", "`FILE` with one request as it goes over the wire; - is standard input")
	f.StringVar(&t.recording, "har", "", "`FILE` with a browser's recording (HAR); - is standard input")
	f.BoolVar(&t.refused, "only-refused", false, "of a recording, list only what would be refused in the mode block")
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return s.runTrial(cmd, &t, args) }
	return cmd
}

// args checks their number; a pasted line may begin with the word curl.
func (t *trial) args(cmd *cobra.Command, args []string) error {
	if t.raw == "" && t.recording == "" && len(args) > 0 && args[0] == "curl" {
		args = args[1:]
	}
	given := cmd.Flags().Changed
	switch {
	case given("raw") && given("har"):
		return usagef("--raw and --har are two sources: name one")
	case given("raw") && t.raw == "", given("har") && t.recording == "":
		return usagef("--raw and --har want a FILE, or - for standard input")
	case given("raw"):
		if err := t.sample.onlyClient(cmd, "--raw"); err != nil {
			return err
		}
		return cobra.MaximumNArgs(1)(cmd, args)
	case given("har"):
		if err := t.sample.onlyClient(cmd, "--har"); err != nil {
			return err
		}
		if len(args) > 0 {
			return usagef("--har takes no URL (%s): the recording names its own", args[0])
		}
		return nil
	case t.refused:
		return usagef("--only-refused is for --har")
	}
	if err := t.sample.check(cmd); err != nil {
		return err
	}
	return cobra.ExactArgs(1)(cmd, args)
}

func (s *session) runTrial(cmd *cobra.Command, t *trial, args []string) error {
	var in admin.InspectRequest
	var err error
	target := ""
	if len(args) > 0 {
		target = args[len(args)-1]
	}
	switch {
	case t.recording != "":
	case t.raw != "":
		in, err = readRaw(t.raw, target, s.In)
		in.Client = t.sample.client
	default:
		in, err = t.sample.build(target, s.In)
	}
	if err != nil {
		return err
	}
	judge, end, err := s.openInspector(cmd.Context(), t.offline)
	if err != nil {
		return err
	}
	if t.recording != "" {
		err = s.judgeRecording(cmd.Context(), judge, t)
	} else {
		err = s.tryOne(cmd.Context(), judge, in)
	}
	return errors.Join(err, end())
}

// An awayError says that no node answered: a further request need not be tried.
type awayError struct{ error }

// openInspector returns what judges: a running node, or its own rules and routes.
func (s *session) openInspector(ctx context.Context, offline bool) (inspector, func() error, error) {
	if !offline {
		c, err := s.newClient(clientTimeout)
		if err != nil {
			return nil, nil, err
		}
		return func(ctx context.Context, in admin.InspectRequest) (out admin.InspectResult, err error) {
			err = c.do(ctx, http.MethodPost, "/waf/test", in, &out)
			refused, said := errors.AsType[*nodeError](err)
			switch {
			case said && refused.status == http.StatusNotFound && strings.HasPrefix(refused.Failure.Error, admin.ErrNoVhost.Error()):
				err = noVhost{err}
			case err != nil && !said:
				err = awayError{err}
			}
			return out, err
		}, func() error { return nil }, nil
	}
	cfg, err := s.loadConfig(nil)
	if err != nil {
		s.printProblems(err)
		return nil, nil, errFailed
	}
	if offlineInspect == nil {
		return nil, nil, errors.New("this binary was built without a WAF")
	}
	own, err := offlineInspect(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	return own.inspect, own.close, nil
}

func (s *session) tryOne(ctx context.Context, judge inspector, in admin.InspectRequest) error {
	out, err := judge(ctx, in)
	if err != nil {
		return err
	}
	if s.json() {
		err = s.printJSON(out)
	} else {
		err = s.printInspect(out)
	}
	if err == nil && out.Verdict == admin.VerdictBlock {
		return errFailed
	}
	return err
}

func (s *session) printInspect(r admin.InspectResult) error {
	err := s.printTable(nil, [][]string{
		{"vhost", r.Vhost},
		{"tenant", cmp.Or(r.Tenant, "-")},
		{"mode", r.Mode + ", paranoia " + strconv.Itoa(r.Paranoia)},
		{"profile", strings.Join(append([]string{or(r.Profile, "complete")}, r.Apps...), ", ")},
		{"score", fmt.Sprintf("%d of %d", r.Score, r.Threshold)},
	})
	if err != nil {
		return err
	}
	if len(r.Matches) > 0 {
		if err := s.printMatches(r.Matches); err != nil {
			return err
		}
		fmt.Fprintln(s.Out)
	}
	if r.Cut {
		fmt.Fprintln(s.Out, "note: the body is longer than inspect_body; the rest was not looked at")
	}
	_, err = fmt.Fprintln(s.Out, verdictLine(r))
	return err
}

func verdictLine(r admin.InspectResult) string {
	status := cmp.Or(r.BlockStatus, r.Status, http.StatusForbidden)
	switch {
	case r.Verdict == admin.VerdictBlock && r.Reason != "":
		return fmt.Sprintf("block: the client would get %d, in any mode: %s", cmp.Or(r.Status, status), printable(r.Reason))
	case r.Verdict == admin.VerdictBlock:
		return fmt.Sprintf("block: the client would get %d", cmp.Or(r.Status, status))
	case r.Verdict == admin.VerdictDetect:
		return fmt.Sprintf("detect: it would be blocked (%d) if the mode were block; now it passes and is logged", status)
	case r.Mode == "off" && r.Profile == "none":
		return "pass: the profile none lets no rule run, and there are no own rules: nothing is inspected in any mode"
	case r.Mode == "off" && r.BlockStatus != 0:
		return fmt.Sprintf("pass: the WAF is off for this vhost; in the mode block the client would get %d", status)
	case r.Mode == "off":
		return "pass: the WAF is off for this vhost; it would pass in the mode block, too"
	case r.BlockStatus != 0:
		return fmt.Sprintf("pass: but in the mode block the client would get %d", status)
	}
	return "pass"
}
