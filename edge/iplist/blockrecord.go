package iplist

import (
	"fmt"
	"time"

	"gatehouse/routes"
)

// A BlockRecord is a block as it is written: in the file, and, without network and tenant, as the value of a field in Redis.
type BlockRecord struct {
	Network string `json:"network,omitempty"`
	Tenant  string `json:"tenant,omitempty"`
	// Until and Added are RFC 3339; the zero time is left out.
	Until time.Time `json:"until,omitzero"`
	Added time.Time `json:"added,omitzero"`
	By    string    `json:"by,omitempty"`
	Note  string    `json:"note,omitempty"`
}

// Record is the block as it is written.
func (b *Block) Record() BlockRecord {
	return BlockRecord{Network: b.Network.String(), Tenant: b.Tenant, Until: b.Until.UTC(), Added: b.Added.UTC(), By: b.By, Note: b.Note}
}

// Block is the block that was written. An error names its network.
func (r *BlockRecord) Block() (Block, error) {
	network, err := routes.ParseNetwork(r.Network)
	if err != nil {
		return Block{}, err
	}
	b := Block{Network: network, Tenant: r.Tenant, Until: r.Until.UTC(), Added: r.Added.UTC(), By: r.By, Note: r.Note}
	if err := b.Check(); err != nil {
		return Block{}, fmt.Errorf("block of %s: %w", network, err)
	}
	return b, nil
}
