package redispurge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"gatehouse/cache"
)

const (
	// remembered is how long, and rememberedMost how many, purges are kept by the node that published them, to publish them anew
	// if the stream loses them.
	remembered     = 10 * time.Minute
	rememberedMost = 1000
	// unseenAfter is when a purge that was published, and has not come back, is taken for lost.
	unseenAfter = 10 * time.Second

	firstPoll, lastPoll = 2 * time.Millisecond, 50 * time.Millisecond
)

// Publish brings a purge to all nodes, this one included, and returns its ID for Await. If it cannot, the purge acts here, and the
// error says why on no other node. by is who wants it, for the logs.
func (n *Node) Publish(ctx context.Context, p cache.Purge, by string) (id string, err error) {
	fields := n.encode(string(p.Kind), p, by)
	n.published.add(fields) // before it can come back
	if id, err = n.add(ctx, fields); err != nil {
		n.published.remove(fields)
		n.store.Purge(p)
		return "", fmt.Errorf("the purge acts on this node alone, redis does not take it: %w", err)
	}
	return id, nil
}

// An Answer is what a node says to a purge.
type Answer struct {
	Node    string
	Applied bool
	// After is how long the answer took, from when it was waited for.
	After time.Duration
	// Silent is how long a node that has not answered was not heard of; less than some seconds: it is there, and behind.
	Silent time.Duration
}

// Await waits until all nodes have applied the purge with that ID, or ctx ends, and returns their answers by name. A node that was
// heard of within Forgotten is waited for, unless it has left in order. The error is that of Redis, if it said nothing at all.
func (n *Node) Await(ctx context.Context, id string) ([]Answer, error) {
	begin := time.Now()
	answers := map[string]*Answer{}
	poll := firstPoll
	var failed error
	for asked := false; ; {
		members, applied, err := n.acknowledged(ctx)
		now := time.Since(begin)
		if err == nil {
			asked = true
			for i, member := range members {
				if answers[member] == nil {
					answers[member] = &Answer{}
				}
				if a := answers[member]; !a.Applied {
					a.Node, _ = cutMember(member)
					a.Applied, a.After = reaches(applied[i], id), now
				}
			}
			missing := n.peers.missing(members)
			for member := range answers { // who has left is not waited for
				if !slices.Contains(members, member) && !answers[member].Applied {
					delete(answers, member)
				}
			}
			if answers[n.member] == nil { // of an emptied Redis: this node has not told that it is there yet
				answers[n.member] = &Answer{Node: n.name}
			}
			for member, seen := range missing {
				name, _ := cutMember(member)
				answers[member] = &Answer{Node: name, Silent: time.Since(seen)}
			}
		} else if ctx.Err() == nil {
			failed = err
		}
		if asked && err == nil && allApplied(answers) {
			return n.sorted(ctx, answers), nil
		}
		select {
		case <-time.After(poll):
		case <-ctx.Done():
			if !asked {
				return nil, errors.Join(failed, ctx.Err())
			}
			return n.sorted(context.WithoutCancel(ctx), answers), nil
		}
		poll = min(poll*3/2, lastPoll)
	}
}

func allApplied(answers map[string]*Answer) bool {
	for _, a := range answers {
		if !a.Applied {
			return false
		}
	}
	return true
}

// acknowledged returns the nodes, and what each has applied. Those that were not heard of for too long are forgotten.
func (n *Node) acknowledged(ctx context.Context) (members, applied []string, err error) {
	if members, err = n.client.SMembers(ctx, n.keys.nodes).Result(); err != nil || len(members) == 0 {
		return nil, nil, err
	}
	keys := make([]string, len(members))
	for i, member := range members {
		keys[i] = n.keys.node + member
	}
	values, err := n.client.MGet(ctx, keys...).Result()
	if err != nil {
		return nil, nil, err
	}
	live := members[:0]
	for i, member := range members {
		id, ok := values[i].(string)
		if !ok {
			n.forget(ctx, member)
			continue
		}
		live, applied = append(live, member), append(applied, id)
	}
	return live, applied, nil
}

// sorted returns the answers by name, and finds out for how long those who are late were not heard of.
func (n *Node) sorted(ctx context.Context, answers map[string]*Answer) []Answer {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	out := make([]Answer, 0, len(answers))
	for member, a := range answers {
		if !a.Applied {
			if left, err := n.client.PTTL(ctx, n.keys.node+member).Result(); err == nil && left > 0 {
				a.Silent = max(Forgotten-left, 0)
			} // else it is of peers, which knows
		}
		out = append(out, *a)
	}
	slices.SortFunc(out, func(a, b Answer) int { return strings.Compare(a.Node, b.Node) })
	return out
}

// published are the purges that a node has published a while ago, until it is sure that the stream has them.
type published struct {
	mu   sync.Mutex
	list []publication // the oldest first
}

type publication struct {
	fields []string // see encode; the nonce tells publications apart
	at     time.Time
	seen   bool // it came back by the stream
}

func (p *published) add(fields []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.list = slices.DeleteFunc(p.list, func(x publication) bool { return now.Sub(x.at) > remembered })
	if len(p.list) == rememberedMost {
		p.list = slices.Delete(p.list, 0, 1)
	}
	p.list = append(p.list, publication{fields: fields, at: now})
}

func (p *published) remove(fields []string) {
	p.take(func(x *publication) bool { return x.nonce() == nonceIn(fields) })
}

func (x *publication) nonce() string { return nonceIn(x.fields) }

// seen notes that an entry came by the stream.
func (p *published) seen(nonce string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := len(p.list) - 1; i >= 0; i-- {
		if p.list[i].nonce() == nonce {
			p.list[i].seen = true
			return
		}
	}
}

// missing returns those that should have come back to a node that is in step, and did not.
func (p *published) missing() []publication {
	return p.take(func(x *publication) bool { return !x.seen && time.Since(x.at) > unseenAfter })
}

// all returns all of them.
func (p *published) all() []publication {
	return p.take(func(x *publication) bool { return time.Since(x.at) <= remembered })
}

// take removes and returns those that are wanted.
func (p *published) take(wanted func(*publication) bool) (out []publication) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = slices.DeleteFunc(p.list, func(x publication) bool {
		if wanted(&x) {
			out = append(out, x)
			return true
		}
		return false
	})
	return out
}

// again publishes purges that the stream may have lost, as in a failover to a replica that was behind. One too many costs a few
// fetches.
func (p *published) again(ctx context.Context, n *Node, lost []publication) error {
	for _, x := range lost {
		p.add(x.fields)
	}
	for _, x := range lost {
		id, err := n.add(ctx, x.fields)
		if err != nil {
			return fmt.Errorf("publish a purge anew: %w", err) // it will not come back, and is then tried again
		}
		n.log.Warn("a purge that the stream may have lost is published anew", "id", id)
	}
	return nil
}
