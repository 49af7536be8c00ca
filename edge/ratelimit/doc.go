// Package ratelimit says yes, or when to come back.
//
// A Limiter has a bucket for each key: of one client, one API key, one path. A bucket is refilled at a Rate, and a request
// takes a token out of it, if there is one. The algorithm is GCRA: all that is known of a bucket is when it will be full
// again, one number, and a bucket that is full is as one that was never heard of. So memory is needed for those keys alone
// that have something to pay back, and there is nothing to refill.
//
// Memory is bounded: all limiters of one tenant have so many keys together as his Room has. Where there are more, a key
// that comes anew takes the place of the one that is nearest to full, and takes its debt over with it (the "space saving"
// of Metwally, Agrawal and El Abbadi). So nobody can have a debt forgotten by bringing keys, neither his own nor
// another's; who brings them may be asked to wait for what others have used, and all of that stays with one tenant.
//
// Sharing has the nodes of a fleet count together, without a request that waits for anybody: what was taken from a bucket is
// told a Ledger behind the request, and what others have taken is learned in the same call. See Sharing for how exact
// that is. Package redislimit is a Ledger in Redis.
//
// The package knows neither HTTP nor tenants: a key is a number, such as KeyOf makes.
package ratelimit
