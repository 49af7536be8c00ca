package redisconn

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"
)

// ErrOtherMasters is returned by the methods of a Session once other servers are
// the masters: what was read may lack their data, and a new Session is needed.
var ErrOtherMasters = errors.New("redis: other servers are the masters now")

// A Session is one Conn to each master: to one without a Cluster. Only one
// goroutine may use it.
type Session struct {
	client   *Client
	ctx      context.Context // of the connections
	topology *topology
	conns    []*Conn // of topology.masters
	// asked are masters-to-be: slots are on their way to them.
	asked map[string]*Conn
	turn  int // who is asked for the topology next
}

// Session connects to every master. When ctx ends the connections are closed.
func (c *Client) Session(ctx context.Context) (*Session, error) {
	s := &Session{client: c, ctx: ctx, asked: map[string]*Conn{}}
	if !c.opts.Cluster {
		conn, err := c.Dial(ctx)
		if err != nil {
			return nil, err
		}
		s.topology, s.conns = &topology{masters: []string{conn.addr}}, []*Conn{conn}
		return s, nil
	}
	var err error
	if s.topology, err = c.discover(ctx); err != nil {
		return nil, err
	}
	c.renewBehind() // a session begins where masters were lost, or others are
	if s.conns, err = s.Dial(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// Dial makes one more connection to each master, in the order of the masters.
func (s *Session) Dial(ctx context.Context) ([]*Conn, error) {
	conns := make([]*Conn, len(s.topology.masters))
	errs := make([]error, len(conns))
	var all sync.WaitGroup
	for i, addr := range s.topology.masters {
		all.Go(func() { conns[i], errs[i] = s.client.dialTo(ctx, addr) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		for _, conn := range conns {
			if conn != nil {
				err = errors.Join(err, conn.Close())
			}
		}
		return nil, err
	}
	return conns, nil
}

// discover asks at once all servers that are named or were of the last topology,
// and believes the first one that answers: of those that hang nobody waits.
func (c *Client) discover(ctx context.Context) (*topology, error) {
	ctx, cancel := context.WithTimeout(ctx, DialTimeout+PingTimeout)
	defer cancel()
	servers := c.dialer.trusted()
	type answer struct {
		topology *topology
		err      error
	}
	answers := make(chan answer, len(servers))
	var all sync.WaitGroup
	for _, addr := range servers {
		all.Go(func() {
			t, err := c.topologyAt(ctx, addr)
			answers <- answer{t, err}
		})
	}
	defer all.Wait()
	defer cancel()
	var errs []error
	for range servers {
		a := <-answers
		if a.err == nil {
			c.dialer.believe(a.topology.servers)
			return a.topology, nil
		}
		errs = append(errs, a.err)
	}
	return nil, errors.Join(errs...)
}

func (c *Client) topologyAt(ctx context.Context, addr string) (*topology, error) {
	conn, err := c.dialTo(ctx, addr)
	if err != nil {
		return nil, err
	}
	t, err := conn.topology()
	return t, errors.Join(err, conn.Close())
}

func (c *Conn) topology() (*topology, error) {
	replies, err := c.Must([]string{"CLUSTER", "SLOTS"})
	if err != nil {
		return nil, err
	}
	return parseSlots(&replies[0], c.addr)
}

// Masters returns the host:port of the masters. The numbers that On takes and
// MasterOf returns are places in it.
func (s *Session) Masters() []string { return s.topology.masters }

// MasterOf returns which master has a key; -1: none at present.
func (s *Session) MasterOf(key string) int { return s.topology.masterOf(key) }

// On is Conn.Must with one of the masters.
func (s *Session) On(master int, commands ...[]string) ([]Reply, error) {
	return s.conns[master].Must(commands...)
}

// Close ends the connections.
func (s *Session) Close() error {
	var errs []error
	for _, conn := range s.conns {
		errs = append(errs, conn.Close())
	}
	for _, conn := range s.asked {
		errs = append(errs, conn.Close())
	}
	return errors.Join(errs...)
}

// Check reports whether all masters are there and still the masters. It keeps
// idle connections alive.
func (s *Session) Check() error {
	for _, conn := range s.conns {
		if err := conn.Ping(); err != nil {
			return err
		}
	}
	switch {
	case s.client.opts.Cluster:
		// Each in turn: one that is cut off from the others has an old view.
		s.turn++
		return s.refresh(s.conns[s.turn%len(s.conns)])
	case s.client.opts.Master != "":
		return s.checkSentinels()
	}
	return nil
}

func (s *Session) checkSentinels() error {
	replies, err := s.conns[0].Must([]string{"ROLE"})
	if err != nil {
		return err
	}
	if len(replies[0].Items) == 0 || replies[0].Items[0].Text != "master" {
		return ErrOtherMasters
	}
	// The old master learns of a failover only seconds later.
	ctx, cancel := context.WithTimeout(s.ctx, DialTimeout+CallTimeout)
	defer cancel()
	if addr, err := s.client.server(ctx); err == nil && addr != s.conns[0].addr {
		return ErrOtherMasters
	}
	return nil // also without a Sentinel that answers
}

// refresh takes the present topology from one of the nodes.
func (s *Session) refresh(from *Conn) error {
	t, err := from.topology()
	if err != nil {
		return err
	}
	if !slices.Equal(t.masters, s.topology.masters) {
		return ErrOtherMasters
	}
	s.topology = t
	s.client.dialer.believe(t.servers)
	return nil
}

const (
	redirects    = 20                    // how often commands are sent again
	redirectWait = 50 * time.Millisecond // in between: the Cluster settles
)

// Do is Conn.Do of commands whose second word is a key: each goes to the
// master that has it, also while slots move.
func (s *Session) Do(commands ...[]string) ([]Reply, error) {
	return s.Read(math.MaxInt, commands...)
}

// Read is Do with the bound of Conn.Read, of which each master has an equal part.
func (s *Session) Read(room int, commands ...[]string) ([]Reply, error) {
	if !s.client.opts.Cluster {
		return s.conns[0].Read(room, commands...)
	}
	out := make([]Reply, len(commands))
	todo := make([]int, len(commands))
	for i := range todo {
		todo[i] = i
	}
	for range redirects {
		if err := s.round(room/len(s.conns), commands, todo, out); err != nil {
			return nil, err
		}
		from := s.conns[s.turn%len(s.conns)]
		again := todo[:0]
		for _, i := range todo {
			moved, addr := redirection(&out[i])
			if !moved {
				continue
			}
			again = append(again, i)
			if conn := s.to(addr); conn != nil {
				from = conn // it knows best
			}
		}
		if todo = again; len(todo) == 0 {
			return out, nil
		}
		select {
		case <-s.ctx.Done():
			return nil, s.ctx.Err()
		case <-time.After(redirectWait):
		}
		if err := s.refresh(from); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("redis cluster: %s %s: %s", commands[todo[0]][0], commands[todo[0]][1], out[todo[0]].Text)
}

func (s *Session) to(addr string) *Conn {
	if i := slices.Index(s.topology.masters, addr); i >= 0 {
		return s.conns[i]
	}
	return nil
}

// redirection reports whether a command has to be sent again, and who has its
// key now, if that is known.
func redirection(r *Reply) (again bool, addr string) {
	if !r.Failed {
		return false, ""
	}
	word, rest, _ := strings.Cut(r.Text, " ")
	switch word {
	case "MOVED":
		_, addr, _ = strings.Cut(rest, " ")
		return true, addr
	case "CLUSTERDOWN", "TRYAGAIN":
		return true, ""
	}
	return false, ""
}

// round sends each of the commands todo to its master, to all masters at once. room is each one's.
func (s *Session) round(room int, commands [][]string, todo []int, out []Reply) error {
	parts := make([][]int, len(s.conns))
	for _, i := range todo {
		at := s.MasterOf(commands[i][1])
		if at == noMaster {
			out[i] = Reply{Failed: true, Text: "CLUSTERDOWN the slot is served by nobody"}
			continue
		}
		parts[at] = append(parts[at], i)
	}
	errs := make([]error, len(parts))
	var all sync.WaitGroup
	for at, part := range parts {
		if len(part) == 0 {
			continue
		}
		all.Go(func() {
			mine := make([][]string, len(part))
			for k, i := range part {
				mine[k] = commands[i]
			}
			var replies []Reply
			replies, errs[at] = s.conns[at].Read(room, mine...)
			for k := range replies {
				out[part[k]] = replies[k]
			}
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, i := range todo {
		if addr, ok := strings.CutPrefix(out[i].Text, "ASK "); ok && out[i].Failed {
			if err := s.ask(addr, commands[i], &out[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// ask sends a command to the node that its key is on the way to ("SLOT ADDR").
func (s *Session) ask(where string, command []string, out *Reply) (err error) {
	_, addr, _ := strings.Cut(where, " ")
	conn := s.to(addr)
	if conn == nil {
		conn = s.asked[addr]
	}
	if conn == nil {
		if conn, err = s.client.dialTo(s.ctx, addr); err != nil {
			return err
		}
		s.asked[addr] = conn
	}
	replies, err := conn.Do([]string{"ASKING"}, command)
	if err != nil {
		return err
	}
	*out = replies[1]
	return nil
}
