package routes

// hold keeps documents whose absence is not believed, with f.mu held.
func (f *Follower) hold(kind Kind, gone []Change, total int) {
	before := len(f.held)
	for _, c := range gone {
		f.held[c.Key] = struct{}{}
	}
	if f.toldHeld && len(f.held) == before {
		return // said already, by this process
	}
	f.toldHeld = true
	accept := "SET " + f.opts.AcceptLoss + " 1"
	if f.opts.AcceptLoss == "" {
		accept = "restart; documents that come back act at once"
	}
	f.log.Error("most documents are gone from the source at once: not believed, their last good form goes on serving",
		"kind", kind.String(), "absent", len(gone), "of", total, "to accept", accept)
}

// Holds reports whether a document is absent from the source, and that is not believed: its last good form is served.
func (f *Follower) Holds(key Key) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, held := f.held[key]
	return held
}

// losses counts how many documents of a kind are absent, in each part of the source.
type losses struct {
	places func(Key) [2]int // as Batch.Places
	parts  map[losable]*struct{ absent, total int }
}

type losable struct {
	kind       Kind
	at, nthKey int
}

func (l *losses) count(key Key, there bool) {
	var places [2]int
	if l.places != nil {
		places = l.places(key)
	}
	if l.parts == nil {
		l.parts = map[losable]*struct{ absent, total int }{}
	}
	for i, at := range places {
		id := losable{key.Kind, at, i}
		n := l.parts[id]
		if n == nil {
			n = new(struct{ absent, total int })
			l.parts[id] = n
		}
		n.total++
		if !there {
			n.absent++
		}
	}
}

// most reports whether more than half, and more than one, of the documents of a
// kind are absent in any part.
func (l *losses) most() bool {
	for _, n := range l.parts {
		if n.absent > 1 && 2*n.absent > n.total {
			return true
		}
	}
	return false
}
