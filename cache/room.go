package cache

const (
	firstPiece = 16 << 10
	lastPiece  = 256 << 10
)

// reserve takes memory for a body that comes, if there is any: all of them together get an eighth of what may be stored,
// or 16 MiB.
func (s *Store) reserve(n int64) bool {
	if s.filling.Add(n) <= s.room() {
		return true
	}
	s.filling.Add(-n)
	return false
}

// room is what all bodies on their way may hold together.
func (s *Store) room() int64 { return max(16<<20, s.setting/8) }

// add adds a piece, if there is memory for it.
func (f *Fill) add(size int64) bool {
	if !f.store.reserve(size) {
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
	if f.size > f.most && !f.over {
		f.outgrow()
	}
}

// outgrow gives up storing the body. Whoever has not joined yet asks the backend itself.
func (f *Fill) outgrow() {
	f.over = true
	if f.flight != nil {
		f.flight.close(true)
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
