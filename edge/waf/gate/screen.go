package gate

import (
	"math/bits"
	"strings"
)

// A screen says which of many checks a text may still meet: those whose [need] it has. It is never changed
// once made, and any number of goroutines may use it, each with its own [candidates].
//
// A check's conditions are spread over layers, one of each check in a layer. So a layer is a row of bits,
// one for each check; what a text has sets bits in it, and a check is left whose bit is set in all layers.
type screen struct {
	checks int
	row    int // words of 64 bits in a row

	classes [256]uint8 // bytes that are in the same sets are one
	sets    []uint64   // by class: maxSets rows of the checks whose set has it
	noSet   []uint64   // the same rows for checks that have no set in the layer

	worded  []uint64 // checks that need words
	words   *automaton
	lists   [][]place // by word: the lists that it is in
	noWords []uint64  // maxLists rows, for checks that have no list in the layer
}

// A place is a check's condition in a layer.
type place struct{ layer, check uint32 }

// maxClasses is how many kinds of bytes are told apart. Those beyond count as one that has all of their sets.
const maxClasses = 128

// candidates is what a text may meet, with the room that it takes to say so. The zero value is ready;
// one that is used again allocates nothing. It belongs to one goroutine at a time.
type candidates struct {
	set  []uint64 // a bit for each check
	have []uint64
	hits hits
}

// has reports whether the check with that number may be met.
func (c *candidates) has(check int) bool { return c.set[check>>6]>>(check&63)&1 != 0 }

// count returns how many checks may be met.
func (c *candidates) count() (n int) {
	for _, word := range c.set {
		n += bits.OnesCount64(word)
	}
	return n
}

// newScreen makes the screen of checks with these needs, which it does not keep.
func newScreen(needs []need) *screen {
	s := &screen{checks: len(needs), row: (len(needs) + 63) / 64}
	s.takeSets(needs)
	s.takeWords(needs)
	return s
}

// takeSets fills the tables of the bytes.
func (s *screen) takeSets(needs []need) {
	s.noSet = make([]uint64, maxSets*s.row)
	rows := make([][]uint64, 256)
	for c := range rows {
		rows[c] = make([]uint64, maxSets*s.row)
	}
	for check, n := range needs {
		for layer := range maxSets {
			if layer >= len(n.bytes) {
				setBit(s.noSet[layer*s.row:], check)
				continue
			}
			for c := range rows {
				if n.bytes[layer].has(byte(c)) {
					setBit(rows[c][layer*s.row:], check)
				}
			}
		}
	}
	known := map[string]uint8{}
	for c, row := range rows {
		key := keyOf(row)
		class, ok := known[key]
		switch {
		case ok:
		case len(known) < maxClasses:
			class = uint8(len(known))
			known[key] = class
			s.sets = append(s.sets, row...)
		default:
			class = maxClasses - 1
			orInto(s.setsOf(int(class)), row)
		}
		s.classes[c] = class
	}
}

// takeWords fills the tables of the words.
func (s *screen) takeWords(needs []need) {
	s.noWords = make([]uint64, maxLists*s.row)
	s.worded = make([]uint64, s.row)
	numbers := map[string]int{}
	var words []string
	for check, n := range needs {
		if len(n.words) > 0 {
			setBit(s.worded, check)
		}
		for layer := range maxLists {
			if layer >= len(n.words) {
				setBit(s.noWords[layer*s.row:], check)
				continue
			}
			for _, w := range n.words[layer] {
				number, ok := numbers[w]
				if !ok {
					number = len(words)
					numbers[w] = number
					words = append(words, w)
					s.lists = append(s.lists, nil)
				}
				s.lists[number] = append(s.lists[number], place{uint32(layer), uint32(check)})
			}
		}
	}
	s.words = newAutomaton(words)
}

// may leaves in out the checks that the text may meet.
func (s *screen) may(text string, out *candidates) {
	out.make(s)
	var seen [2]uint64
	high := byte(0)
	for i := range len(text) {
		c := text[i]
		high |= c
		class := s.classes[c]
		bit := uint64(1) << (class & 63)
		upper := -uint64(class >> 6)
		seen[0] |= bit &^ upper
		seen[1] |= bit & upper
	}
	folded := ""
	if high >= 0x80 && unfoldable(text) {
		// To a pattern that ignores case the two characters are letters, to others they are themselves.
		folded = foldKS.Replace(text)
		seen[s.classes['k']>>6] |= 1 << (s.classes['k'] & 63)
		seen[s.classes['s']>>6] |= 1 << (s.classes['s'] & 63)
	}
	copy(out.have, s.noSet)
	for half, word := range seen {
		for ; word != 0; word &= word - 1 {
			orInto(out.have[:maxSets*s.row], s.setsOf(half*64+bits.TrailingZeros64(word)))
		}
	}
	worded := uint64(0)
	for i := range out.set {
		out.set[i] = out.have[i]
		for layer := 1; layer < maxSets; layer++ {
			out.set[i] &= out.have[layer*s.row+i]
		}
		worded |= out.set[i] & s.worded[i]
	}
	if worded != 0 {
		s.ask(text, folded, out)
	}
}

// foldKS makes letters of U+212A and U+017F.
var foldKS = strings.NewReplacer("\u212a", "k", "\u017f", "s")

// ask takes away the checks whose words the text does not have.
func (s *screen) ask(text, folded string, out *candidates) {
	copy(out.have, s.noWords)
	s.find(text, out)
	if folded != "" {
		s.find(folded, out)
	}
	for i := range out.set {
		for layer := range maxLists {
			out.set[i] &= out.have[layer*s.row+i]
		}
	}
}

// find notes the words of a text.
func (s *screen) find(text string, out *candidates) {
	s.words.scan(text, &out.hits)
	for _, list := range out.hits.list {
		for _, word := range s.words.words[list] {
			for _, p := range s.lists[word] {
				setBit(out.have[int(p.layer)*s.row:], int(p.check))
			}
		}
	}
}

// make empties the candidates and gives them room for a screen's checks.
func (c *candidates) make(s *screen) {
	if need := max(maxSets, maxLists) * s.row; len(c.have) < need {
		c.have = make([]uint64, need)
	}
	if cap(c.set) < s.row {
		c.set = make([]uint64, s.row)
	}
	c.set = c.set[:s.row]
	clear(c.set)
}

func (s *screen) setsOf(class int) []uint64 {
	width := maxSets * s.row
	return s.sets[class*width : (class+1)*width]
}

// size is about how many bytes of memory the screen holds.
func (s *screen) size() int {
	out := s.words.size() + 8*(len(s.sets)+len(s.noSet)+len(s.noWords)+len(s.worded)) + 24*len(s.lists)
	for _, l := range s.lists {
		out += 8 * len(l)
	}
	return out
}

func setBit(row []uint64, i int) { row[i>>6] |= 1 << (i & 63) }

func orInto(to, from []uint64) {
	to = to[:len(from)]
	for i, word := range from {
		to[i] |= word
	}
}

// keyOf makes a row comparable.
func keyOf(row []uint64) string {
	key := make([]byte, 0, 8*len(row))
	for _, word := range row {
		for shift := 0; shift < 64; shift += 8 {
			key = append(key, byte(word>>shift))
		}
	}
	return string(key)
}
