package iplist

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func openBlocks(t *testing.T, path string) *Blocks {
	t.Helper()
	b, err := OpenBlocks(BlocksOptions{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func network(text string) netip.Prefix { return netip.MustParsePrefix(text) }

func (b *Blocks) has(client, tenant string) bool {
	return b.Blocked(netip.MustParseAddr(client), tenant)
}

func TestBlocksActForTheirTenantAndOutliveARestart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "blocks.json")
	b := openBlocks(t, path)
	until := time.Now().Add(time.Hour).Truncate(time.Second).UTC()
	for _, one := range []Block{
		{Network: network("192.0.2.0/24"), By: "ann", Note: "scraper", Until: until, Added: until.Add(-time.Hour)},
		{Network: network("2001:db8::/32"), Tenant: "shop"},
		{Network: network("10.0.0.0/8"), Tenant: "blog", Until: until},
		{Network: network("10.0.0.0/8"), Tenant: "blog"}, // in the place of the one before
	} {
		if err := b.Add(t.Context(), one); err != nil {
			t.Fatal(err)
		}
	}
	for _, now := range []*Blocks{b, openBlocks(t, path)} {
		if !now.has("192.0.2.7", "") || !now.has("::ffff:192.0.2.7", "shop") || now.has("192.0.3.7", "shop") {
			t.Error("everybody's")
		}
		if !now.has("2001:db8::1", "shop") || now.has("2001:db8::1", "blog") || now.has("2001:db8::1", "") || !now.has("10.1.1.1", "blog") {
			t.Error("a tenant's")
		}
		list := now.List()
		if len(list) != 3 || list[0] != (Block{Network: network("192.0.2.0/24"), By: "ann", Note: "scraper", Until: until, Added: until.Add(-time.Hour)}) ||
			list[1].Tenant != "blog" || !list[1].Until.IsZero() || list[2].Tenant != "shop" {
			t.Errorf("%+v", list)
		}
	}
	if was, err := b.Remove(t.Context(), network("192.0.2.0/24"), ""); err != nil || !was || b.has("192.0.2.7", "") {
		t.Error(was, err)
	}
	if was, err := b.Remove(t.Context(), network("10.0.0.0/8"), "shop"); err != nil || was {
		t.Error("removed what was not there", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info, err)
	}
	if (*Blocks)(nil).has("10.1.1.1", "") {
		t.Error("nil blocks")
	}
}

func TestABlockEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := openBlocks(t, filepath.Join(t.TempDir(), "blocks.json"))
		var changes atomic.Int64
		b.OnChange(func() { changes.Add(1) })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- b.Run(ctx) }()
		for text, after := range map[string]time.Duration{"192.0.2.1/32": time.Minute, "192.0.2.0/24": 2 * time.Hour, "198.51.100.0/24": 0} {
			one := Block{Network: network(text)}
			if after > 0 {
				one.Until = time.Now().Add(after)
			}
			if err := b.Add(t.Context(), one); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute + time.Second)
		if b.Len() != 2 || !b.has("192.0.2.1", "") {
			t.Error("the wider network lasts longer", b.List())
		}
		time.Sleep(2 * time.Hour)
		if b.Len() != 1 || b.has("192.0.2.1", "") || !b.has("198.51.100.1", "") || changes.Load() != 5 {
			t.Error(b.List(), changes.Load())
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		// What ended while nobody ran is not in force again.
		if err := b.Add(context.Background(), Block{Network: network("192.0.2.1/32"), Until: time.Now().Add(time.Minute)}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if again := openBlocks(t, b.opts.Path); again.has("192.0.2.1", "") || again.Len() != 1 {
			t.Error(again.List())
		}
	})
}

func TestWhatIsNotWrittenIsNotInForce(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "gone")
	b := openBlocks(t, filepath.Join(folder, "blocks.json")) // a folder that is not there: writing fails
	if err := b.Add(t.Context(), Block{Network: network("192.0.2.0/24")}); err == nil || b.has("192.0.2.1", "") {
		t.Error(err)
	}
	b.Replace([]Block{{Network: network("192.0.2.0/24")}}) // what Redis says is in force all the same
	if !b.has("192.0.2.1", "") {
		t.Error("not in force")
	}
	if err := b.AddShared(Block{Network: network("198.51.100.0/24")}); !errors.Is(err, ErrUnsaved) || !b.has("198.51.100.1", "") {
		t.Error(err)
	}
	if was, err := b.RemoveShared(network("192.0.2.0/24"), ""); !errors.Is(err, ErrUnsaved) || !was || b.has("192.0.2.1", "") {
		t.Error(was, err)
	}
}

// What a full disk did not take is written when it has room again, without another change: a node that is killed then begins with it.
func TestABlockThatAFullDiskDidNotTakeIsWrittenLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		folder := filepath.Join(t.TempDir(), "full")
		b := openBlocks(t, filepath.Join(folder, "blocks.json"))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- b.Run(ctx) }()
		if err := b.AddShared(Block{Network: network("192.0.2.0/24")}); !errors.Is(err, ErrUnsaved) {
			t.Error(err)
		}
		time.Sleep(2*saveAgain + time.Second) // by synctest's clock
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		time.Sleep(saveAgain)
		if again := openBlocks(t, b.opts.Path); !again.has("192.0.2.1", "") {
			t.Error("a restart forgets the block")
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestBadBlocksAreRefused(t *testing.T) {
	t.Parallel()
	b := openBlocks(t, "")
	for _, one := range []Block{
		{},
		{Network: netip.PrefixFrom(netip.MustParseAddr("10.1.2.3"), 8)},
		{Network: netip.MustParsePrefix("::ffff:10.0.0.0/104")},
		{Network: network("10.0.0.0/8"), Tenant: "a b"},
		{Network: network("10.0.0.0/8"), Note: strings.Repeat("x", MaxNote+1)},
		{Network: network("10.0.0.0/8"), By: "\xff"},
	} {
		if b.Add(t.Context(), one) == nil {
			t.Errorf("%+v was taken", one)
		}
	}
	many := make([]Block, 0, MaxBlocks+1)
	for i := range MaxBlocks + 1 {
		many = append(many, Block{Network: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32)})
	}
	slices.Reverse(many)
	if left := b.Replace(append(many, Block{}, many[0], many[1])); left != 2 || b.Len() != MaxBlocks || b.has(many[0].Network.Addr().String(), "") {
		t.Error("of too many, others than the last are left out", left, b.Len())
	}
	if b.Room(many[1]) != nil || b.Room(many[0]) == nil {
		t.Error("room for another one, or none for one that is there")
	}
	if err := b.Add(t.Context(), Block{Network: network("192.0.2.0/24")}); !errors.Is(err, ErrTooMany) || b.has("192.0.2.1", "") {
		t.Error(err)
	}
}

func TestADamagedFileIsSaidAndBlocksNobody(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "blocks.json")
	for _, text := range []string{"{", `{"blocks": [{"network": "10.1.2.3/8"}]}`, `{"blocks": [{"network": "10.0.0.0/8", "tenant": "a b"}]}`} {
		write(t, path, text)
		b, err := OpenBlocks(BlocksOptions{Path: path})
		if err == nil || !strings.Contains(err.Error(), path) || b.Len() != 0 {
			t.Error(err)
		}
		if err := b.Add(t.Context(), Block{Network: network("192.0.2.0/24")}); err != nil {
			t.Error(err)
		}
	}
	if !openBlocks(t, path).has("192.0.2.1", "") {
		t.Error("the file was not written anew")
	}
}
