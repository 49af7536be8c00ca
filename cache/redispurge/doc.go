// Package redispurge brings purges to all nodes that share a Redis.
//
// Each purge is an entry of one stream, which every node reads on from the last entry that it has applied. So a node that was
// cut off catches up by itself. What a node cannot know of, because entries are gone that it had not read (the stream was
// trimmed, flushed or lost in a failover), it makes good by purging all that it has stored, and says so.
//
// The keys, each after the prefix of the URL, all in one slot of a Cluster:
//
//	gatehouse:{purge}:stream       STREAM of purges: kind, arg, tenant, vhost, soft, by, node. XADD from anywhere is a purge
//	                               like others: XADD gatehouse:{purge}:stream * kind tag arg news tenant shop vhost www.shop.test
//	gatehouse:{purge}:nodes        SET of the nodes that read it
//	gatehouse:{purge}:node:<node>  STRING, the ID of the last entry that a node has applied, with a life of Forgotten
//
// A user limited by ACL needs +xadd +xread +xrange +set +mget +del +pttl +sadd +srem +smembers on them. Redis 5 and
// later serve.
//
// Start with New and Run; Publish and Await are for whoever purges. No request waits for Redis.
package redispurge
