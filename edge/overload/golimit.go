package overload

import (
	"log/slog"
	"math"
	"os"
	"runtime/debug"
)

// goShare is the part of a control group's limit that Go may use, in percent.
// The rest is for what Go does not count: socket buffers of the kernel, the
// binary's pages, and what the runtime needs while it collects.
const goShare = 90

// A Bound is the memory that the process may use.
type Bound struct {
	// Limit is Go's memory limit in bytes; 0: there is none.
	Limit int64
	// Source says where it comes from: "GOMEMLIMIT", or the file of a control group.
	Source string
}

// SetGoLimit sets Go's memory limit to 90 % of what the control groups allow
// (see Limit for root) and returns it. Where the environment has GOMEMLIMIT, the
// user has decided: the runtime has that limit already, and it is returned as it
// is; "off" is none. Without any bound, nothing changes.
//
// A bound that cannot be read is a warning and counts as none: the process runs
// as it would without a guard. A nil Logger discards.
func SetGoLimit(root string, log *slog.Logger) Bound {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	b := findBound(root, log)
	if b.Limit == 0 {
		log.Debug("memory has no limit")
	} else {
		log.Info("memory limit", "bytes", b.Limit, "source", b.Source)
	}
	return b
}

func findBound(root string, log *slog.Logger) Bound {
	if os.Getenv("GOMEMLIMIT") != "" {
		if limit := debug.SetMemoryLimit(-1); limit < math.MaxInt64 {
			return Bound{Limit: limit, Source: "GOMEMLIMIT"}
		}
		return Bound{}
	}
	most, file, err := Limit(root)
	if err != nil {
		log.Warn("the memory limit is unknown", "err", err)
	}
	if most == 0 {
		return Bound{}
	}
	limit := most / 100 * goShare
	debug.SetMemoryLimit(limit)
	return Bound{Limit: limit, Source: file}
}
