package overload

// A Level is how much the server gives up for memory. Each includes those below it.
type Level int32

const (
	// Normal is the level at which nothing is given up.
	Normal Level = iota
	// NoKeepAlive (85 % of the limit): every answer ends its connection, and the
	// cache gives up a tenth of its content every few seconds.
	NoKeepAlive
	// NoConnections (92 %): new connections are closed unread.
	NoConnections
	// Shed (96 %): requests are answered 503 with Retry-After, and the cache gives up half.
	Shed
)

// enter is the share of the limit from which a level holds.
var enter = [...]float64{Normal: 0, NoKeepAlive: 0.85, NoConnections: 0.92, Shed: 0.96}

// slack is how far below its threshold a level ends, so that it does not come
// and go with every collection.
const slack = 0.03

// String returns the level's name in logs.
func (l Level) String() string {
	switch l {
	case Normal:
		return "normal"
	case NoKeepAlive:
		return "no keep-alive"
	case NoConnections:
		return "no connections"
	case Shed:
		return "shed"
	}
	return "unknown"
}

// next returns the level that follows l when share of the limit is used. It
// rises at once to where share is, and falls once share is slack below the threshold.
func (l Level) next(share float64) Level {
	for up := Shed; up > l; up-- {
		if share >= enter[up] {
			return up
		}
	}
	for l > Normal && share < enter[l]-slack {
		l--
	}
	return l
}
