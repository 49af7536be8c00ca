package iplist

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/routes"
)

// A hangingNet has servers that never say anything, and those at good.test, which refuse at once.
type hangingNet struct {
	mu      sync.Mutex
	hanging int
	asked   map[string]int // dials by address
}

func (n *hangingNet) dial(ctx context.Context, _, address string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.asked == nil {
		n.asked = map[string]int{}
	}
	n.asked[address]++
	if strings.HasPrefix(address, "good.test:") {
		return nil, errors.New("refused")
	}
	n.hanging++
	n.mu.Unlock()
	<-ctx.Done()
	n.mu.Lock()
	n.hanging--
	return nil, ctx.Err()
}

// openHanging opens ten documents of an owner with sixteen lists each, on servers of which no two have the same name.
func openHanging(l *Lists, owner string, opening *sync.WaitGroup) {
	for doc := range 10 {
		a := &routes.Addresses{}
		for i := range 16 {
			a.Deny = append(a.Deny, fmt.Sprintf("https://%s-%d-%d.test/", strings.ReplaceAll(owner, " ", "-"), doc, i))
		}
		opening.Go(func() { l.Open(owner, a) })
	}
}

// Whatever hangs of others' lists, a list is waited for no longer than if it were alone, and what gets no turn is asked for later.
func TestHangingListsOfATenantDoNotHoldUpTheFirstReadsOfOthers(t *testing.T) {
	t.Parallel()
	for _, hang := range [][]string{{"tenant a"}, {"tenant a", "tenant a2", "tenant a3"}} {
		synctest.Test(t, func(t *testing.T) {
			var servers hangingNet
			l := newLists(t, Options{Dial: servers.dial})
			var opening sync.WaitGroup
			begun := time.Now()
			for _, owner := range hang {
				openHanging(l, owner, &opening)
			}
			time.Sleep(time.Second)
			servers.mu.Lock()
			if most := min(len(hang)*firstsAtOnce/2, firstsAtOnce); servers.hanging != most {
				t.Errorf("%d requests at a time, want %d", servers.hanging, most)
			}
			servers.mu.Unlock()
			r := l.Open("tenant b", &routes.Addresses{Deny: []string{"https://good.test/"}})
			if len(hang) == 1 && time.Since(begun) != time.Second {
				t.Errorf("one tenant's hang, and another's waits %v", time.Since(begun)-time.Second)
			}
			if err := problemOf(r); err == nil || !strings.Contains(err.Error(), "refused") {
				t.Errorf("the server was not asked: %v", err)
			}
			opening.Wait()
			if took := time.Since(begun); took != firstWait {
				t.Errorf("documents whose lists hang were waited for %v", took)
			}
			before := len(servers.asked)
			ctx, cancel := context.WithTimeout(t.Context(), 2*filePoll)
			defer cancel()
			if err := l.Run(ctx); err != nil || len(servers.asked) == before {
				t.Errorf("nobody asks for lists that had no turn: %v", err)
			}
		})
	}
}

func TestHangingListsOfATenantDoNotHoldUpTheRefreshesOfOthers(t *testing.T) {
	t.Parallel()
	for _, hang := range [][]string{{"tenant a"}, {"tenant a", "tenant a2"}} {
		synctest.Test(t, func(t *testing.T) {
			var servers hangingNet
			l := newLists(t, Options{Dial: servers.dial, Refresh: 20 * time.Second})
			var opening sync.WaitGroup
			for _, owner := range hang {
				openHanging(l, owner, &opening)
			}
			opening.Wait()
			good := &routes.Addresses{Deny: []string{"https://good.test/"}}
			l.Open("tenant b", good)
			l.Open(hang[0], &routes.Addresses{Deny: good.Deny}) // it is no less b's for that
			before := servers.asked["good.test:443"]
			ctx, cancel := context.WithTimeout(t.Context(), 130*time.Second)
			defer cancel()
			if err := l.Run(ctx); err != nil {
				t.Error(err)
			}
			want := 6 // after 10 s, and each 20 s then
			if len(hang) > 1 {
				want = 4 // when a slot comes free, each 30 s
			}
			if asked := servers.asked["good.test:443"] - before; asked < want {
				t.Errorf("asked %d times in 130 s, want %d", asked, want)
			}
		})
	}
}

// The lists of defaults are of many owners' documents, and wait for none of these.
func TestADocumentOfSeveralOwnersIsTheOperators(t *testing.T) {
	t.Parallel()
	l := newLists(t, Options{})
	defaults := &routes.Addresses{Deny: []string{"192.0.2.1"}}
	r := l.Open("tenant a", defaults)
	if r.owner != "tenant a" {
		t.Errorf("it is %q's", r.owner)
	}
	if again := l.Open("tenant b", defaults); again != r || r.owner != "" {
		t.Errorf("it is %q's", r.owner)
	}
}
