package acme

import (
	"context"
	"errors"
	"sync"
	"time"
)

// A quota bounds how many certificates a tenant has ordered within a window, on all nodes together, so that one who adds names without end leaves
// the issuer's own limit to the others.
type quota struct {
	most   int // 0: no bound
	shared Shared

	mu    sync.Mutex
	begun map[string]time.Time // by tenant, of this node alone
	taken map[string]int
}

// quotaWindow is that of Let's Encrypt's limit on an account's orders.
const quotaWindow = 3 * time.Hour

var errQuota = errors.New("acme: the tenant has ordered as many certificates as certificates.acme.orders_per_tenant allows for now")

// taken is one order that was counted.
type taken struct {
	tenant string
	here   bool      // by this node alone
	begun  time.Time // its window, if here
}

func quotaKey(tenant string) string { return "gatehouse:{acme}:orders:" + tenant }

// take counts an order; wait is 0 if it may be made.
func (q *quota) take(ctx context.Context, tenant string) (one taken, wait time.Duration) {
	if q.most == 0 {
		return taken{}, 0
	}
	if q.shared != nil {
		wait, err := q.shared.Take(ctx, quotaKey(tenant), q.most, quotaWindow)
		if err == nil {
			return taken{tenant: tenant}, wait
		} // else it is counted here: the order will show whether the others can be reached
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	if left := quotaWindow - now.Sub(q.begun[tenant]); q.begun[tenant].IsZero() || left <= 0 {
		if q.begun == nil {
			q.begun, q.taken = map[string]time.Time{}, map[string]int{}
		}
		for other, begun := range q.begun {
			if now.Sub(begun) > quotaWindow {
				delete(q.begun, other)
				delete(q.taken, other)
			}
		}
		q.begun[tenant], q.taken[tenant] = now, 0
	} else if q.taken[tenant] >= q.most {
		return taken{}, left
	}
	q.taken[tenant]++
	return taken{tenant, true, q.begun[tenant]}, 0
}

// giveBack takes back what was counted for an order that was not made. It is tried once: what has worked without a word must not be done twice.
func (q *quota) giveBack(ctx context.Context, one taken) error {
	switch {
	case q.most == 0:
		return nil
	case !one.here:
		ctx, cancel := context.WithTimeout(ctx, sharedWait)
		defer cancel()
		return q.shared.GiveBack(ctx, quotaKey(one.tenant))
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.begun[one.tenant].Equal(one.begun) && q.taken[one.tenant] > 0 {
		q.taken[one.tenant]--
	}
	return nil
}
