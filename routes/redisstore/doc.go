// Package redisstore keeps routes in Redis, as hipache does, and follows every
// change that anybody makes there.
//
// The keys, each after the prefix of the URL:
//
//	frontend:<host>  LIST [id, url, …], exactly hipache's: a site is live with
//	                 one rpush. The id is the tenant if nothing else names one; of
//	                 one that no tenant can have see routes.TenantOfID.
//	vhost:<host>     STRING, a vhost as JSON. Each field that it has replaces
//	                 what the list says; `"tenant": ""` says: no tenant, and
//	                 redirect or respond: none of its URLs.
//	tenant:<id>      STRING, a tenant as JSON.
//	gatehouse:aliases  HASH, who has each alias that several vhosts claim; nodes
//	                 that follow write it, and those that start ask it.
//	gatehouse:accept-loss  any value: what is gone is really gone (see Watch).
//
// Hosts in keys are made canonical: frontend:WWW.Shop.test:80, as old hipache
// data has it, is the list of www.shop.test. If a canonical key exists too, of either
// kind, all others are ignored, whatever they hold, and reported.
//
// Any Redis serves: one server, a master that Sentinels name, a Cluster. Changes
// come by client-side caching in broadcasting mode (CLIENT TRACKING ON BCAST)
// from version 6 on, without a setting or a notify command, else by polling. The
// least ACL is in docs/operations.md, "Redis".
//
// Start with Open; a routes.Follower does the rest.
package redisstore
