// Package rediscache has what the nodes of a fleet share of certificates in Redis. It implements acme.Shared.
//
// The keys, each after the prefix of the URL, as package acme names them:
//
//	cert:{www.shop.test}        HASH, a certificate and its key, sealed: value, rank, not_after (for readers); of a set under its vhost's name
//	cert:{www.shop.test}:lock   STRING, who orders it at present, with a life
//	cert:{www.shop.test}:manual HASH, the same of what was imported
//	cert:{www.shop.test}:fail   STRING, what is known of failed orders
//	cert:{www.shop.test}:ari    STRING, when the issuer wants it renewed; with :lock behind it, who asks
//	tickets:{123}               STRING, the key of session tickets of an epoch, sealed
//	gatehouse:{acme}:…          accounts, quotas, challenges under way, OCSP responses
//	gatehouse:{acme}:events     STREAM of what has changed
//
// Values that are ranked are written by a script, so that the newest wins whoever comes last. A user limited by ACL needs
// +get +set +del +incr +pexpire +pttl +hget +hset +hmget +eval +evalsha +xadd +xread +xrevrange on them. Redis 5 and later serve; an eviction
// policy other than noeviction may lose certificates, which a node that has them shares again.
package rediscache
