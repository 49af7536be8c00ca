package redisstore

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// masterWait bounds how long a write looks for a master that takes it. A verb waits for ten seconds, two of them until the write acts.
	masterWait = 5 * time.Second
	// masterRetry is the pause in between.
	masterRetry = 100 * time.Millisecond
)

// withMaster makes a write again, with the masters asked for anew, while no master has had it: a failover takes its time, and who was the
// master is remembered for longer. A server that has no others to take its place is asked once.
func (s *Store) withMaster(ctx context.Context, write func() error) error {
	err := write()
	if !s.client.Failover() {
		return err
	}
	for begin := time.Now(); unsent(err) && time.Since(begin) < masterWait; {
		select {
		case <-ctx.Done():
			return err
		case <-time.After(masterRetry):
		}
		_ = s.client.Renew(ctx) // the write says what is wrong
		err = write()
	}
	return err
}

// unsent reports whether an error means that no server has acted upon a command: none was reached, or it is no master (any more).
func unsent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial" || redis.HasErrorPrefix(err, "CLUSTERDOWN") || redis.HasErrorPrefix(err, "READONLY")
}
