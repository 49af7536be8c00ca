package balance

import (
	"math"
	"math/rand/v2"
)

// Policy is how a Pool chooses among its members. Weights count in all of them.
type Policy string

// The policies.
const (
	P2C        Policy = "p2c"         // of two picked by chance, the one with less in flight for its weight
	Random     Policy = "random"      // by chance
	RoundRobin Policy = "round_robin" // one after the other
	LeastConn  Policy = "least_conn"  // the one with the least in flight for its weight

	// By the hash that Pick is given: equal ones go to the same member, on all nodes, for as long as it is there and well.
	HashIP          Policy = "hash_ip"
	HashHost        Policy = "hash_host"
	HashPathSegment Policy = "hash_path_segment"
)

func (p Policy) hashes() bool { return p == HashIP || p == HashHost || p == HashPathSegment }

// choose applies the policy to two or more candidates.
func (p *Pool[B]) choose(candidates []*Member[B], hash uint64) *Member[B] {
	switch p.policy {
	case RoundRobin:
		turn := p.turn.Add(1) - 1
		if p.even {
			return candidates[turn%uint64(len(candidates))]
		}
		sum := uint64(weigh(candidates))
		return at(candidates, int64(turn%sum*stride(sum)%sum))
	case Random:
		return p.draw(candidates)
	case LeastConn:
		return leastConn(candidates)
	case HashIP, HashHost, HashPathSegment:
		if p.even {
			return rendezvous(candidates, hash)
		}
		return weightedRendezvous(candidates, hash)
	default:
		return p.p2c(candidates)
	}
}

// stride steps through n places so that each is visited once in n steps, and steps in a row fall far from each other: who has many
// places has turns between the others', not in one go. It is a number without a common divisor with n, near n by the golden ratio.
func stride(n uint64) uint64 {
	step := max(uint64(float64(n)/math.Phi), 1)
	for gcd(step, n) != 1 {
		step++
	}
	return step
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// weigh is the sum of the weights.
func weigh[B any](candidates []*Member[B]) (sum int64) {
	for _, m := range candidates {
		sum += m.weight
	}
	return sum
}

// at returns who has the point, where each has as much room as its weight.
func at[B any](candidates []*Member[B], point int64) *Member[B] {
	for _, m := range candidates {
		if point -= m.weight; point < 0 {
			return m
		}
	}
	return candidates[len(candidates)-1]
}

// draw draws one by weight.
func (p *Pool[B]) draw(candidates []*Member[B]) *Member[B] {
	if p.even {
		return candidates[rand.IntN(len(candidates))]
	}
	return at(candidates, rand.Int64N(weigh(candidates)))
}

// p2c draws two different ones and takes the less busy. Where they are equally busy it takes the first one, so that
// weights count at rest, too.
func (p *Pool[B]) p2c(candidates []*Member[B]) *Member[B] {
	var first, second *Member[B]
	if p.even {
		i, j := rand.IntN(len(candidates)), rand.IntN(len(candidates)-1)
		if j >= i {
			j++ // each pair with equal chance
		}
		first, second = candidates[i], candidates[j]
	} else {
		first = p.draw(candidates)
		second = drawOther(candidates, first)
	}
	if second.freerThan(first) {
		return second
	}
	return first
}

// drawOther draws one by weight that is not the given one.
func drawOther[B any](candidates []*Member[B], not *Member[B]) *Member[B] {
	point := rand.Int64N(weigh(candidates) - not.weight)
	for _, m := range candidates {
		if m == not {
			continue
		}
		if point -= m.weight; point < 0 {
			return m
		}
	}
	return not // there is another, whose weight is not 0
}

// freerThan reports whether m has less in flight for its weight.
func (m *Member[B]) freerThan(other *Member[B]) bool {
	return m.state.InFlight()*other.weight < other.state.InFlight()*m.weight
}

// leastConn takes the least busy. Of equally busy ones it draws by weight.
func leastConn[B any](candidates []*Member[B]) *Member[B] {
	best, weight := candidates[0], candidates[0].weight
	for _, m := range candidates[1:] {
		switch {
		case m.freerThan(best):
			best, weight = m, m.weight
		case best.freerThan(m):
		default:
			if weight += m.weight; rand.Int64N(weight) < m.weight {
				best = m
			}
		}
	}
	return best
}
