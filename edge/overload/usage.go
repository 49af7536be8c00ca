package overload

import "runtime/metrics"

// usage is what the runtime knows of its memory, in bytes.
type usage struct {
	mapped  int64  // all that is mapped and was not given back to the system
	objects int64  // heap objects, dead ones too until they are swept
	live    int64  // heap objects that the last collection found in use
	other   int64  // stacks and whatever else is no heap
	cycles  uint64 // collections so far
}

// lost is the part of the limit that the runtime may go beyond it before what is
// mapped counts: it lags behind for a moment when much is allocated at once.
const lost = 0.04

// used is what cannot be had back; doc.go says why it is counted so.
func (u usage) used(limit int64) int64 {
	certain := u.live + u.other
	if float64(u.mapped) > float64(limit)*(1+lost) {
		return max(certain, u.mapped)
	}
	return certain
}

// possible is used if there were no garbage at all.
func (u usage) possible() int64 { return u.objects + u.other }

// A reader reads the runtime's figures. It is not safe for concurrent use.
type reader struct{ samples []metrics.Sample }

func newReader() *reader {
	r := &reader{}
	for _, name := range []string{
		"/memory/classes/total:bytes", "/memory/classes/heap/released:bytes", "/memory/classes/heap/free:bytes",
		"/memory/classes/heap/unused:bytes", "/memory/classes/heap/objects:bytes",
		"/gc/heap/live:bytes", "/gc/cycles/total:gc-cycles",
	} {
		r.samples = append(r.samples, metrics.Sample{Name: name})
	}
	return r
}

// read takes some microseconds and does not stop the world.
func (r *reader) read() usage {
	metrics.Read(r.samples)
	value := func(i int) int64 { return int64(r.samples[i].Value.Uint64()) }
	total, released, free, unused, objects := value(0), value(1), value(2), value(3), value(4)
	return usage{
		mapped:  total - released,
		objects: objects,
		live:    value(5),
		other:   total - released - free - unused - objects,
		cycles:  r.samples[6].Value.Uint64(),
	}
}
