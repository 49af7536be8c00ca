package redisconn

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// StepTimeout bounds one exchange on a Conn. It is longer than CallTimeout: no
// caller waits for it, and a slow Redis shall be followed slowly rather than not
// at all.
const StepTimeout = 4 * time.Second

// A Conn is one RESP3 connection with the answers and the pushes (invalidations)
// in the order in which the server sent them. Only one goroutine may use it.
type Conn struct {
	addr    string
	conn    net.Conn
	write   *bufio.Writer
	decoder decoder
	pushes  []Reply
	release func() bool
	opts    *Options
}

// Dial connects to the server (with Sentinels: to the present master), logs in
// and selects the database. When ctx ends the connection is closed, which ends
// whatever waits on it.
func (c *Client) Dial(ctx context.Context) (*Conn, error) {
	o := &c.opts
	if o.Cluster {
		return nil, errors.New("redis: a single connection to a Redis Cluster is not supported")
	}
	limited, cancel := context.WithTimeout(ctx, StepTimeout)
	defer cancel()
	addr, err := o.server(limited)
	if err != nil {
		return nil, err
	}
	nc, err := (&net.Dialer{}).DialContext(limited, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	if o.TLS {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("redis at %s: %w", addr, err), nc.Close())
		}
		secure := tls.Client(nc, o.tlsConfig(host))
		if err := secure.HandshakeContext(limited); err != nil {
			return nil, errors.Join(fmt.Errorf("redis at %s: TLS: %w", addr, err), nc.Close())
		}
		nc = secure
	}
	conn := &Conn{
		addr: addr, conn: nc, opts: o,
		write:   bufio.NewWriter(nc),
		decoder: decoder{r: bufio.NewReaderSize(nc, 64<<10)},
	}
	conn.release = context.AfterFunc(ctx, func() { nc.Close() })
	if err := conn.login(o); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// Addr is the host:port of the server.
func (c *Conn) Addr() string { return c.addr }

// Close ends the connection.
func (c *Conn) Close() error {
	if !c.release() {
		return nil // ctx has ended, and closed it
	}
	return c.conn.Close()
}

func (c *Conn) login(o *Options) error {
	hello := []string{"HELLO", "3"}
	if o.Password != "" {
		user := o.Username
		if user == "" {
			user = "default"
		}
		hello = append(hello, "AUTH", user, o.Password)
	}
	commands := [][]string{append(hello, "SETNAME", clientName)}
	if o.DB != 0 {
		commands = append(commands, []string{"SELECT", strconv.Itoa(o.DB)})
	}
	replies, err := c.Do(commands...)
	if err != nil {
		return err
	}
	for i := range replies {
		if err := c.refusal(&replies[i]); err != nil {
			return err
		}
	}
	return c.Ping()
}

// refusal explains what a server says no to.
func (c *Conn) refusal(r *Reply) error {
	if !r.Failed {
		return nil
	}
	word, _, _ := strings.Cut(r.Text, " ")
	hint := ""
	switch {
	case word == "NOAUTH" || word == "WRONGPASS":
		hint = ": give user and password in the URL, redis://user:pass@host:port"
	case word == "LOADING":
		hint = ": it has just started and is reading its data"
	case word == "NOPERM":
		hint = ": the ACL of this user lacks something that Gatehouse needs"
	case word == "NOPROTO", strings.Contains(r.Text, "unknown command") && strings.Contains(strings.ToUpper(r.Text), "HELLO"):
		hint = ": Redis 6 or newer is needed"
	case word == "READONLY":
		hint = ": this is a replica; name the master"
	}
	return fmt.Errorf("redis at %s: %s%s", c.addr, r.Text, hint)
}

// Ping asks whether the server is there and, where Sentinels rule, still the
// master.
func (c *Conn) Ping() error {
	if c.opts.Master == "" {
		_, err := c.Must([]string{"PING"})
		return err
	}
	replies, err := c.Must([]string{"ROLE"})
	if err != nil {
		return err
	}
	if len(replies[0].Items) == 0 || replies[0].Items[0].Text != "master" {
		return c.demoted()
	}
	// The old master learns of a failover only seconds later.
	ctx, cancel := context.WithTimeout(context.Background(), DialTimeout+CallTimeout)
	defer cancel()
	if addr, err := c.opts.server(ctx); err == nil && addr != c.addr {
		return c.demoted()
	}
	return nil // also without a Sentinel that answers
}

func (c *Conn) demoted() error {
	return fmt.Errorf("redis at %s is not the master any more", c.addr)
}

// Do sends the commands at once and returns their replies in order; what a
// server refuses is a Reply with Failed. It takes at most StepTimeout for
// sending and StepTimeout between two replies. After an error the connection is
// of no use.
func (c *Conn) Do(commands ...[]string) ([]Reply, error) {
	if err := c.send(commands); err != nil {
		return nil, fmt.Errorf("redis at %s: %w", c.addr, err)
	}
	out := make([]Reply, 0, len(commands))
	for len(out) < len(commands) {
		reply, err := c.receive(StepTimeout)
		if err != nil {
			return nil, fmt.Errorf("redis at %s: %s: %w", c.addr, commands[len(out)][0], err)
		}
		if reply.push {
			c.pushes = append(c.pushes, reply)
			continue
		}
		out = append(out, reply)
	}
	return out, nil
}

// Must is Do for commands that the server may not refuse.
func (c *Conn) Must(commands ...[]string) ([]Reply, error) {
	replies, err := c.Do(commands...)
	for i := range replies {
		if err := c.refusal(&replies[i]); err != nil {
			return nil, err
		}
	}
	return replies, err
}

func (c *Conn) send(commands [][]string) error {
	if err := c.conn.SetWriteDeadline(time.Now().Add(StepTimeout)); err != nil {
		return err
	}
	for _, command := range commands {
		fmt.Fprintf(c.write, "*%d\r\n", len(command))
		for _, arg := range command {
			fmt.Fprintf(c.write, "$%d\r\n%s\r\n", len(arg), arg)
		}
	}
	return c.write.Flush() // also returns an error of the writes above
}

func (c *Conn) receive(within time.Duration) (Reply, error) {
	if err := c.conn.SetReadDeadline(time.Now().Add(within)); err != nil {
		return Reply{}, err
	}
	return c.decoder.read()
}

// Pushes waits for pushes up to the given time and returns those that came, none
// if there were none. Once one has come, it waits another settle for more: what
// is changed by several commands in a row is then seen as one change.
func (c *Conn) Pushes(wait, settle time.Duration) ([]Reply, error) {
	end := time.Now().Add(wait)
	if len(c.pushes) > 0 {
		end = time.Now().Add(settle)
	}
	for {
		came, err := c.something(end)
		if err != nil {
			return nil, fmt.Errorf("redis at %s: %w", c.addr, err)
		}
		if !came {
			break
		}
		reply, err := c.receive(StepTimeout)
		if err != nil {
			return nil, fmt.Errorf("redis at %s: %w", c.addr, err)
		}
		if !reply.push {
			return nil, fmt.Errorf("redis at %s: an answer to no question: %.80q", c.addr, reply.Text)
		}
		if c.pushes = append(c.pushes, reply); len(c.pushes) == 1 {
			end = time.Now().Add(settle)
		}
	}
	out := c.pushes
	c.pushes = nil
	return out, nil
}

// something waits until there is a byte to read; false: the time is over.
func (c *Conn) something(end time.Time) (bool, error) {
	if err := c.conn.SetReadDeadline(end); err != nil {
		return false, err
	}
	_, err := c.decoder.r.Peek(1)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return false, nil
	}
	return err == nil, err
}

// Kind returns what a push tells of ("invalidate") and its argument.
func (r *Reply) Kind() (string, *Reply) {
	if !r.push || len(r.Items) < 2 {
		return "", nil
	}
	return r.Items[0].Text, &r.Items[1]
}
