package health

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"time"
)

// newProcess names a process of a node, which may have the name of another.
func newProcess(node string) string {
	var nonce [6]byte
	_, _ = rand.Read(nonce[:]) // never fails (crypto/rand)
	return node + "/" + hex.EncodeToString(nonce[:])
}

// nodeOf is the node whose process it is.
func nodeOf(process string) string {
	node, _, _ := strings.Cut(process, "/")
	return node
}

// Standing is how the processes stand that act by the same drains.
type Standing struct {
	Reports map[string]Report // by process, this one among them
	// Behind are the nodes that do not act by the present drains yet.
	Behind []string
}

// InFlight returns how many requests are on their way to what a drain covers, by node: those of all its processes, and of all nodes of that name.
func (s *Standing) InFlight(d *Drain) map[string]int64 {
	out := map[string]int64{}
	for process, report := range s.Reports {
		out[nodeOf(process)] += max(0, report.InFlight[d.Key()]) // what somebody wrote there by hand hides nothing
	}
	return out
}

// Standing asks the nodes that share a Redis how they stand, and what is left of this one's earlier processes.
func (r *Register) Standing(ctx context.Context) (Standing, error) {
	own := r.report() // newer than what was reported
	out := Standing{Reports: map[string]Report{}}
	var err error
	if r.opts.Shared != nil {
		var reports map[string]Report
		var unread map[string]error
		if reports, unread, err = r.opts.Shared.Reports(ctx); err == nil {
			out.Reports = reports
			r.noteUnread(unread)
		}
	}
	out.Reports[r.process] = own
	for process, report := range out.Reports {
		if report.Version != own.Version {
			out.Behind = append(out.Behind, nodeOf(process))
		}
	}
	left, leftErr := readLeavings(r.opts.File)
	digest := digestOf(r.Drains())
	delete(left, r.process)
	for process, report := range left {
		out.Reports[process] = report
		if report.Version != digest {
			out.Behind = append(out.Behind, nodeOf(process))
		}
	}
	slices.Sort(out.Behind)
	out.Behind = slices.Compact(out.Behind)
	return out, errors.Join(err, leftErr)
}

// noteUnread logs once what is left out, since nobody can read it. A process that lives writes its own anew.
func (r *Register) noteUnread(unread map[string]error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for process, err := range unread {
		if r.unsaid[process] == nil {
			r.log.Error("how a node stands cannot be read: it is not counted until it says so anew, or until that is deleted", "err", err)
		}
	}
	r.unsaid = unread
}

// Await waits until all nodes act by the present drains, or ctx ends, and returns who does not.
func (r *Register) Await(ctx context.Context) (behind []string, err error) {
	ticker := time.NewTicker(pollEvery / 10)
	defer ticker.Stop()
	for {
		var s Standing
		if s, err = r.Standing(ctx); err == nil && len(s.Behind) == 0 {
			return nil, nil
		}
		if err == nil {
			behind = s.Behind
		}
		select {
		case <-ctx.Done():
			if len(behind) > 0 {
				err = nil // of the last look, which the end of the time cut short
			}
			return behind, err
		case <-ticker.C:
		}
	}
}

// report is how this process stands.
func (r *Register) report() Report {
	r.mu.Lock()
	out, drains := Report{Version: r.version}, r.state.Drains
	r.mu.Unlock()
	for _, d := range drains {
		if out.InFlight == nil {
			out.InFlight = map[string]int64{}
		}
		out.InFlight[d.Key()] = r.opts.InFlight(d)
	}
	return out
}

// shareReport says how this process stands, if that is news.
func (r *Register) shareReport(ctx context.Context) error {
	report := r.report()
	if len(report.InFlight) == 0 && report.Version == r.reportedThat && time.Since(r.wasReported) < reportEvery {
		return nil
	}
	if err := r.opts.Shared.Report(ctx, r.process, report); err != nil {
		return err
	}
	r.wasReported, r.reportedThat = time.Now(), report.Version
	return nil
}

// withdraw takes the report back when the process ends: nobody is to wait for it.
func (r *Register) withdraw(ctx context.Context) {
	if r.wasReported.IsZero() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseBeat)
	defer cancel()
	if err := r.opts.Shared.Withdraw(ctx, r.process); err != nil {
		r.log.Debug("report not taken back: it ends by itself", "err", err)
	}
}
