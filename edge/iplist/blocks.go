package iplist

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatehouse/routes"
)

// BlocksOptions of Blocks. The zero value keeps nothing on disk.
type BlocksOptions struct {
	// Path is the file that the blocks are in, written whole at every change. Empty: none.
	Path string
	// Registerer gets gatehouse_address_blocks. Nil registers nothing.
	Registerer prometheus.Registerer
	// Logger receives what is wrong. Nil discards.
	Logger *slog.Logger
}

// Blocks are the blocks in force on this node. For a node that is alone, Add and Remove are how they change, and the file is where
// they are; where nodes share a Redis that is, Replace brings its state here, and the file is what a node begins with that does not
// reach it. It is safe for concurrent use.
type Blocks struct {
	opts    BlocksOptions
	log     *slog.Logger
	tables  atomic.Pointer[blockTables]
	changed atomic.Pointer[func()]
	wake    chan struct{}

	mu      sync.Mutex
	all     map[scope]Block
	unsaved bool // they are not those of the file, which could not be written
}

// blockTables are what requests ask: immutable, and nil where there is nothing.
type blockTables struct {
	everybody *Networks
	tenants   map[string]*Networks
}

// OpenBlocks reads the file. One that cannot be read is an error of which the Blocks, empty then, are usable all the same.
func OpenBlocks(o BlocksOptions) (*Blocks, error) {
	b := &Blocks{opts: o, log: o.Logger, wake: make(chan struct{}, 1), all: map[scope]Block{}}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	b.tables.Store(&blockTables{})
	err := b.Reload()
	if o.Registerer != nil {
		err = errors.Join(err, o.Registerer.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gatehouse_address_blocks", Help: "Networks that are blocked on this node.",
		}, func() float64 { return float64(b.Len()) })))
	}
	return b, err
}

// OnChange has f called after each change, from whoever made it. It must not block, nor call Blocks.
func (b *Blocks) OnChange(f func()) { b.changed.Store(&f) }

// Blocked reports whether an address is blocked for a tenant's vhosts ("": those without one). The nil Blocks block nobody. It
// takes no lock and allocates nothing.
func (b *Blocks) Blocked(a netip.Addr, tenant string) bool {
	if b == nil {
		return false
	}
	t := b.tables.Load()
	if t.everybody.Has(a) {
		return true
	}
	return len(t.tenants) > 0 && tenant != "" && t.tenants[tenant].Has(a)
}

// List returns the blocks in force, everybody's first, then by tenant and network.
func (b *Blocks) List() []Block {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	out := make([]Block, 0, len(b.all))
	for _, one := range b.all {
		if !one.Over(now) {
			out = append(out, one)
		}
	}
	slices.SortFunc(out, compareBlocks)
	return out
}

// Len is how many there are.
func (b *Blocks) Len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.all)
}

// ErrTooMany is why a block is refused where there are MaxBlocks.
var ErrTooMany = fmt.Errorf("there are %d blocks: put networks into a list (addresses.deny: [file:PATH]) and remove some", MaxBlocks)

// Add puts a block in force, in the place of one with the same network and tenant, once it is in the file. ctx is not used.
func (b *Blocks) Add(_ context.Context, one Block) error {
	return b.change(adding(one), b.save)
}

// Remove ends a block, and reports whether there was one. ctx is not used.
func (b *Blocks) Remove(_ context.Context, network netip.Prefix, tenant string) (was bool, err error) {
	err = b.change(removing(network, tenant, &was), b.save)
	return was, err
}

// ErrUnsaved is wrapped where Redis and this node have a change of blocks that the node's file has not.
var ErrUnsaved = errors.New("it is done, on all nodes, but a restart of this one would forget it while Redis is away")

// AddShared is Add for a block that other nodes have, too: it is in force also if it cannot be written, which is logged, tried again, and ErrUnsaved.
func (b *Blocks) AddShared(one Block) error { return b.changeShared(adding(one)) }

// RemoveShared is Remove likewise.
func (b *Blocks) RemoveShared(network netip.Prefix, tenant string) (was bool, err error) {
	err = b.changeShared(removing(network, tenant, &was))
	return was, err
}

// Room is what Add would say of a block now, apart from the file.
func (b *Blocks) Room(one Block) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := maps.Clone(b.all)
	dropOver(all)
	return adding(one)(all)
}

func adding(one Block) func(map[scope]Block) error {
	return func(all map[scope]Block) error {
		if err := one.Check(); err != nil {
			return err
		}
		all[one.scope()] = one
		if len(all) > MaxBlocks {
			return ErrTooMany
		}
		return nil
	}
}

func removing(network netip.Prefix, tenant string, was *bool) func(map[scope]Block) error {
	return func(all map[scope]Block) error {
		_, *was = all[scope{tenant, network}]
		delete(all, scope{tenant, network})
		return nil
	}
}

// change changes a copy, and puts it in force once it is on disk.
func (b *Blocks) change(f, save func(map[scope]Block) error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := maps.Clone(b.all)
	dropOver(all)
	if err := f(all); err != nil {
		return err
	}
	if err := save(all); err != nil {
		return err
	}
	b.put(all)
	return nil
}

// changeShared is change for what is in force also if it cannot be written.
func (b *Blocks) changeShared(f func(map[scope]Block) error) error {
	var unsaved error
	err := b.change(f, func(all map[scope]Block) error {
		unsaved = b.keep(all)
		return nil
	})
	if err == nil && unsaved != nil {
		return fmt.Errorf("%w: %w", ErrUnsaved, unsaved)
	}
	return err
}

// Replace puts blocks in force in the place of all that there were. Bad ones are left out, and what cannot be written is logged: it is
// in force all the same. left is how many are more than MaxBlocks: those that List would have last are left out, the same on all nodes.
func (b *Blocks) Replace(list []Block) (left int) {
	list = slices.Clone(list)
	slices.SortStableFunc(list, compareBlocks)
	all := make(map[scope]Block, min(len(list), MaxBlocks))
	now := time.Now()
	for _, one := range list {
		if one.Check() != nil || one.Over(now) {
			continue
		}
		if _, there := all[one.scope()]; !there && len(all) == MaxBlocks {
			left++
			continue
		}
		all[one.scope()] = one
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if maps.Equal(all, b.all) {
		return left
	}
	_ = b.keep(all) // the file's error is noted
	b.put(all)
	return left
}

// keep is save for what others have, too: a file that cannot be written is noted, and Run tries again.
func (b *Blocks) keep(all map[scope]Block) error {
	err := b.save(all)
	switch {
	case (err != nil) == b.unsaved:
	case err != nil:
		b.log.Error("blocked networks not kept: a restart without Redis begins with older ones", "file", b.opts.Path, "err", err)
	default:
		b.log.Info("blocked networks are in this node's file again", "file", b.opts.Path)
	}
	b.unsaved = err != nil
	return err
}

func dropOver(all map[scope]Block) {
	now := time.Now()
	maps.DeleteFunc(all, func(_ scope, one Block) bool { return one.Over(now) })
}

// put makes what requests ask, with mu held.
func (b *Blocks) put(all map[scope]Block) {
	of := map[string][]netip.Prefix{}
	for s := range all {
		of[s.tenant] = append(of[s.tenant], s.network)
	}
	t := &blockTables{tenants: map[string]*Networks{}}
	for tenant, networks := range of {
		if tenant == "" {
			t.everybody = NewNetworks(networks)
		} else {
			t.tenants[tenant] = NewNetworks(networks)
		}
	}
	b.all = all
	b.tables.Store(t)
	select {
	case b.wake <- struct{}{}:
	default:
	}
	if f := b.changed.Load(); f != nil {
		(*f)()
	}
}

// Run ends blocks whose time is over, and writes the file that could not be written, until ctx ends. It returns nil.
func (b *Blocks) Run(ctx context.Context) error {
	for {
		var end, again <-chan time.Time
		next, unsaved := b.next()
		if unsaved {
			again = time.After(saveAgain)
		}
		if !next.IsZero() {
			// Those that end within a moment end together: each end makes what requests ask anew.
			end = time.After(max(time.Until(next), 0) + endTogether)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-b.wake:
		case <-end:
			b.expire()
		case <-again:
			b.saveUnsaved()
		}
	}
}

const (
	endTogether = 100 * time.Millisecond
	// saveAgain is how long after a failure the file is written again: a full disk may have room then.
	saveAgain = 10 * time.Second
)

// next is when the first block ends (zero: none does), and whether the file is to be written again.
func (b *Blocks) next() (at time.Time, unsaved bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, one := range b.all {
		if !one.Until.IsZero() && (at.IsZero() || one.Until.Before(at)) {
			at = one.Until
		}
	}
	return at, b.unsaved
}

func (b *Blocks) saveUnsaved() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.unsaved {
		_ = b.keep(b.all) // the file's error is noted
	}
}

func (b *Blocks) expire() {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := maps.Clone(b.all)
	if dropOver(all); len(all) == len(b.all) {
		return
	}
	if err := b.save(all); err != nil { // what is over is left out when it is read
		b.log.Warn("file of blocked networks not written", "file", b.opts.Path, "err", err)
	}
	b.put(all)
}

// A blockFile is what the file holds.
type blockFile struct {
	Blocks []BlockRecord `json:"blocks"`
}

// maxBlockFile bounds the file in bytes.
const maxBlockFile = 16 << 20

// Reload reads the file again, as another process that had it before has left it. What cannot be read changes nothing.
func (b *Blocks) Reload() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.opts.Path == "" {
		return nil
	}
	text, err := routes.ReadFile(b.opts.Path, maxBlockFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the blocked networks: %w", err)
	}
	var file blockFile
	if err := json.Unmarshal(text, &file); err != nil {
		return fmt.Errorf("read the blocked networks: %s: %w", b.opts.Path, err)
	}
	all := map[scope]Block{}
	for _, record := range file.Blocks {
		one, err := record.Block()
		if err != nil {
			return fmt.Errorf("read the blocked networks: %s: %w", b.opts.Path, err)
		}
		all[one.scope()] = one
	}
	dropOver(all)
	b.put(all)
	return nil
}

// save writes the file, with mu held.
func (b *Blocks) save(all map[scope]Block) error {
	if b.opts.Path == "" {
		return nil
	}
	list := slices.SortedFunc(maps.Values(all), compareBlocks)
	file := blockFile{Blocks: make([]BlockRecord, len(list))}
	for i := range list {
		file.Blocks[i] = list[i].Record()
	}
	return routes.WriteFile(b.opts.Path, 0o600, func(w *bufio.Writer) error {
		return json.NewEncoder(w).Encode(file)
	})
}
