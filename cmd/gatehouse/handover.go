package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"gatehouse/admin"
)

// A life is the phase that a node is in: only a serving one can be upgraded, one
// upgrade at a time, and none while it ends. The zero value is a node that starts.
type life struct {
	mu     sync.Mutex
	phase  phase
	cancel context.CancelFunc // of the upgrade under way
	idle   chan struct{}      // closed when the upgrade under way is over
	heir   *heir              // once handed
}

type phase int

const (
	starting phase = iota
	serving
	upgrading
	handed // the heir serves
	ending
)

// serve says that the node serves and works in the data folder.
func (l *life) serve() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.phase == starting {
		l.phase = serving
	}
}

// beginUpgrade returns a context that ends when the node does.
func (l *life) beginUpgrade() (context.Context, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch l.phase {
	case starting:
		return nil, errors.New("this process is still taking over from the one before: try again in a moment")
	case upgrading:
		return nil, errors.New("another upgrade is under way")
	case handed:
		return nil, fmt.Errorf("process %d has taken over already", l.heir.process.Pid)
	case ending:
		return nil, errors.New("the node is draining, and ends")
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.phase, l.cancel, l.idle = upgrading, cancel, make(chan struct{})
	return ctx, nil
}

// endUpgrade notes the outcome. It reports false if the node is to end, whatever
// the outcome.
func (l *life) endUpgrade(h *heir) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cancel()
	close(l.idle)
	if l.phase == ending {
		return false
	}
	if l.phase = serving; h != nil {
		l.phase, l.heir = handed, h
	}
	return true
}

// end ends the node: an upgrade under way is broken off first. The heir is not
// nil if the node was handed over before.
func (l *life) end() *heir {
	l.mu.Lock()
	if l.phase == handed {
		defer l.mu.Unlock()
		return l.heir
	}
	var idle chan struct{}
	if l.phase == upgrading {
		l.cancel()
		idle = l.idle
	}
	l.phase = ending
	l.mu.Unlock()
	if idle != nil {
		<-idle
	}
	return nil
}

// upgrade starts a new process of our binary, hands it the listening sockets, and
// returns once it serves. An error means that nothing has changed.
func (n *node) upgrade(context.Context) (done admin.Upgraded, err error) {
	if err := n.upgradable(); err != nil {
		return done, fmt.Errorf("not upgraded: %w", err)
	}
	ctx, err := n.life.beginUpgrade()
	if err != nil {
		return done, fmt.Errorf("not upgraded: %w", err)
	}
	n.log.Info("upgrade begins", "binary", ownBinary)
	begin := time.Now()
	h, err := n.startHeir(ctx)
	if !n.life.endUpgrade(h) && h != nil {
		// It serves, but the node was told to stop: that is meant for it too.
		_ = h.process.Signal(syscall.SIGTERM) // fails only if it has ended
		h, err = nil, errors.New("this process is to stop, so the new one was ended")
	}
	if err != nil {
		n.log.Error("upgrade failed, this process goes on", "err", err)
		return done, fmt.Errorf("not upgraded, process %d goes on: %w", os.Getpid(), err)
	}
	done = admin.Upgraded{
		OldPID: os.Getpid(), NewPID: h.process.Pid,
		OldVersion: readVersion().Version, NewVersion: h.Version, Seconds: time.Since(begin).Seconds(),
	}
	n.log.Info("upgraded", "pid", done.NewPID, "version", done.NewVersion, "after", time.Since(begin).Round(time.Millisecond))
	n.notify(fmt.Sprintf("MAINPID=%d", done.NewPID)) // the heir says so too; which one is believed is NotifyAccess'
	close(n.handed)
	return done, nil
}

func (n *node) startHeir(ctx context.Context) (*heir, error) {
	if err := n.follower.Save(); err != nil { // it begins with what it finds there
		n.log.Warn("last good routes cannot be written before the upgrade", "err", err)
	}
	private, err := filepath.Abs(n.socket.Path())
	if err != nil {
		return nil, err
	}
	s := &successor{
		binary: ownBinary, args: os.Args[1:], wait: upgradeWait, stderr: n.out,
		offer: offer{Protocol: offerProtocol, Private: private, Routes: n.follower.Table().Len() > 0, Cache: n.cfg.Cache.Snapshot},
	}
	add := func(name string, fixed bool, socket any) {
		if conn, ok := socket.(syscall.Conn); ok { // a listener that is off is none
			s.offer.Sockets = append(s.offer.Sockets, offeredSocket{Name: name, Fixed: fixed})
			s.sockets = append(s.sockets, conn)
		}
	}
	add("http", n.fixed["http"], n.http)
	add("https", n.fixed["https"], n.https)
	add("admin", n.fixed["admin"], n.admin)
	add(privateName, false, n.socket)
	leaving, err := n.backends.Leave()
	if err != nil {
		n.log.Warn("backend drain --wait of the new process will not know of this one's requests", "err", err)
	}
	h, err := s.start(ctx)
	if err != nil {
		leaving.Close()
		return nil, err
	}
	n.leaving = leaving
	n.socket.Keep(h.Private)
	return h, nil
}

// upgradable says why the end of this process would be taken for the service's
// end, and the new process killed with it.
func (n *node) upgradable() error {
	switch pid := os.Getpid(); {
	case n.in == nil:
		return errors.New("only gatehouse serve can be")
	case ownBinary == "":
		return errors.New("the path of this program is not known")
	case pid == 1:
		return errors.New("this is process 1 of its container, which would end with it: start a new container instead")
	case os.Getppid() == 1 && isContainerInit(commandOf(1)):
		return fmt.Errorf("process 1 (%s) ends its container when this process ends: start a new container instead", commandOf(1))
	case os.Getenv("SYSTEMD_EXEC_PID") == fmt.Sprint(pid) && os.Getenv(notifyVar) == "":
		return errors.New("systemd would take the end of this process for the end of the service: set Type=notify and NotifyAccess=all in the unit")
	}
	return nil
}

func commandOf(pid int) string {
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(comm))
}

// isContainerInit knows the programs that containers put before ours: each ends
// with its one child.
func isContainerInit(name string) bool {
	switch name {
	case "docker-init", "tini", "tini-static", "dumb-init", "catatonit", "podman-init":
		return true
	}
	return false
}

// upgradeOnSignal upgrades at each SIGUSR2 until ctx ends.
func (n *node) upgradeOnSignal(ctx context.Context, usr2 <-chan os.Signal) {
	for {
		select {
		case <-usr2:
			if _, err := n.upgrade(ctx); err != nil {
				n.log.Warn("upgrade by signal", "err", err)
			}
		case <-ctx.Done():
			return
		}
	}
}
