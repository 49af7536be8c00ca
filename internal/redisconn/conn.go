package redisconn

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// Bounds of what a Conn waits for. They are longer than CallTimeout: no caller
// waits for it, and a slow Redis shall be followed slowly rather than not at all.
const (
	// StepTimeout bounds one exchange.
	StepTimeout = 4 * time.Second
	// PingTimeout bounds a question to which a server that lives has the answer at
	// hand: the login, Ping.
	PingTimeout = 3 * time.Second
)

// A Conn is one RESP3 connection (RESP2 with a server that does not know it) with the answers and the pushes (invalidations)
// in the order in which the server sent them. Only one goroutine may use it.
type Conn struct {
	addr    string
	conn    net.Conn
	write   *bufio.Writer
	reader  *progress
	decoder decoder
	pushes  []Reply
	pushed  int // bytes that pushes take
	release func() bool
	// resp2: the server knows no RESP3, so nothing is pushed on this connection.
	resp2 bool
}

// Dial connects to the one server (with Sentinels: to the present master), logs
// in and selects the database. When ctx ends the connection is closed, which ends
// whatever waits on it. A Cluster has more than one server: see Client.Session.
func (c *Client) Dial(ctx context.Context) (*Conn, error) {
	if c.opts.Cluster {
		return nil, errors.New("redis: a Cluster has no single server to dial")
	}
	addr, err := c.server(ctx)
	if err != nil {
		return nil, err
	}
	return c.dialTo(ctx, addr)
}

func (c *Client) dialTo(ctx context.Context, addr string) (*Conn, error) {
	limited, cancel := context.WithTimeout(ctx, PingTimeout)
	defer cancel()
	nc, err := c.dialer.dial(limited, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	conn := &Conn{addr: addr, conn: nc, write: bufio.NewWriter(nc), reader: &progress{conn: nc}}
	conn.decoder.r = bufio.NewReaderSize(conn.reader, 64<<10)
	conn.release = context.AfterFunc(ctx, func() { nc.Close() })
	if err := conn.login(&c.opts); err != nil {
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
		hello = append(hello, "AUTH", cmp.Or(o.Username, "default"), o.Password)
	}
	replies, err := c.within(PingTimeout, append(hello, "SETNAME", clientName))
	if err != nil {
		return err
	}
	var commands [][]string
	if noHello(&replies[0]) {
		// An old server, or a proxy before one: RESP2 does, without pushes.
		c.resp2 = true
		if auth := []string{"AUTH", o.Username, o.Password}; o.Username != "" {
			commands = append(commands, auth)
		} else if o.Password != "" {
			commands = append(commands, []string{"AUTH", o.Password})
		}
	} else if err := c.refusal(&replies[0]); err != nil {
		return err
	}
	if o.DB != 0 {
		commands = append(commands, []string{"SELECT", strconv.Itoa(o.DB)})
	}
	replies, err = c.within(PingTimeout, append(commands, []string{"PING"})...)
	if err != nil {
		return err
	}
	return c.firstRefusal(replies)
}

// noHello reports whether the server does not know HELLO, or not RESP3.
func noHello(r *Reply) bool {
	return r.Failed && (strings.HasPrefix(r.Text, "NOPROTO") ||
		strings.Contains(r.Text, "unknown command") && strings.Contains(strings.ToUpper(r.Text), "HELLO"))
}

// refusal explains what a server says no to.
func (c *Conn) refusal(r *Reply) error {
	if !r.Failed {
		return nil
	}
	word, _, _ := strings.Cut(r.Text, " ")
	hint := ""
	switch word {
	case "NOAUTH", "WRONGPASS":
		hint = ": give user and password in the URL, redis://user:pass@host:port"
	case "LOADING":
		hint = ": it has just started and is reading its data"
	case "NOPERM":
		hint = ": the ACL of this user lacks something that Gatehouse needs"
	case "READONLY":
		hint = ": this is a replica; name the master"
	}
	return fmt.Errorf("redis at %s: %s%s", c.addr, r.Text, hint)
}

// Ping asks whether the server is there.
func (c *Conn) Ping() error {
	replies, err := c.within(PingTimeout, []string{"PING"})
	if err != nil {
		return err
	}
	return c.firstRefusal(replies)
}

// Track has the server tell of every change of keys with these prefixes from now
// on, as pushes. refusal says why it does not: it is too old, a proxy, or the
// user may not ask for that.
func (c *Conn) Track(prefixes ...string) (refusal, err error) {
	if c.resp2 { // an old server accepts the command, and pushes nothing
		return fmt.Errorf("redis at %s: no RESP3", c.addr), nil
	}
	command := []string{"CLIENT", "TRACKING", "ON", "BCAST"}
	for _, prefix := range prefixes {
		command = append(command, "PREFIX", prefix)
	}
	replies, err := c.Do(command)
	if err != nil {
		return nil, err
	}
	return replies[0].Err(), nil
}

// Do sends the commands at once and returns their replies in order; what a
// server refuses is a Reply with Failed. It takes at most StepTimeout for
// sending, and StepTimeout without a byte of the replies. After an error the connection is
// of no use.
func (c *Conn) Do(commands ...[]string) ([]Reply, error) {
	return c.within(StepTimeout, commands...)
}

// Read is Do for replies that may be large, each up to MaxReply: once those that are kept take more than room bytes, the
// others are read past, and have Left. The first one never has.
func (c *Conn) Read(room int, commands ...[]string) ([]Reply, error) {
	return c.exchange(StepTimeout, room, commands)
}

func (c *Conn) within(limit time.Duration, commands ...[]string) ([]Reply, error) {
	return c.exchange(limit, math.MaxInt, commands)
}

func (c *Conn) exchange(limit time.Duration, room int, commands [][]string) ([]Reply, error) {
	defer func() { c.decoder.leave = false }()
	if err := c.send(commands); err != nil {
		return nil, fmt.Errorf("redis at %s: %w", c.addr, err)
	}
	out := make([]Reply, 0, len(commands))
	for len(out) < len(commands) {
		reply, err := c.receive(limit)
		if err != nil {
			return nil, fmt.Errorf("redis at %s: %s: %w", c.addr, commands[len(out)][0], err)
		}
		if reply.push {
			if c.keep(&reply); c.pushed > maxPushed {
				c.pushes = []Reply{missed}
			}
			continue
		}
		room -= reply.size()
		c.decoder.leave = room < 0
		out = append(out, reply)
	}
	return out, nil
}

// maxPushed is how many bytes of pushes wait for Pushes. A hundred thousand keys take a quarter of it.
const maxPushed = 32 << 20

// missed is what stands for pushes that nobody has kept: that any key may have changed, as after FLUSHALL.
var missed = Reply{push: true, Items: []Reply{{Text: "invalidate"}, {Null: true}}}

func (c *Conn) keep(push *Reply) {
	c.pushes = append(c.pushes, *push)
	c.pushed += push.size()
}

// Must is Do for commands that the server may not refuse.
func (c *Conn) Must(commands ...[]string) ([]Reply, error) {
	replies, err := c.Do(commands...)
	if err != nil {
		return nil, err
	}
	return replies, c.firstRefusal(replies)
}

func (c *Conn) firstRefusal(replies []Reply) error {
	for i := range replies {
		if err := c.refusal(&replies[i]); err != nil {
			return err
		}
	}
	return nil
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

// receive reads one reply, which may take longer than the limit as long as some
// of it comes: a value of 512 MB, which only its site may suffer from.
func (c *Conn) receive(limit time.Duration) (Reply, error) {
	c.reader.limit = limit
	defer func() { c.reader.limit = 0 }()
	return c.decoder.read()
}

// progress reads from a connection that may be silent for a limit; 0: the
// connection's own deadline holds.
type progress struct {
	conn  net.Conn
	limit time.Duration
}

func (p *progress) Read(b []byte) (int, error) {
	if p.limit > 0 {
		if err := p.conn.SetReadDeadline(time.Now().Add(p.limit)); err != nil {
			return 0, err
		}
	}
	return p.conn.Read(b)
}

// Pushes waits for pushes up to the given time and returns those that came, none
// if there were none. Once one has come, it waits another settle for more: what
// is changed by several commands in a row is then seen as one change. More than maxPushed is not waited for; of more that came during
// a Do there is one push only, which says that any key may have changed.
func (c *Conn) Pushes(wait, settle time.Duration) ([]Reply, error) {
	end := time.Now().Add(wait)
	if len(c.pushes) > 0 {
		end = time.Now().Add(settle)
	}
	for c.pushed <= maxPushed {
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
		if c.keep(&reply); len(c.pushes) == 1 {
			end = time.Now().Add(settle)
		}
	}
	out := c.pushes
	c.pushes, c.pushed = nil, 0
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
