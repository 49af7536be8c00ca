// Package redishealth brings what is known of backends to all nodes that share a Redis.
//
// The keys, each after the prefix of the URL, all in one slot of a Cluster:
//
//	gatehouse:{backends}:drains       HASH of drained backends: by URL, or tenant and URL with a space between them, the JSON of health.Drain
//	gatehouse:{backends}:down         HASH of what active checks have found down: by a hash of vhost and backend, the JSON of health.Finding
//	gatehouse:{backends}:version      STRING, another text with each change of the above
//	gatehouse:{backends}:key          STRING, 64 hex digits: what sticky cookies are keyed by
//	gatehouse:{backends}:nodes        SET of the processes: a node's name, a slash and what no other process has
//	gatehouse:{backends}:node:<p>     STRING, how that process stands, the JSON of health.Report, for two minutes
//	gatehouse:{backends}:prober:<d>   STRING, the process that checks for all who have the same targets; d is their digest
//
// A node asks for the version twice a second, and for the rest when that has changed, and every 10 seconds. A user limited by
// ACL needs +get +set +mget +hset +hdel +hgetall +sadd +smembers +srem +multi +exec +eval +evalsha +del +pttl +pexpire on them. No request waits for Redis.
package redishealth
