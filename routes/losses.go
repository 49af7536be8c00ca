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
	f.log.Error("most documents are gone from the source at once: not believed, their last good form goes on serving",
		"kind", kind.String(), "absent", len(gone), "of", total, "to accept", f.toAccept())
}

// toAccept is how what is held is given up.
func (f *Follower) toAccept() string {
	if f.opts.AcceptLoss == "" {
		return "restart; documents that come back act at once"
	}
	return "SET " + f.opts.AcceptLoss + " 1"
}

// doubts reports whether the absence of a document is not believed though few are absent.
func (b *Batch) doubts(key Key) bool { return !b.Trusted && b.Doubt != nil && b.Doubt(key) }

// believed returns the changes of a batch without the removals that are not believed, and holds what those would remove, with f.mu held.
// What has no good form to be served by is no loss.
func (f *Follower) believed(table *Table, b *Batch) []Change {
	if b.Doubt == nil || b.Trusted {
		return b.Changes
	}
	var doubted []Change
	out := make([]Change, 0, len(b.Changes))
	for _, c := range b.Changes {
		if c.Gone() && table.serves(c.Key) && b.doubts(c.Key) {
			doubted = append(doubted, c)
			continue
		}
		out = append(out, c)
	}
	f.holdDoubted(doubted)
	return out
}

// serves reports whether the table has a good form of the document.
func (t *Table) serves(key Key) bool {
	if key.Kind == KindTenant {
		doc, _, _ := t.Tenant(key.Name)
		return doc != nil
	}
	r := t.Vhost(key.Name)
	return r != nil && r.Vhost != nil
}

// mostDoubted bounds the names in one line of the log.
const mostDoubted = 10

// holdDoubted holds documents that the source may have deleted by itself, with f.mu held.
func (f *Follower) holdDoubted(gone []Change) {
	var names []string
	for _, c := range gone {
		if _, held := f.held[c.Key]; held {
			continue
		}
		f.held[c.Key] = struct{}{}
		f.unsaved.add(c.Key)
		names = append(names, c.Key.String())
	}
	if len(names) > 0 {
		f.log.Error("documents are gone while the source makes room by deleting: not believed, their last good form goes on serving",
			"number", len(names), "documents", names[:min(len(names), mostDoubted)], "to accept", f.toAccept())
	}
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
