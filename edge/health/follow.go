package health

import (
	"context"
	"slices"
	"time"
)

func (r *Register) followShared(ctx context.Context) error {
	if r.opts.Shared == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	defer r.withdraw(ctx)
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		r.tell(ctx, r.follow(ctx))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// tell logs when what is shared cannot be followed, and when it can again.
func (r *Register) tell(ctx context.Context, err error) {
	switch {
	case ctx.Err() != nil || (err != nil) == r.down:
		return
	case err != nil:
		r.log.Error("drained backends of other nodes are not followed", "err", err)
	default:
		r.log.Info("drained backends of other nodes are followed")
	}
	r.down = err != nil
}

// follow takes over what others have changed and reports how this node stands.
func (r *Register) follow(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	r.changing.Lock()
	err := r.read(ctx)
	r.changing.Unlock()
	if err != nil {
		return err
	}
	if err := r.shareReport(ctx); err != nil {
		return err
	}
	return r.shareKey(ctx)
}

func (r *Register) shareKey(ctx context.Context) error {
	r.changing.Lock()
	defer r.changing.Unlock()
	if r.keyed {
		return nil
	}
	key, err := r.opts.Shared.Key(ctx, r.key())
	if err != nil {
		return err
	}
	r.keyed = true
	r.mu.Lock()
	state, version := r.state, r.version
	r.mu.Unlock()
	state.Key = key
	_ = r.keep(state, version) // the file's error is noted
	return nil
}

// read takes over drains and findings. Where all is lost it brings back what this node has of them.
func (r *Register) read(ctx context.Context) error {
	r.mu.Lock()
	version, mine := r.version, r.state
	r.mu.Unlock()
	known := version
	if time.Since(r.wasRead) >= readEvery {
		known = ""
	}
	snapshot, err := r.opts.Shared.Read(ctx, known)
	if err != nil || snapshot == nil {
		return err
	}
	r.wasRead = time.Now()
	r.keyed = false // another node may have brought back all that was lost, with a key of its own
	if snapshot.Version == "" {
		return r.restore(ctx, mine)
	}
	r.learn(snapshot)
	mine.Drains = sorted(append(r.keepUnread(mine.Drains, snapshot.Unread), snapshot.Drains...))
	_ = r.keep(mine, snapshot.Version) // the file's error is noted
	return nil
}

// learn takes over findings. Those that cannot be read have not ended: what is known stays, which is told once.
func (r *Register) learn(snapshot *Snapshot) {
	if err := snapshot.DownUnread; err != nil && r.downUnread == nil {
		r.log.Error("what active checks have found cannot be read in Redis: delete it, and it is written anew", "err", err)
	}
	r.downUnread = snapshot.DownUnread
	if r.opts.Prober != nil && snapshot.DownUnread == nil {
		r.opts.Prober.Learn(snapshot.Down)
	}
}

// keepUnread returns those of a node's drains that are shared in a form which nobody can read: they have not been undrained. Each is told once.
func (r *Register) keepUnread(mine []Drain, unread map[string]error) (kept []Drain) {
	for _, d := range mine {
		if unread[d.Key()] != nil {
			kept = append(kept, d)
		}
	}
	for key, err := range unread {
		if r.unread[key] == nil {
			drained := slices.ContainsFunc(kept, func(d Drain) bool { return d.Key() == key })
			r.log.Error("a drained backend in Redis cannot be read: drain or undrain it anew", "drain", key, "drained_here", drained, "err", err)
		}
	}
	r.unread = unread
	return kept
}

// restore brings back what was drained and down, in an emptied Redis, or as the first node there: it stays so.
func (r *Register) restore(ctx context.Context, mine saved) error {
	var down map[string]Finding
	if r.opts.Prober != nil {
		down = r.opts.Prober.Findings()
	}
	version, err := r.opts.Shared.Restore(ctx, mine.Drains, down)
	if err != nil {
		return err
	}
	if len(mine.Drains) > 0 {
		r.log.Warn("drained backends were missing in Redis and were written there anew", "drains", len(mine.Drains))
	}
	r.wasRead = time.Time{}   // another may have brought back more
	_ = r.keep(mine, version) // the file's error is noted
	return nil
}
