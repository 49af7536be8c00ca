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

// take counts an order; wait is 0 if it may be made.
func (q *quota) take(ctx context.Context, tenant string) (wait time.Duration) {
	if q.most == 0 {
		return 0
	}
	if q.shared != nil {
		wait, err := q.shared.Take(ctx, "gatehouse:{acme}:orders:"+tenant, q.most, quotaWindow)
		if err == nil {
			return wait
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
		return left
	}
	q.taken[tenant]++
	return 0
}
