package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"gatehouse/admin"
	"gatehouse/routes"
)

// A judged is what became of one request of a recording.
type judged struct {
	Entry  int    `json:"entry"` // the number in the recording, from 1
	Method string `json:"method"`
	URL    string `json:"url"`
	Error  string `json:"error,omitempty"` // why it could not be tried
	admin.InspectResult
}

// refusedInBlock reports whether the mode block would refuse it.
func (j *judged) refusedInBlock() bool { return j.Error == "" && j.BlockStatus != 0 }

// A judgedRecording is a recording that was judged.
type judgedRecording struct {
	list    []judged
	foreign map[string]int // requests by host that no vhost answers for
	other   int            // entries that are no http:// or https://
	bodies  int            // requests whose body is not in the recording
	cookies bool           // one of them has a Cookie
	entries int
}

// judgeRecording judges a recording. It is exit 1 if the mode block would refuse anything
// of it, or if nothing of it could be tried.
func (s *session) judgeRecording(ctx context.Context, judge inspector, t *trial) error {
	r := judgedRecording{foreign: map[string]int{}}
	err := readRecording(t.recording, s.In, func(h harRequest) error {
		r.entries++
		return r.try(ctx, judge, h, t.sample.client)
	})
	if err != nil {
		return err
	}
	refused, failed := 0, 0
	for i := range r.list {
		if r.list[i].refusedInBlock() {
			refused++
		}
		if r.list[i].Error != "" {
			failed++
		}
	}
	if err := s.printJudged(&r, t.refused); err != nil {
		return err
	}
	if refused > 0 || failed > 0 || len(r.list) == 0 {
		return errFailed
	}
	return nil
}

// try judges one request. An error ends it: the node is away.
func (r *judgedRecording) try(ctx context.Context, judge inspector, h harRequest, client string) error {
	in, missing, err := h.build(client)
	_, authority, _, urlErr := routes.SplitURL(in.URL)
	if urlErr != nil {
		r.other++
		return nil
	}
	host, _ := routes.CanonicalHost(authority) // SplitURL has checked it
	if r.foreign[host] > 0 {
		r.foreign[host]++
		return nil
	}
	one := judged{Entry: r.entries, Method: cmp.Or(in.Method, "GET"), URL: in.URL}
	one.Matches = []admin.Match{}
	if err == nil {
		one.InspectResult, err = judge(ctx, in)
	}
	_, away := errors.AsType[awayError](err)
	switch {
	case errors.Is(err, admin.ErrNoVhost):
		r.foreign[host]++
		return nil
	case away || ctx.Err() != nil:
		return err
	case err != nil:
		one.Error = err.Error()
	}
	if missing {
		r.bodies++
	}
	r.cookies = r.cookies || slices.ContainsFunc(in.Headers, func(f [2]string) bool { return f[0] == "Cookie" })
	r.list = append(r.list, one)
	return nil
}

// printJudged prints a line for each request and the sums.
func (s *session) printJudged(r *judgedRecording, onlyRefused bool) error {
	list := r.list
	if onlyRefused {
		list = slices.DeleteFunc(slices.Clone(list), func(j judged) bool { return j.Error == "" && !j.refusedInBlock() })
	}
	if s.json() {
		if list == nil {
			list = []judged{}
		}
		for _, line := range r.notes() {
			fmt.Fprintln(s.Err, line)
		}
		return s.printJSON(list)
	}
	if len(list) > 0 {
		rows := make([][]string, 0, len(list))
		for i := range list {
			rows = append(rows, list[i].row())
		}
		if err := s.printTable([]string{"VERDICT", "IN BLOCK", "SCORE", "METHOD", "URL", "RULES"}, rows); err != nil {
			return err
		}
		fmt.Fprintln(s.Out)
	}
	for _, line := range append([]string{r.sums()}, r.notes()...) {
		fmt.Fprintln(s.Out, line)
	}
	return nil
}

func (j *judged) row() []string {
	if j.Error != "" {
		return []string{"error", "-", "-", j.Method, shorten(j.URL), shorten(j.Error)}
	}
	inBlock := "pass"
	if j.BlockStatus != 0 {
		inBlock = strconv.Itoa(j.BlockStatus)
	}
	verdict := j.Verdict
	if j.Mode == "off" && j.Reason == "" {
		verdict = "off"
	}
	return []string{verdict, inBlock, fmt.Sprintf("%d/%d", j.Score, j.Threshold), j.Method, shorten(j.URL), j.why()}
}

// why names the rules, each once, with their targets, and what else is to know.
func (j *judged) why() string {
	var ids []int
	targets := map[int][]string{}
	for _, m := range j.Matches {
		if !slices.Contains(ids, m.ID) {
			ids = append(ids, m.ID)
		}
		if !slices.Contains(targets[m.ID], m.Target) {
			targets[m.ID] = append(targets[m.ID], m.Target)
		}
	}
	var parts []string
	for _, id := range ids {
		parts = append(parts, strings.TrimSpace(fmt.Sprintf("%d %s", id, strings.Join(targets[id], " "))))
	}
	if j.Reason != "" {
		parts = append(parts, j.Reason)
	}
	if j.Cut {
		parts = append(parts, "(longer than inspect_body)")
	}
	return dash(shorten(strings.Join(parts, ", ")))
}

// sums says how many there are of each verdict.
func (r *judgedRecording) sums() string {
	count := map[string]int{}
	refused := 0
	for i := range r.list {
		count[r.list[i].row()[0]]++
		if r.list[i].refusedInBlock() {
			refused++
		}
	}
	var each []string
	for _, verdict := range []string{"block", "detect", "pass", "off", "error"} {
		if n := count[verdict]; n > 0 {
			each = append(each, fmt.Sprintf("%d %s", n, verdict))
		}
	}
	if each == nil {
		return fmt.Sprintf("none of %s could be tried", plural(r.entries, "request"))
	}
	return fmt.Sprintf("%s: %s; the mode block refuses %d", plural(len(r.list), "request"), strings.Join(each, ", "), refused)
}

// notes says what was left out, and what the recording lacks.
func (r *judgedRecording) notes() (out []string) {
	if len(r.foreign) > 0 {
		hosts := slices.SortedFunc(maps.Keys(r.foreign), func(a, b string) int {
			return cmp.Or(r.foreign[b]-r.foreign[a], cmp.Compare(a, b))
		})
		sum, named := 0, []string{}
		for _, host := range hosts {
			sum += r.foreign[host]
			if len(named) < 5 {
				named = append(named, fmt.Sprintf("%s %d", printable(host), r.foreign[host]))
			}
		}
		if more := len(hosts) - len(named); more > 0 {
			named = append(named, fmt.Sprintf("%d more", more))
		}
		out = append(out, fmt.Sprintf("left out: %s to hosts that no vhost answers for (%s)", plural(sum, "request"), strings.Join(named, ", ")))
	}
	if r.other > 0 {
		out = append(out, fmt.Sprintf("left out: %s of other schemes than http and https", plural(r.other, "entry")))
	}
	if r.bodies > 0 {
		out = append(out, fmt.Sprintf("note: the recording lacks the body of %s", plural(r.bodies, "request")))
	}
	if len(r.list) > 0 && !r.cookies {
		out = append(out, "note: there is no cookie in it; browsers leave them out unless told to save sensitive data")
	}
	return out
}

func plural(n int, one string) string {
	switch {
	case n == 1:
		return "1 " + one
	case strings.HasSuffix(one, "y"):
		return fmt.Sprintf("%d %sies", n, strings.TrimSuffix(one, "y"))
	}
	return fmt.Sprintf("%d %ss", n, one)
}
