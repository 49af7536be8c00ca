package redisconn

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// slotCount is how many parts the keys of a Cluster fall into (Redis Cluster
// specification, "Key distribution model").
const slotCount = 16384

// noMaster marks a slot that nobody serves.
const noMaster = -1

// A topology says which master has which key. Immutable.
type topology struct {
	masters []string         // host:port, sorted
	servers []string         // masters and replicas likewise
	slots   [slotCount]int16 // index into masters, or noMaster
}

// parseSlots reads the answer of the node at from to CLUSTER SLOTS.
func parseSlots(reply *Reply, from string) (*topology, error) {
	host, _, err := net.SplitHostPort(from)
	if err != nil {
		return nil, err
	}
	type span struct {
		first, last int
		master      string
	}
	var spans []span
	t := &topology{}
	for i := range reply.Items {
		entry := reply.Items[i].Items
		if len(entry) < 3 || len(entry[2].Items) < 2 {
			return nil, fmt.Errorf("redis at %s: CLUSTER SLOTS: not an answer to it", from)
		}
		first, errFirst := strconv.Atoi(entry[0].Text)
		last, errLast := strconv.Atoi(entry[1].Text)
		if errors.Join(errFirst, errLast) != nil || first < 0 || last >= slotCount || first > last {
			return nil, fmt.Errorf("redis at %s: CLUSTER SLOTS: bad slots %.20q to %.20q", from, entry[0].Text, entry[1].Text)
		}
		s := span{first, last, serverAt(&entry[2], host)}
		spans = append(spans, s)
		t.masters = append(t.masters, s.master)
		for i := range entry[2:] {
			if server := &entry[2+i]; len(server.Items) >= 2 {
				t.servers = append(t.servers, serverAt(server, host))
			}
		}
	}
	if len(spans) == 0 {
		return nil, fmt.Errorf("redis at %s: the Cluster serves no slot yet (redis-cli --cluster create)", from)
	}
	slices.Sort(t.masters)
	t.masters = slices.Compact(t.masters)
	slices.Sort(t.servers)
	t.servers = slices.Compact(t.servers)
	for i := range t.slots {
		t.slots[i] = noMaster
	}
	for _, s := range spans {
		at := int16(slices.Index(t.masters, s.master))
		for slot := s.first; slot <= s.last; slot++ {
			t.slots[slot] = at
		}
	}
	return t, nil
}

// serverAt is the host:port in an entry of the answer. A node that does not know its own name is where it was asked.
func serverAt(entry *Reply, host string) string {
	if name := entry.Items[0].Text; name != "" && name != "?" {
		host = name
	}
	return net.JoinHostPort(host, entry.Items[1].Text)
}

// masterOf returns the index of the master that has a key, or noMaster.
func (t *topology) masterOf(key string) int {
	if len(t.masters) == 1 {
		return 0
	}
	return int(t.slots[slotOf(key)])
}

// slotOf is the slot of a key: of what stands in its first braces, if anything.
func slotOf(key string) int {
	if _, rest, ok := strings.Cut(key, "{"); ok {
		if tag, _, ok := strings.Cut(rest, "}"); ok && tag != "" {
			key = tag
		}
	}
	crc := uint16(0)
	for _, b := range []byte(key) {
		crc = crc<<8 ^ crcTable[byte(crc>>8)^b]
	}
	return int(crc % slotCount)
}

// crcTable is of CRC-16/XMODEM: polynomial 0x1021.
var crcTable = func() (table [256]uint16) {
	for i := range table {
		crc := uint16(i) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
		table[i] = crc
	}
	return table
}()
