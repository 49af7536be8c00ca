package iplist

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatehouse/routes"
)

// Options of Lists. The zero value reads files and URLs, and keeps nothing on disk.
type Options struct {
	// Dir is the folder where the last good form of each list is kept; made if absent. Empty: nowhere.
	Dir string
	// Refresh is the time between two requests for a URL. Default one hour.
	Refresh time.Duration
	// Dial opens connections to servers of lists, until ctx ends: whoever may name a URL must not reach what is ours. Nil: a plain one.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// TLS is used towards them; nil verifies with the system's roots.
	TLS *tls.Config
	// Registerer gets gatehouse_address_lists and gatehouse_address_lists_failing. Nil registers nothing.
	Registerer prometheus.Registerer
	// Logger receives what is wrong with lists. Nil discards.
	Logger *slog.Logger
	// Changed is called after a list has other networks, from a goroutine of Run. Nil: nobody is told.
	Changed func()
}

const (
	// filePoll is how often files are looked at: a change acts within a second.
	filePoll = 500 * time.Millisecond
	// firstWait bounds how long Open waits for a URL of which nothing is known.
	firstWait = 5 * time.Second
	// fetchTime bounds one request for a list, its body included.
	fetchTime = 30 * time.Second
	// firstsAtOnce bounds first requests for lists, which somebody waits for: an owner's half is what one document may name.
	firstsAtOnce = 32
	// fetchesAtOnce bounds later ones; each may hold MaxListBytes.
	fetchesAtOnce = 8
	// firstRetry is the pause after a request that failed; it doubles up to Refresh.
	firstRetry = 10 * time.Second
)

// Lists makes Rules and keeps their lists up to date. Documents that name the same list share it. It is safe for concurrent use.
type Lists struct {
	opts   Options
	log    *slog.Logger
	client *http.Client
	// firsts and fetches are what requests have a slot of.
	firsts, fetches *slots
	files           routes.FileReader

	mu    sync.Mutex // held for maps only, never while anything is read
	rules map[*routes.Addresses]*Rules
	lists map[string]*list // by entry
}

// NewLists returns Lists that hold none yet.
func NewLists(o Options) (*Lists, error) {
	l := &Lists{
		opts: o, log: o.Logger, rules: map[*routes.Addresses]*Rules{}, lists: map[string]*list{},
		firsts: newSlots(firstsAtOnce), fetches: newSlots(fetchesAtOnce),
	}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	l.opts.Refresh = cmp.Or(o.Refresh, time.Hour)
	if o.Dial == nil {
		l.opts.Dial = (&net.Dialer{}).DialContext
	}
	l.client = &http.Client{
		Transport: &http.Transport{ // no proxy: it would dial what Dial refuses
			DialContext: l.dial, TLSClientConfig: o.TLS, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(req *http.Request, _ []*http.Request) error {
			return errors.New("it redirects to another URL: name that one")
		},
	}
	if o.Dir != "" {
		if err := os.MkdirAll(o.Dir, 0o700); err != nil {
			return nil, err
		}
	}
	if o.Registerer == nil {
		return l, nil
	}
	gauge := func(name, help string, counts func(*list) bool) error {
		return o.Registerer.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			n := 0
			for _, one := range l.held() {
				if counts(one) {
					n++
				}
			}
			return float64(n)
		}))
	}
	return l, errors.Join(
		gauge("gatehouse_address_lists", "Lists of addresses in use.", func(*list) bool { return true }),
		gauge("gatehouse_address_lists_failing", "Of those, lists whose present form cannot be had or is bad: the last good one is in force, or none.",
			func(one *list) bool { return one.err.Load() != nil }))
}

// Open returns the rules of a document, which must not change any more, and holds them until Close; nil if it says nothing. It
// reads lists that no other document names, all at a time: files and, for at most five seconds, URLs of which no good form is kept.
// What cannot be had counts as empty until it can.
//
// The owner is whose document it is: requests for the lists of one do not hold up those for another's. Empty: the operator's, as is a
// document that several owners open.
func (l *Lists) Open(owner string, a *routes.Addresses) *Rules {
	if a.Empty() {
		return nil
	}
	l.mu.Lock()
	r := l.rules[a]
	if r != nil && r.owner != owner {
		r.owner = ""
	}
	if r == nil {
		r = &Rules{of: a, owner: owner}
		listOf := func(entry string) *list {
			one := l.lists[entry]
			if one == nil {
				one = newList(entry, l.opts.Dir)
				l.lists[entry] = one
			}
			return one
		}
		r.allow, r.deny = sideOf(a.Allow, listOf), sideOf(a.Deny, listOf)
		for _, entry := range a.Lists() {
			one := l.lists[entry]
			one.rules[r] = struct{}{}
			r.lists = append(r.lists, one)
		}
		l.rules[a] = r
	}
	r.users++
	l.mu.Unlock()
	var reading sync.WaitGroup
	for _, one := range r.lists {
		if !one.tried.Load() {
			reading.Go(func() { one.first(l, owner) })
		}
	}
	reading.Wait()
	return r
}

// Close ends what Open began. Requests that still have the rules go on with them.
func (l *Lists) Close(r *Rules) {
	if r == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.users--; r.users > 0 {
		return
	}
	delete(l.rules, r.of)
	for _, one := range r.lists {
		if delete(one.rules, r); len(one.rules) == 0 {
			delete(l.lists, one.entry)
			one.forget(l)
		}
	}
}

// ownerOf is one of those who name a list: who has it read.
func (l *Lists) ownerOf(one *list) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for r := range one.rules {
		return r.owner
	}
	return ""
}

// Problems returns what is wrong with the lists of a document; nil: nothing, or nobody has opened it.
func (l *Lists) Problems(a *routes.Addresses) []error {
	l.mu.Lock()
	r := l.rules[a]
	l.mu.Unlock()
	return r.Problems()
}

// held are the lists in use.
func (l *Lists) held() []*list {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]*list, 0, len(l.lists))
	for _, one := range l.lists {
		out = append(out, one)
	}
	return out
}

// Run reads lists again, files when they change and URLs from time to time, until ctx ends. It returns nil.
func (l *Lists) Run(ctx context.Context) error {
	var fetching sync.WaitGroup
	defer fetching.Wait()
	ticker := time.NewTicker(filePoll)
	defer ticker.Stop()
	for {
		var due []*list
		for _, one := range l.held() {
			switch {
			case !one.tried.Load(): // Open is at it
			case !one.isURL:
				l.tell(one.reread(l))
			case one.due(time.Now()):
				due = append(due, one)
			}
		}
		for { // those that get no slot are due at the next tick, too
			at, owner := l.next(due)
			if at < 0 {
				break
			}
			one := due[at]
			due = slices.Delete(due, at, at+1)
			one.begin()
			fetching.Go(func() {
				defer l.fetches.leave(owner)
				l.tell(one.refetch(ctx, l, fetchTime))
			})
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// next takes a slot for one of the lists that are due.
func (l *Lists) next(due []*list) (at int, owner string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fetches.takeOne(due)
}

func (l *Lists) tell(changed bool) {
	if changed && l.opts.Changed != nil {
		l.opts.Changed()
	}
}
