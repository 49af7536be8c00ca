package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"gatehouse/cache"
	"gatehouse/edge"
	"gatehouse/routes"
)

// snapshotFile holds, in the data folder and between two processes, what was most valuable in the cache: a node that drains
// writes it when its last request has ended, so that no invalidation is missing in it, and one that starts removes it before
// it looks at what it says, so that it never comes back a second time. A heir gets the same by a pipe.
const snapshotFile = "cache.snapshot"

const (
	// snapshotTime bounds the choosing and writing; what has had no turn by then is left out.
	snapshotTime = 1500 * time.Millisecond
	// snapshotEnd is when nobody waits for the disk any more, which the writing ends with.
	snapshotEnd = snapshotTime + time.Second
	// restoreWait is how long the first connection waits for what was kept. What takes longer comes in beside the requests.
	restoreWait = 50 * time.Millisecond
)

// snapshotOptions name how far purges were applied: the next process reads on from there. Nothing but purges and requests
// invalidates what is stored, and there are no requests any more.
func (n *node) snapshotOptions() cache.SnapshotOptions {
	o := cache.SnapshotOptions{Templates: edge.StoredHeads()}
	if n.purges != nil {
		o.Position = n.purges.Applied()
	}
	return o
}

// readOn has purges read on from where those that the file has been through end. Without such a place all that is loaded counts as
// purged when the node begins to follow them.
func (n *node) readOn(file *os.File) {
	if n.purges == nil {
		return
	}
	saved, err := cache.OpenSnapshot(file, edge.StoredHeads())
	if err == nil {
		n.purges.StartAt(saved.Position)
	}
	if _, seek := file.Seek(0, io.SeekStart); seek != nil || err != nil {
		return // loadCache says what is wrong with it
	}
}

// saveCache writes the file, unless ctx has ended or ends meanwhile. A node that cannot write it has drained all the same.
func (n *node) saveCache(ctx context.Context) {
	if !n.cfg.Cache.Snapshot || ctx.Err() != nil {
		return
	}
	saved := make(chan struct{})
	go func() { // a disk that hangs cannot be waited for: the process ends beside it, and what is there then is no snapshot
		defer close(saved)
		n.writeSnapshot(ctx)
	}()
	select {
	case <-saved:
	case <-ctx.Done():
	case <-time.After(snapshotEnd):
		n.log.Warn("the cache is not kept: the disk is too slow", "file", n.cfg.dataFile(snapshotFile), "after", snapshotEnd)
	}
}

func (n *node) writeSnapshot(ctx context.Context) {
	begin, path := time.Now(), n.cfg.dataFile(snapshotFile)
	var done cache.Snapshotted
	err := routes.WriteFile(path, 0o600, func(w *bufio.Writer) (err error) {
		limited, cancel := context.WithTimeout(ctx, snapshotTime)
		defer cancel()
		if done, err = n.cache.Snapshot(limited, w, n.snapshotOptions()); err != nil {
			return err
		}
		return ctx.Err() // a second signal: the process is not to wait for the disk
	})
	if err != nil {
		n.log.Warn("the cache is not kept", "file", path, "err", err)
		return
	}
	n.logSnapshot(path, done, begin)
}

func (n *node) logSnapshot(to string, done cache.Snapshotted, begin time.Time) {
	n.log.Info("cache kept", "to", to, "entries", done.Entries, "bytes", done.Bytes, "left_out", done.Left, "useless", done.Useless,
		"took", time.Since(begin).Round(time.Millisecond))
}

// giveCache writes the snapshot to a heir once the last request has ended here: until then one of them might invalidate what
// the heir would believe.
func (n *node) giveCache(ctx context.Context, pipe *os.File) {
	defer pipe.Close()
	if !n.cfg.Cache.Snapshot {
		return
	}
	select {
	case <-n.edge.Settled():
	case <-ctx.Done():
		return
	}
	begin := time.Now()
	limited, cancel := context.WithTimeout(ctx, snapshotTime)
	defer cancel()
	w := bufio.NewWriterSize(pipe, 64<<10)
	err := pipe.SetWriteDeadline(begin.Add(snapshotTime)) // a heir that does not read
	var done cache.Snapshotted
	if err == nil {
		done, err = n.cache.Snapshot(limited, w, n.snapshotOptions())
	}
	if err = errors.Join(err, w.Flush()); err != nil {
		n.log.Info("the new process does not take the cache", "err", err)
		return
	}
	n.logSnapshot("the new process", done, begin)
}

// beginRestore begins to load what was kept, if there is anything, and waits a moment for it.
func (n *node) beginRestore(w *work) {
	var restore func(context.Context)
	if before := n.predecessor(); before != nil {
		restore = func(ctx context.Context) { n.takeCache(ctx, before.cache) }
	} else if file := n.takeSnapshotFile(); file != nil {
		n.readOn(file)
		restore = func(ctx context.Context) { n.loadCache(ctx, file) }
	}
	if restore == nil {
		return
	}
	done := make(chan struct{})
	w.begin(w.all, "kept cache", func() error {
		defer close(done)
		restore(w.all)
		return nil
	})
	if n.predecessor() != nil { // it goes on serving for now, and so does its cache
		return
	}
	select {
	case <-done:
	case <-time.After(restoreWait):
	}
}

// takeSnapshotFile opens the file and takes its name away, with what a process that was killed has left of another. It is nil
// if there is none, or it is not wanted.
func (n *node) takeSnapshotFile() *os.File {
	path := n.cfg.dataFile(snapshotFile)
	if err := n.removeHalves(); err != nil {
		n.log.Warn("what is left of a cache that was to be kept cannot be removed", "err", err)
	}
	info, err := os.Lstat(path) // before it is opened: that alone would wait for who writes into a pipe
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	var file *os.File
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = errors.New("it is no regular file")
	case n.cfg.Cache.Snapshot:
		file, err = os.Open(path)
	}
	if removed := os.Remove(path); removed != nil {
		// It would be loaded again by the next process, with all that was invalidated since.
		err = errors.Join(err, removed)
		if file != nil {
			err = errors.Join(err, file.Close())
			file = nil
		}
	}
	if err != nil {
		n.ignoreSnapshot(path, err)
	}
	return file
}

// removeHalves removes what routes.WriteFile had not put in place when its process was killed.
func (n *node) removeHalves() error {
	files, err := os.ReadDir(n.cfg.Data)
	for _, f := range files {
		if strings.HasPrefix(f.Name(), "."+snapshotFile+".") {
			err = errors.Join(err, os.Remove(n.cfg.dataFile(f.Name())))
		}
	}
	return err
}

func (n *node) ignoreSnapshot(file string, err error) {
	n.log.Warn("the cache that was kept is not loaded", "file", file, "err", err)
}

// loadCache loads the file if it is good as a whole.
func (n *node) loadCache(ctx context.Context, file *os.File) {
	defer file.Close()
	begin := time.Now()
	err := checkSnapshot(file)
	var done cache.Restored
	if err == nil {
		done, err = n.restore(ctx, file)
	}
	n.logRestored(file.Name(), done, err, begin)
}

// mostSnapshot is far beyond what is written: what is larger is not even read.
const mostSnapshot = 2 * cache.DefaultSnapshotBytes

func checkSnapshot(file *os.File) error {
	info, err := file.Stat()
	switch {
	case err != nil:
		return err
	case info.Size() > mostSnapshot:
		return fmt.Errorf("it has %d bytes, at most %d are written", info.Size(), int64(mostSnapshot))
	}
	if err := cache.CheckSnapshot(file); err != nil {
		return err
	}
	_, err = file.Seek(0, io.SeekStart)
	return err
}

// takeCache loads what the process before gives, as soon as it does.
func (n *node) takeCache(ctx context.Context, pipe *os.File) {
	if pipe == nil {
		return
	}
	defer pipe.Close()
	if !n.cfg.Cache.Snapshot {
		return
	}
	stop := context.AfterFunc(ctx, func() { _ = pipe.Close() }) // ends the read
	defer stop()
	first := bufio.NewReader(pipe)
	if _, err := first.Peek(1); err != nil { // it had none to give, or has ended
		n.log.Info("the process before has given no cache", "reason", err)
		return
	}
	begin := time.Now()
	done, err := n.restore(ctx, io.LimitReader(first, mostSnapshot))
	n.logRestored("the process before", done, err, begin)
}

// restore loads entries of vhosts that have the cache on. Which ones do is known from the first table on.
func (n *node) restore(ctx context.Context, r io.Reader) (cache.Restored, error) {
	if n.edge.Table() == nil {
		select {
		case <-n.follower.First():
		case <-ctx.Done():
			return cache.Restored{}, ctx.Err()
		}
	}
	saved, err := cache.OpenSnapshot(r, edge.StoredHeads())
	if err != nil {
		return cache.Restored{}, err
	}
	if n.purges != nil {
		saved.Since = n.purges.Since(saved.Position)
	}
	return n.cache.Restore(ctx, saved, n.edge.CacheOf)
}

func (n *node) logRestored(from string, done cache.Restored, err error, begin time.Time) {
	if err != nil {
		n.ignoreSnapshot(from, err)
		if done == (cache.Restored{}) {
			return
		}
	}
	n.log.Info("cache restored", "from", from, "entries", done.Entries, "bytes", done.Bytes, "expired", done.Expired,
		"gone", done.Gone, "newer", done.Newer, "no_room", done.Room, "took", time.Since(begin).Round(time.Millisecond))
}
