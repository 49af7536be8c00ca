package cache

const (
	firstPiece = 16 << 10
	lastPiece  = 256 << 10
)

// ownRoom is what a tenant may always hold of bodies on their way, as long as others have left so much.
const ownRoom = 1 << 20

// room is what all bodies on their way may hold together: an eighth of what may be stored, or 16 MiB. One tenant may hold half
// of it, and the last quarter is for those who hold little, so that no tenant's slow fills keep all others' answers out.
func (s *Store) room() int64 { return max(16<<20, s.setting/8) }

// reserve takes memory for a body of the tenant's that comes, if there is any.
func (s *Store) reserve(t *Tenant, n int64) bool {
	room := s.room()
	own := t.filling.Add(n)
	if own <= room/2 { // who has all that he may have does not get in others' way
		if all := s.filling.Add(n); all <= room-room/4 || own <= ownRoom && all <= room {
			return true
		}
		s.filling.Add(-n)
	}
	t.filling.Add(-n)
	return false
}

// add adds a piece, if there is memory for it.
func (f *Fill) add(size int64) bool {
	if !f.store.reserve(f.tenant, size) {
		return false
	}
	f.reserved += size
	f.pieces = append(f.pieces, make([]byte, 0, size))
	return true
}

// release gives back memory that is held no longer.
func (f *Fill) release(n int64) {
	f.reserved -= n
	f.store.filling.Add(-n)
	f.tenant.filling.Add(-n)
}

// room returns the piece that is read into next: the last one, or a new one. Nil: there is no memory for one, and somebody
// has not had what is held.
func (f *Fill) room() []byte {
	last := f.pieces[len(f.pieces)-1]
	switch {
	case f.over && f.base == f.size: // all have had it
		return f.again()
	case len(last) < cap(last):
		return last
	}
	size := int64(firstPiece)
	if !f.over {
		size = min(2*int64(cap(last)), lastPiece)
	}
	if f.add(size) {
		return f.pieces[len(f.pieces)-1]
	}
	if !f.over {
		f.outgrow()
		if f.forget(); f.base == f.size {
			return f.again()
		}
	}
	return nil
}

// again has the last piece, which all have had, used again. What is not kept needs no large one.
func (f *Fill) again() []byte {
	piece := f.pieces[len(f.pieces)-1][:0]
	if spare := int64(cap(piece)) - firstPiece; spare > 0 {
		piece = make([]byte, 0, firstPiece)
		f.release(spare)
	}
	f.pieces[len(f.pieces)-1] = piece
	return piece
}

// took adds n bytes that were read into piece, the last one.
func (f *Fill) took(piece []byte, n int) {
	f.pieces[len(f.pieces)-1] = piece[:len(piece)+n]
	f.size += int64(n)
	if f.size > f.most && !f.large {
		f.large = true
		f.outgrow()
	}
}

// outgrow gives up storing the body. Whoever has not joined yet asks the backend for one of his own, or with others: that
// there was no memory says nothing of the next one, but that it is too large does.
func (f *Fill) outgrow() {
	f.over = true
	if f.flight != nil {
		f.flight.close(f.large)
	}
}

// join makes one piece of what has come, without spare capacity, which would be held with it.
func (f *Fill) join() {
	if len(f.pieces) == 1 && len(f.pieces[0]) == cap(f.pieces[0]) {
		return
	}
	body := make([]byte, 0, f.size)
	for _, p := range f.pieces {
		body = append(body, p...)
	}
	clear(f.pieces)
	f.pieces = append(f.pieces[:0], body)
	f.release(f.reserved - f.size)
}

// forget drops what nobody will read: of a body that is not kept what all have had. One that was stored is the store's.
func (f *Fill) forget() {
	if f.reserved == 0 || f.pulling || f.expected > 0 || !f.over && f.err == nil { // the last piece is being written to
		return
	}
	at := f.slowest()
	for len(f.pieces) > 1 && f.base+int64(len(f.pieces[0])) <= at {
		f.base += int64(len(f.pieces[0]))
		f.release(int64(cap(f.pieces[0])))
		f.pieces[0] = nil
		f.pieces = f.pieces[1:]
	}
	if at == f.size {
		f.base = f.size // the last piece is used again, see room
		if f.err != nil {
			f.pieces = nil
			f.release(f.reserved)
		}
	}
	f.moved.Broadcast()
}
