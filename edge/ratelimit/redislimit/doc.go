// Package redislimit counts requests together with other nodes in Redis. It implements ratelimit.Ledger.
//
// The keys, each after the prefix of the URL:
//
//	limit:{shop}:92c1…   HASH of one bucket of an owner (a tenant, or "vhost www.shop.test"): full, when it is full again, and by node
//	                     when that last reported; both microseconds of Redis' clock. It lives two seconds longer than it takes to be full
//	limit:{nodes}        ZSET of the nodes, by when they were last there
//
// A round is one script for each owner, so all buckets of an owner are in one slot of a Cluster. Nodes' clocks do not matter. A user limited
// by ACL needs +eval +evalsha +time +hgetall +hset +hdel +del +pexpire +zadd +zremrangebyscore +zcard +zrem on limit:*. Redis 5 and later serve. What is lost, as in a
// flush or a failover, is a bucket that is full again.
package redislimit
