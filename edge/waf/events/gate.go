package events

import (
	"hash/maphash"
	"net/netip"
	"time"
)

// What of a tenant's events is kept in a second. Others are counted in the next one.
const (
	perSecond = 100 // that were refused, or would have been
	perFirsts = 40  // of these, for the first events of clients, which others cannot fill
	perClient = 20  // of one address (IPv6: /64)
	perSample = 1   // that merely matched: a sample is enough to see what comes near the threshold
)

// firstEvents is how many events of a client in a minute are its first ones: a visitor who is refused by
// mistake tries again, and goes.
const firstEvents = 3

// clientSlots is how many counters an owner's clients share in a second, by chance. In a minute each client
// has four in as many rows, of which the lowest counts: a visitor is taken for one who comes often only
// where each of his four is also that of such a one.
const (
	clientSlots = 64
	clientRows  = 4
	rowSlots    = 256 // what a byte can name
)

// A gate bounds what the events of one owner cost: in a second, and in files. Its
// zero value, with room, lets the first ones through.
type gate struct {
	second  int64 // that the counts are of, unix
	kept    int   // beside the firsts
	firsts  int
	sampled int
	clients [clientSlots]uint8
	minute  int64                       // that the rows are of
	rows    [clientRows][rowSlots]uint8 // events of clients, kept or not, to firstEvents
	leftOut int64                       // refused ones, since the last that was kept
	unseen  int64                       // merely matched ones, likewise

	room float64 // bytes that may be written to files
	at   int64   // when room was right, unix nanoseconds
}

// seed keeps clients from choosing whose counter they share.
var seed = maphash.MakeSeed()

func hashOf(client netip.Addr) uint64 {
	if client.Is6() && !client.Is4In6() {
		if network, err := client.Prefix(64); err == nil {
			client = network.Addr()
		}
	}
	return maphash.Comparable(seed, client)
}

// admit reports whether the event is to be kept, and tells it how many before it were not.
func (g *gate) admit(e *Event, now time.Time) bool {
	if s := now.Unix(); s != g.second {
		g.second, g.kept, g.firsts, g.sampled = s, 0, 0, 0
		clear(g.clients[:])
	}
	if e.merely() {
		if g.sampled >= perSample {
			g.unseen++
			return false
		}
		g.sampled++
		e.LeftOut, g.unseen = g.unseen, 0
		return true
	}
	hash := hashOf(e.Client)
	client := &g.clients[hash%clientSlots]
	first := g.first(hash, now)
	switch {
	case first && g.firsts < perFirsts:
		g.firsts++
	case g.kept < perSecond-perFirsts && *client < perClient:
		g.kept++
	default:
		g.leftOut++
		return false
	}
	*client++
	e.often = !first
	e.LeftOut, g.leftOut = g.leftOut, 0
	return true
}

// first reports whether an event is one of its client's first ones in this minute, and counts it.
func (g *gate) first(hash uint64, now time.Time) bool {
	if m := now.Unix() / 60; m != g.minute {
		g.minute = m
		clear(g.rows[:])
	}
	first := false
	for i := range g.rows {
		count := &g.rows[i][uint8(hash>>(8+8*i))] // the lowest byte has chosen the second's counter
		if *count < firstEvents {
			first = true
			*count++
		}
	}
	return first
}

// afford takes a line's bytes from the owner's share of the files: so many at once, and
// as many again in a day. What merely matched, and what comes of those who come often, leaves half of it
// for the first events of others.
func (g *gate) afford(bytes int, modest bool, share float64, now time.Time) bool {
	elapsed := float64(now.UnixNano()-g.at) / float64(24*time.Hour)
	g.room = min(share, g.room+max(0, elapsed)*share)
	g.at = now.UnixNano()
	left := g.room - float64(bytes)
	if left < 0 || modest && left < share/2 {
		return false
	}
	g.room = left
	return true
}
