package redisconn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Bounds of the calls of a Client.
const (
	// DialTimeout bounds a new connection, TLS and login included.
	DialTimeout = 500 * time.Millisecond
	// CallTimeout bounds one command on an open connection.
	CallTimeout = 300 * time.Millisecond
	// PatientTimeout bounds one command of Client.Patient.
	PatientTimeout = 2 * time.Second
)

// A Client is the go-redis client that all adapters share, with bounded calls
// and no retries: each adapter knows best what to do without Redis. Safe for
// concurrent use.
type Client struct {
	redis.UniversalClient
	opts    Options
	dialer  *dialer
	patient redis.UniversalClient
}

// Open makes the client. Nothing is dialled yet: a Redis that is away is no
// error here. Whoever opens it closes it.
func Open(o Options) (*Client, error) {
	if len(o.Addrs) == 0 {
		return nil, errors.New("redis: no address")
	}
	if o.Cluster && o.Master != "" {
		return nil, errors.New("redis: a Cluster has no Sentinels")
	}
	quiet()
	d, err := newDialer(&o)
	if err != nil {
		return nil, err
	}
	c := &Client{opts: o, dialer: d, UniversalClient: redis.NewUniversalClient(o.universal(d, CallTimeout))}
	if single, ok := c.UniversalClient.(*redis.Client); ok {
		c.patient = single.WithTimeout(PatientTimeout)
	} else {
		c.patient = redis.NewUniversalClient(o.universal(d, PatientTimeout))
	}
	return c, nil
}

// universal are go-redis' settings: a call on an open connection takes at most
// the given time.
func (o *Options) universal(d *dialer, call time.Duration) *redis.UniversalOptions {
	return &redis.UniversalOptions{
		Addrs: o.Addrs, MasterName: o.Master, IsClusterMode: o.Cluster,
		Username: o.Username, Password: o.Password, DB: o.DB,
		Dialer:     d.quick, // TLS is its affair
		ClientName: clientName,
		// A hung server blocks 5 s with the defaults, whatever the context says.
		ContextTimeoutEnabled: true,
		DialTimeout:           DialTimeout,
		ReadTimeout:           call,
		WriteTimeout:          call,
		PoolTimeout:           call,
		MaxRetries:            -1,
		DialerRetries:         1,
		// Nothing of go-redis' own on the wire: the commands that a node sends
		// when idle are those of the adapters.
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

const clientName = "gatehouse"

// Patient is the same client for what a person waits for, such as a verb's write:
// its commands have PatientTimeout in place of CallTimeout. The Client closes it.
func (c *Client) Patient() redis.UniversalClient { return c.patient }

// Close ends all connections but those of Dial and Open, which end with their
// contexts.
func (c *Client) Close() error {
	err := c.UniversalClient.Close()
	if c.opts.Cluster { // else it shares the connections
		err = errors.Join(err, c.patient.Close())
	}
	return err
}

// Failover reports whether another server may become the master: with Sentinels, and in a Cluster.
func (c *Client) Failover() bool { return c.opts.Cluster || c.opts.Master != "" }

// Renew has the calls of a Cluster go to the masters of now: go-redis asks who they are once a minute, or when a server says
// that it is none, which a dead one does not. With Sentinels each new connection asks.
func (c *Client) Renew(ctx context.Context) error {
	var errs []error
	for _, client := range []redis.UniversalClient{c.UniversalClient, c.patient} {
		if cluster, is := client.(*redis.ClusterClient); is {
			errs = append(errs, cluster.ForEachMaster(ctx, func(context.Context, *redis.Client) error { return nil }))
		}
	}
	return errors.Join(errs...)
}

// renewBehind is Renew that nobody waits for.
func (c *Client) renewBehind() {
	for _, client := range []redis.UniversalClient{c.UniversalClient, c.patient} {
		if cluster, is := client.(*redis.ClusterClient); is {
			cluster.ReloadState(context.Background())
		}
	}
}

// Prefix stands before every key that the adapters use.
func (c *Client) Prefix() string { return c.opts.Prefix }

// Cluster reports whether this is a Redis Cluster, where a command with several
// keys needs them in one slot.
func (c *Client) Cluster() bool { return c.opts.Cluster }

// String is the URL with the password hidden.
func (c *Client) String() string { return c.opts.String() }

// server returns where to dial: the address, or the master that the Sentinels
// name, asked anew for each connection so that a failover is followed.
func (c *Client) server(ctx context.Context) (string, error) {
	o := &c.opts
	if o.Master == "" {
		return o.Addrs[0], nil
	}
	var errs []error
	for _, addr := range o.Addrs {
		sentinel := redis.NewSentinelClient(&redis.Options{
			Addr: addr, Dialer: c.dialer.quick,
			ContextTimeoutEnabled: true, DialTimeout: DialTimeout, ReadTimeout: CallTimeout, WriteTimeout: CallTimeout,
			MaxRetries: -1, DialerRetries: 1, DisableIdentity: true,
			MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		})
		at, err := sentinel.GetMasterAddrByName(ctx, o.Master).Result()
		if err == nil && len(at) == 2 {
			c.believe(ctx, sentinel, at)
		}
		err = errors.Join(err, sentinel.Close())
		if err == nil && len(at) == 2 {
			return net.JoinHostPort(at[0], at[1]), nil
		}
		errs = append(errs, fmt.Errorf("sentinel %s, master %q: %w", addr, o.Master, err))
	}
	return "", errors.Join(errs...)
}

// believe takes what a Sentinel knows of a master and its replicas: a master of before is one of these. That it does not say so changes nothing.
func (c *Client) believe(ctx context.Context, sentinel *redis.SentinelClient, master []string) {
	replicas, err := sentinel.Replicas(ctx, c.opts.Master).Result()
	if err != nil {
		return
	}
	servers := []string{net.JoinHostPort(master[0], master[1])}
	for _, replica := range replicas {
		servers = append(servers, net.JoinHostPort(replica["ip"], replica["port"]))
	}
	c.dialer.believe(servers)
}

// discard drops go-redis' own log lines: each call returns its error, and who
// called logs it.
type discard struct{}

func (discard) Printf(context.Context, string, ...any) {}

var quiet = sync.OnceFunc(func() { redis.SetLogger(discard{}) })
