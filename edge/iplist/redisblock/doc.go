// Package redisblock keeps blocks (iplist.Block) in Redis, for all nodes that share it: a HASH block:{<scope>} per tenant, and
// block:{*} for everybody, with a field per network and a JSON value (iplist.BlockRecord). A SET has the scopes that there are.
//
// A node follows changes by client tracking, which needs no setting of the server, and reads all scopes again twice a minute; in a
// Cluster it reads them twice a second. While Redis is away the last known blocks stay in force, from the file of iplist.Blocks
// after a restart. Start with New; Run follows. A user limited by ACL needs +smembers +sadd +srem +hlen +hgetall +hset +hsetnx +hexists +hget
// +hdel +multi +exec +eval +evalsha on these keys; docs/operations.md has the least ACL for all that nodes share.
package redisblock
