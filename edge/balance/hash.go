package balance

import "math"

// FNV-1a, 64 bit. What is hashed is the same on all nodes and in all versions, or a rolling upgrade would move everybody.
const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

// Hash hashes a text for Pick.
func Hash[T string | []byte](s T) uint64 {
	h := uint64(fnvOffset)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * fnvPrime
	}
	return mix(h)
}

// mix spreads every bit over all others (the finalizer of SplitMix64).
func mix(h uint64) uint64 {
	h ^= h >> 30
	h *= 0xbf58476d1ce4e5b9
	h ^= h >> 27
	h *= 0x94d049bb133111eb
	return h ^ h>>31
}

// rendezvous takes who has the highest hash together with the key (highest random weight, Thaler and Ravishankar 1998):
// when one leaves, only its keys move, and each to who is next for it; when one comes, it takes its share and nothing else moves.
func rendezvous[B any](candidates []*Member[B], key uint64) *Member[B] {
	best, most := candidates[0], mix(candidates[0].seed^key)
	for _, m := range candidates[1:] {
		if h := mix(m.seed ^ key); h > most {
			best, most = m, h
		}
	}
	return best
}

// weightedRendezvous is rendezvous with shares by weight: the score -w/ln(u) of a u in (0, 1) is the highest with a chance of
// w in the sum of all.
func weightedRendezvous[B any](candidates []*Member[B], key uint64) *Member[B] {
	var best *Member[B]
	most := math.Inf(-1)
	for _, m := range candidates {
		u := (float64(mix(m.seed^key)>>11) + 0.5) / (1 << 53)
		if score := -float64(m.weight) / math.Log(u); score > most {
			best, most = m, score
		}
	}
	return best
}
