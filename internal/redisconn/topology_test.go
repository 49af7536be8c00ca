package redisconn

import (
	"bufio"
	"slices"
	"strings"
	"testing"
)

// The values are those of the Redis Cluster specification and of CLUSTER KEYSLOT.
func TestSlotOf(t *testing.T) {
	for key, want := range map[string]int{
		"123456789": 0x31C3, "": 0, "foo": 12182, "{foo}bar": 12182, "a{foo}{b}": 12182, "foo{}{bar}": 8363, "foo{{bar}}zap": 4015,
	} {
		if got := slotOf(key); got != want {
			t.Errorf("%q is in slot %d, want %d", key, got, want)
		}
	}
}

const twoMasters = "*2\r\n*3\r\n:0\r\n:99\r\n*2\r\n$3\r\nb:1\r\n:7\r\n*4\r\n:100\r\n:16383\r\n*2\r\n$0\r\n\r\n:8\r\n*2\r\n$7\r\nreplica\r\n:9\r\n"

func TestParseSlots(t *testing.T) {
	d := decoder{r: bufio.NewReader(strings.NewReader(twoMasters))}
	reply, err := d.read()
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseSlots(&reply, "seed:1")
	if err != nil {
		t.Fatal(err)
	}
	// A node that does not know its own address is where it was asked.
	if len(got.masters) != 2 || got.masters[0] != "[b:1]:7" || got.masters[1] != "seed:8" || got.slots[99] != 0 || got.slots[100] != 1 {
		t.Errorf("got %v, %d, %d", got.masters, got.slots[99], got.slots[100])
	}
	if !slices.Equal(got.servers, []string{"[b:1]:7", "replica:9", "seed:8"}) {
		t.Errorf("servers %v", got.servers)
	}
}

func FuzzParseSlots(f *testing.F) {
	f.Add([]byte(twoMasters))
	f.Add([]byte("*1\r\n*3\r\n:5\r\n:99999\r\n*2\r\n_\r\n:1\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		d := decoder{r: bufio.NewReader(strings.NewReader(string(data)))}
		reply, err := d.read()
		if err != nil {
			return
		}
		got, err := parseSlots(&reply, "seed:1")
		if err != nil {
			return
		}
		for _, at := range got.slots {
			if at != noMaster && int(at) >= len(got.masters) {
				t.Fatalf("slot of master %d of %d", at, len(got.masters))
			}
		}
	})
}
