package redisconn

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Memory says how a server makes room, as far as that costs keys.
type Memory struct {
	Run     string // another one with each start of the server
	Limit   int64  // maxmemory in bytes; 0: none
	Policy  string // maxmemory-policy
	Evicted int64  // keys that it has deleted to make room in this run
}

// AnyKey reports whether the policy is to delete keys that have no end of life, too.
func (m *Memory) AnyKey() bool { return strings.HasPrefix(m.Policy, "allkeys-") }

// Evicts reports whether the server may delete any key by itself.
func (m *Memory) Evicts() bool { return m.Limit > 0 && m.AnyKey() }

// Memory asks one of the masters by INFO, which an ACL allows where it does not allow CONFIG. refusal says why it does not tell.
func (s *Session) Memory(master int) (m Memory, refusal, err error) {
	replies, err := s.conns[master].Do([]string{"INFO", "server"}, []string{"INFO", "memory"}, []string{"INFO", "stats"})
	if err != nil {
		return m, nil, err
	}
	fields := map[string]string{}
	for i := range replies {
		if refusal := replies[i].Err(); refusal != nil {
			return m, refusal, nil
		}
		for line := range strings.Lines(replies[i].Text) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
			fields[name] = value
		}
	}
	m.Run, m.Policy = fields["run_id"], fields["maxmemory_policy"]
	for name, to := range map[string]*int64{"maxmemory": &m.Limit, "evicted_keys": &m.Evicted} {
		if *to, err = strconv.ParseInt(fields[name], 10, 64); err != nil {
			return Memory{}, fmt.Errorf("INFO without %s", name), nil
		}
	}
	if m.Policy == "" {
		return Memory{}, errors.New("INFO without maxmemory_policy"), nil
	}
	return m, nil, nil
}
