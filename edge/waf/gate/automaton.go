package gate

// An automaton finds which of many words stand in a text, in one look at each of its bytes, whatever the case of
// its ASCII letters. It is never changed once made.
//
// It is that of Aho and Corasick: a state is the longest end of what was read that begins a word. Where it leads
// to a beginning of at most two bytes, these two alone say to which one: such steps stand once, in a table by the
// byte and the one before. What is left is few for each state and lies in one array, a cell for each step at
// the state's place plus the byte's class; states lie over one another, and a cell says whose it is.
type automaton struct {
	classes [256]uint8 // bytes that no word tells apart are one
	columns int
	short   []uint32 // by the class before and that of the byte: a step
	cells   []cell
	words   [][]uint32 // by the number in a state's first cell: the words that end in it
	count   int        // of all words
}

// A cell is a step of the state that lies at owner. The first cell of a state that ends words is none: it holds
// the number of their list.
type cell struct{ owner, step uint32 }

// A step is where a state lies, with this bit if words end in it.
const ends = 1 << 31

const (
	firstCell = 0 // no byte has this class
	noWord    = 1 // the class of the bytes that no word has
)

// hits is what a scan found. The zero value is ready; one that is used again allocates nothing. It belongs to
// one goroutine at a time.
type hits struct {
	seen []uint64 // by a list's number
	list []uint32 // the lists that are seen
}

// reset forgets what was found, and makes room for what an automaton may find.
func (h *hits) reset(a *automaton) {
	if need := (len(a.words) + 63) / 64; len(h.seen) < need {
		h.seen = make([]uint64, need)
		h.list = make([]uint32, 0, min(len(a.words), 1024))
		return
	}
	for _, n := range h.list {
		h.seen[n>>6] &^= 1 << (n & 63)
	}
	h.list = h.list[:0]
}

// scan looks for the words. What it found stands in h until its next scan.
func (a *automaton) scan(text string, h *hits) {
	h.reset(a)
	if a.count == 0 {
		return
	}
	cells, short, columns := a.cells, a.short, uint32(a.columns)
	at, row := uint32(0), uint32(noWord)*columns
	for i := range len(text) {
		class := uint32(a.classes[text[i]])
		step := short[row+class]
		if c := cells[at+class]; c.owner == at {
			step = c.step
		}
		row = class * columns
		at = step &^ ends
		if step >= ends {
			h.note(cells[at].step)
		}
	}
}

func (h *hits) note(list uint32) {
	if bit := uint64(1) << (list & 63); h.seen[list>>6]&bit == 0 {
		h.seen[list>>6] |= bit
		h.list = append(h.list, list)
	}
}

// size is about how many bytes of memory the automaton holds.
func (a *automaton) size() int {
	out := 8*len(a.cells) + 4*len(a.short) + 24*len(a.words)
	for _, list := range a.words {
		out += 4 * len(list)
	}
	return out
}
