package redisstore

import (
	"context"
	"hash/maphash"
	"slices"
	"strconv"
	"time"

	"gatehouse/routes"
)

const (
	// pollEvery is how often what is in use is read, and everything if that is quick.
	pollEvery = 500 * time.Millisecond
	// pollShare is the part of the time that goes into reading everything: a tenth.
	pollShare = 10
	// maxInUse bounds how many documents are read with each look; what is beyond has its turn with the next.
	maxInUse = 2000
	// maxHosts is how many of them are of hosts that have none, where there is not room for all: strangers choose those.
	maxHosts = 500
)

// A poller follows servers that do not tell of changes: old ones, proxies, and
// users whom the ACL does not allow it.
//
//   - Everything is read again and again, for a tenth of the time, and at most twice
//     a second: a pass over 10,000 sites takes a tenth of a second or two. What
//     it amounts to is one number; if that is another one, all is read as at the
//     start. So the rule of losses holds for each pass.
//   - What is in use (Options.InUse) is read twice a second even while a pass takes long.
type poller struct {
	*follower
	seed maphash.Seed
	sum  uint64 // of everything
	// known are the sums of the documents in use; 0: it was not there.
	known map[routes.Key]uint64
	size  int64 // how many keys the masters had; -1: they do not say

	used func() (documents, hosts []routes.Key) // see InUse; nil: nothing is in use
	end  func()
	turn routes.Key // the document that the next look begins with, if not all are read with each

	nextLook, nextCheck time.Time
	passNow             bool // a pass is wanted at once
	emptying            bool // masters lost most of their keys, and no pass has begun and ended since
}

func newPoller(f *follower) *poller {
	p := &poller{follower: f, seed: maphash.MakeSeed(), known: map[routes.Key]uint64{}}
	p.size = p.dbsize()
	if f.store.inUse != nil {
		p.used, p.end = f.store.inUse()
	}
	return p
}

func (p *poller) close() {
	if p.end != nil {
		p.end()
	}
}

func (f *follower) poll(ctx context.Context) error {
	p := newPoller(f)
	defer p.close()
	if err := p.full(); err != nil {
		return err
	}
	f.reader.between = func() error { return p.look(ctx) }
	defer func() { f.reader.between = nil }()
	nextPass := time.Now().Add(pollEvery)
	for {
		if now := time.Now(); p.passNow || now.After(nextPass) {
			if err := p.pass(); err != nil {
				return err
			}
			nextPass = time.Now().Add(max(pollEvery, (pollShare-1)*time.Since(now)))
		}
		if err := p.look(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.store.removed.some:
			p.nextLook = time.Time{}
		case <-time.After(pollEvery / 5):
		}
	}
}

// full is follower.full, and notes what it amounts to.
func (p *poller) full() error {
	sum := uint64(0)
	p.reader.seen = func(doc routes.Key, values []value) { sum += p.sumOf(doc, values) }
	defer func() { p.reader.seen = nil }()
	if err := p.follower.full(); err != nil {
		return err
	}
	p.sum = sum + p.sumOfMisnamed()
	clear(p.known)
	return nil
}

// pass reads everything if it amounts to something else than before.
func (p *poller) pass() error {
	p.passNow = false
	if err := p.compare(); err != nil {
		return err
	}
	p.emptying = p.emptying && p.passNow // another pass judges what was lost during this one
	return nil
}

func (p *poller) compare() error {
	begin := time.Now()
	docs, err := p.reader.names()
	if err != nil {
		return err
	}
	var sum uint64
	if err := p.reader.values(docs, func(doc routes.Key, values []value) { sum += p.sumOf(doc, values) }); err != nil {
		return err
	}
	p.size = p.dbsize()
	if sum+p.sumOfMisnamed() == p.sum {
		p.store.evictions.since = begin
		return nil
	}
	return p.full()
}

func (p *poller) sumOfMisnamed() (sum uint64) {
	for name := range p.reader.misnamed {
		sum += maphash.String(p.seed, name)
	}
	return sum
}

// sumOf is one number for what a document's keys hold; not 0 if that is anything.
func (p *poller) sumOf(doc routes.Key, values []value) uint64 {
	if len(values) == 0 {
		return 0
	}
	var h maphash.Hash
	h.SetSeed(p.seed)
	write := func(text string) {
		h.WriteString(strconv.Itoa(len(text)))
		h.WriteByte(':')
		h.WriteString(text)
	}
	write(doc.String())
	for i := range values {
		write(values[i].key.raw)
		write(values[i].bad)
		write(values[i].text)
		for _, item := range values[i].list {
			write(item)
		}
	}
	return max(1, h.Sum64())
}

// look reads what is in use, once each pollEvery.
func (p *poller) look(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	now := time.Now()
	if now.Before(p.nextLook) {
		return nil
	}
	p.nextLook = now.Add(pollEvery)
	between, seen := p.reader.between, p.reader.seen
	p.reader.between, p.reader.seen = nil, nil // what is read here is not long, and no part of the pass
	defer func() { p.reader.between, p.reader.seen = between, seen }()
	if now.After(p.nextCheck) {
		p.nextCheck = now.Add(p.store.pingEvery)
		if err := p.session.Check(); err != nil {
			return err
		}
		if err := p.follower.look(); err != nil {
			return err
		}
	}
	if err := p.removed(); err != nil {
		return err
	}
	there, err := p.acceptLoss()
	if err != nil {
		return err
	}
	if there && !p.accepted {
		p.store.log.Warn("loss of routes accepted: all routes are read again", "redis", p.store.client.String())
		return p.full()
	}
	p.accepted = there
	return p.inUse()
}

func (p *poller) inUse() error {
	if p.used == nil {
		return nil
	}
	docs, hosts := p.used()
	known := make(map[routes.Key]uint64, len(docs))
	for _, in := range [][]routes.Key{docs, hosts} {
		for _, doc := range in {
			if sum, seen := p.known[doc]; seen { // perhaps not read this time
				known[doc] = sum
			}
		}
	}
	var changes []routes.Change
	if err := p.reader.values(p.window(docs, hosts), func(doc routes.Key, values []value) {
		sum := p.sumOf(doc, values)
		before, seen := p.known[doc]
		known[doc] = sum
		if sum == before || sum == 0 && !seen { // what was never there is no news
			return
		}
		change := p.reader.compose(doc, values)
		if p.perhaps(change) {
			known[doc] = before // look again
			return
		}
		changes = append(changes, change)
	}); err != nil {
		return err
	}
	p.known = known
	gone := func(c routes.Change) bool { return c.Gone() }
	if slices.ContainsFunc(changes, gone) && (p.emptying || p.emptied()) {
		if !p.emptying {
			p.emptying, p.passNow = true, true // a pass judges what is gone all together
		}
		changes = slices.DeleteFunc(changes, gone)
	}
	if len(changes) == 0 {
		return nil
	}
	batch := routes.Batch{Changes: changes, Problems: p.reader.problems()}
	if slices.ContainsFunc(changes, gone) {
		if err := p.follower.look(); err != nil {
			return err
		}
		batch.Doubt = p.store.evictions.doubt(p.session, p.store.prefix, p.store.evictions.since)
	}
	p.tell(batch, false)
	return nil
}

// window returns what is read with this look, sorted: all, or as many documents as may be, from where the last look ended, and some of the hosts.
func (p *poller) window(docs, hosts []routes.Key) []routes.Key {
	slices.SortFunc(docs, compareKeys)
	docs = slices.Compact(docs)
	if room := maxInUse - min(len(hosts), maxHosts); len(docs) > room {
		first, _ := slices.BinarySearchFunc(docs, p.turn, compareKeys)
		docs = slices.Concat(docs[first:], docs[:first])
		p.turn = docs[room]
		docs = docs[:room]
	}
	out := slices.Concat(docs, hosts[:min(len(hosts), maxInUse-len(docs))])
	slices.SortFunc(out, compareKeys)
	return slices.Compact(out)
}

// emptied reports whether the masters may have lost most of their keys, as with
// a flush, which nobody tells of here.
func (p *poller) emptied() bool {
	before := p.size
	p.size = p.dbsize()
	return before < 0 || p.size < 0 || 2*p.size < before
}

// dbsize is how many keys the masters have; -1: they do not say.
func (p *poller) dbsize() int64 {
	var all int64
	for i := range p.session.Masters() {
		replies, err := p.session.On(i, []string{"DBSIZE"})
		if err != nil {
			return -1 // refused, or the connection ends, which the next command says
		}
		n, err := strconv.ParseInt(replies[0].Text, 10, 64)
		if err != nil {
			return -1
		}
		all += n
	}
	return all
}
