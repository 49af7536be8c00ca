package redispurge

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"gatehouse/cache"
	"gatehouse/internal/redisconn"
)

// The fields of an entry. Each is a field of its own, since a URL or a tag may be any octets.
const (
	fieldKind   = "kind"
	fieldArg    = "arg"
	fieldTenant = "tenant"
	fieldVhost  = "vhost"
	fieldSoft   = "soft" // "1": it is
	fieldBy     = "by"   // who wanted it, as far as that is known
	fieldNode   = "node" // that published it
	fieldNonce  = "nonce"

	// kindMark is an entry that purges nothing: a place in the stream, or a reason to wake up.
	kindMark = "mark"
)

// encode makes an entry's fields.
func (n *Node) encode(kind string, p cache.Purge, by string) []string {
	out := []string{fieldKind, kind, fieldNode, n.name, fieldNonce, nonce()}
	for _, f := range [][2]string{{fieldArg, p.Arg}, {fieldTenant, p.Tenant}, {fieldVhost, p.Vhost}, {fieldBy, by}} {
		if f[1] != "" {
			out = append(out, f[0], f[1])
		}
	}
	if p.Soft {
		out = append(out, fieldSoft, "1")
	}
	return out
}

// nonceIn is the nonce in fields that encode has made.
func nonceIn(fields []string) string { return fields[5] }

// decode reads the purge of an entry; ok is false if it is none. What it does not know, a later version may have written: it
// then purges more, as cache.Store does with a kind that it does not know.
func decode(values map[string]any) (p cache.Purge, ok bool) {
	kind := text(values, fieldKind)
	return cache.Purge{
		Kind: cache.PurgeKind(kind), Arg: text(values, fieldArg), Tenant: text(values, fieldTenant), Vhost: text(values, fieldVhost),
		Soft: text(values, fieldSoft) == "1",
	}, kind != kindMark
}

func text(values map[string]any, field string) string {
	s, _ := values[field].(string)
	return s
}

// add puts an entry at the end of the stream.
func (n *Node) add(ctx context.Context, fields []string) (id string, err error) {
	ctx, cancel := context.WithTimeout(ctx, redisconn.DialTimeout+redisconn.PatientTimeout)
	defer cancel()
	return n.client.XAdd(ctx, &redis.XAddArgs{Stream: n.keys.stream, MaxLen: streamLength, Approx: true, Values: fields}).Result()
}

// mark puts a mark at the end of the stream, and returns where that is.
func (n *Node) mark(ctx context.Context) (position, error) {
	fields := n.encode(kindMark, cache.Purge{}, "")
	id, err := n.add(ctx, fields)
	if err != nil {
		return position{}, fmt.Errorf("write to the stream of purges: %w", err)
	}
	return position{id, nonceIn(fields)}, nil
}

// begin finds the end of the stream for a node that has read nothing. What was stored while Redis was away goes: it may have
// been purged.
func (n *Node) begin(ctx context.Context) error {
	n.clearNamesakes(ctx)
	at, err := n.mark(ctx)
	if err != nil {
		return err
	}
	n.beginAt(at)
	n.log.Info("purges of other nodes are followed", "from", at.id)
	return n.acknowledge(ctx)
}

// beginAt purges everything that is stored, and reads on from there.
func (n *Node) beginAt(at position) {
	n.began.Store(&origin{at.id, n.store.Purge(cache.Purge{Kind: cache.PurgeAll})})
	n.setLast(at)
}

// confirm says how far the node is, and makes sure that the entry at a position where it was is still in the stream. If not,
// entries after it may be gone, too, and everything is purged.
func (n *Node) confirm(ctx context.Context, at position) error {
	pipe := n.client.Pipeline()
	n.ackIn(ctx, pipe)
	members := pipe.SMembers(ctx, n.keys.nodes)
	found := pipe.XRange(ctx, n.keys.stream, at.id, at.id)
	if err := n.exec(ctx, pipe); err != nil {
		return err
	}
	entries, err := found.Result()
	switch {
	case err != nil:
		return fmt.Errorf("read the stream of purges: %w", err)
	case len(entries) == 1 && (at.nonce == "" || at.nonce == text(entries[0].Values, fieldNonce)):
		if all, err := members.Result(); err == nil {
			n.peers.note(all)
		}
		return nil
	}
	n.peers.lose()
	return n.startOver(ctx, at)
}

// startOver purges everything that is stored here, since purges may have been missed.
func (n *Node) startOver(ctx context.Context, from position) error {
	at, err := n.mark(ctx)
	if err != nil {
		return err
	}
	n.beginAt(at)
	n.log.Error("purges may have been missed: all that this node has stored is purged", "applied", from.id, "from", at.id,
		"reason", "the stream of purges does not have what was read last: it was trimmed, flushed or lost")
	n.metrics.losses.Inc()
	// Other nodes may have more of the old stream than this one, and yet not what was published here.
	if err := n.published.again(ctx, n, n.published.all()); err != nil {
		return err
	}
	return n.acknowledge(ctx)
}

// acknowledge says how far the node is.
func (n *Node) acknowledge(ctx context.Context) error {
	pipe := n.client.Pipeline()
	n.ackIn(ctx, pipe)
	return n.exec(ctx, pipe)
}

func (n *Node) ackIn(ctx context.Context, pipe redis.Pipeliner) {
	pipe.Set(ctx, n.keys.node+n.member, n.last.id, Forgotten)
	pipe.SAdd(ctx, n.keys.nodes, n.member)
	n.beaten = time.Now()
}

// exec runs a pipeline. What the server refuses of it is the command's own error, and what fails is all of it. That a full Redis
// takes no acknowledgement is no reason to stop reading; Await then calls the node late.
func (n *Node) exec(ctx context.Context, pipe redis.Pipeliner) error {
	ctx, cancel := context.WithTimeout(ctx, redisconn.DialTimeout+redisconn.PatientTimeout)
	defer cancel()
	_, err := pipe.Exec(ctx)
	refusal, refused := errors.AsType[redis.Error](err)
	if refused {
		n.metrics.refused.Inc()
		if !n.mute {
			n.log.Warn("redis refuses to note which purges are applied: this node counts as late", "err", refusal)
		}
		err = nil
	}
	if err == nil {
		n.mute = refused
	}
	return err
}

// clearNamesakes forgets processes that had this node's name and ended without a word. One that still runs comes back with its
// next beat.
func (n *Node) clearNamesakes(ctx context.Context) {
	members, err := n.client.SMembers(ctx, n.keys.nodes).Result()
	if err != nil {
		return // what follows tells
	}
	for _, member := range members {
		if name, _ := cutMember(member); name == n.name && member != n.member {
			n.forget(ctx, member)
		}
	}
}

// forget has nobody wait for a member any more. That it fails costs somebody a wait.
func (n *Node) forget(ctx context.Context, member string) {
	pipe := n.client.Pipeline()
	pipe.SRem(ctx, n.keys.nodes, member)
	pipe.Del(ctx, n.keys.node+member)
	if _, err := pipe.Exec(ctx); err != nil {
		n.log.Debug("node not forgotten", "node", member, "err", err)
	}
}

// wakeUp ends a read that waits: by a mark that it gets. A read that does not ends by itself.
func (n *Node) wakeUp() {
	ctx, cancel := context.WithTimeout(context.Background(), redisconn.CallTimeout)
	defer cancel()
	if _, err := n.mark(ctx); err != nil {
		n.log.Debug("reader of purges not woken", "err", err)
	}
}

// leave has nobody wait for this node any more.
func (n *Node) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), redisconn.CallTimeout)
	defer cancel()
	n.forget(ctx, n.member)
}

// cutMember divides a member of the set of nodes into the node's name and what tells its processes apart.
func cutMember(member string) (name, process string) {
	if i := strings.LastIndexByte(member, '/'); i >= 0 {
		return member[:i], member[i+1:]
	}
	return member, ""
}

// reaches reports whether the entry id is at or before applied.
func reaches(applied, id string) bool {
	a, b := parseID(applied), parseID(id)
	return a[0] > b[0] || a[0] == b[0] && a[1] >= b[1]
}

// parseID reads an ID, milliseconds-number. What is none is before all others.
func parseID(id string) (parts [2]uint64) {
	ms, seq, _ := strings.Cut(id, "-")
	for i, s := range []string{ms, seq} {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			return [2]uint64{}
		}
		parts[i] = n
	}
	return parts
}
