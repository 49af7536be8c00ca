package events

import (
	"hash/maphash"
	"net/netip"
	"time"
)

// What of a tenant's events is kept in a second. Others are counted in the next one.
const (
	perSecond = 100 // that were refused, or would have been
	perClient = 20  // of these, of one address (IPv6: /64): a flood hides nobody's false positive
	perSample = 1   // that merely matched: a sample is enough to see what comes near the threshold
)

// clientSlots is how many counters an owner's clients share, by chance.
const clientSlots = 64

// A gate bounds what the events of one owner cost: in a second, and in files. Its
// zero value, with room, lets the first ones through.
type gate struct {
	second  int64 // that the counts are of, unix
	kept    int
	sampled int
	clients [clientSlots]uint8
	leftOut int64 // refused ones, since the last that was kept
	unseen  int64 // merely matched ones, likewise

	room float64 // bytes that may be written to files
	at   int64   // when room was right, unix nanoseconds
}

// seed keeps clients from choosing whose counter they share.
var seed = maphash.MakeSeed()

func slotOf(client netip.Addr) uint64 {
	if client.Is6() && !client.Is4In6() {
		if network, err := client.Prefix(64); err == nil {
			client = network.Addr()
		}
	}
	return maphash.Comparable(seed, client) % clientSlots
}

// admit reports whether the event is to be kept, and tells it how many before it were not.
func (g *gate) admit(e *Event, now time.Time) bool {
	if s := now.Unix(); s != g.second {
		g.second, g.kept, g.sampled = s, 0, 0
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
	client := &g.clients[slotOf(e.Client)]
	if g.kept >= perSecond || *client >= perClient {
		g.leftOut++
		return false
	}
	g.kept++
	*client++
	e.LeftOut, g.leftOut = g.leftOut, 0
	return true
}

// afford takes a line's bytes from the owner's share of the files: so many at once, and
// as many again in a day. What merely matched leaves half of it for what was refused.
func (g *gate) afford(bytes int, merely bool, share float64, now time.Time) bool {
	elapsed := float64(now.UnixNano()-g.at) / float64(24*time.Hour)
	g.room = min(share, g.room+max(0, elapsed)*share)
	g.at = now.UnixNano()
	left := g.room - float64(bytes)
	if left < 0 || merely && left < share/2 {
		return false
	}
	g.room = left
	return true
}
