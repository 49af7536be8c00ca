package redisstore

import (
	"errors"
	"slices"

	"gatehouse/routes"
)

// aliasesKey is a hash: aliases that several vhosts claim, and who has each. Who follows knows who came first, who starts does not,
// and would give an alias to the first by name: one tenant's requests to another.
const aliasesKey = "gatehouse:aliases"

// tell hands a batch over. told: it is because of what other nodes have agreed upon, or may be.
func (f *follower) tell(b routes.Batch, told bool) {
	b.Disputes = told
	b.Owners = func(disputes []routes.Dispute, unsure func(string) bool) (map[string]string, error) {
		owners := map[string]string{}
		for some := range slices.Chunk(disputes, readBatch) {
			if err := f.owners(owners, some, told, unsure); err != nil {
				return owners, err
			}
		}
		return owners, nil
	}
	f.yield(b)
}

// owners adds who has each alias, and notes what nodes do not know yet. What stands there already is written over only where
// it says nothing any more, and by who is not told of it: nodes with different views would do so in turns, for ever.
func (f *follower) owners(owners map[string]string, disputes []routes.Dispute, told bool, unsure func(string) bool) error {
	key := f.store.prefix + aliasesKey
	remembered, err := f.remembered(key, disputes)
	if err != nil {
		return err
	}
	var notes [][]string
	for i, d := range disputes {
		owner := remembered[i]
		switch {
		case len(d.Claimants) < 2:
			if owner != "" && !told {
				notes = append(notes, []string{"HDEL", key, d.Alias}) // or he would have it again, once he claims it again
			}
		case slices.Contains(d.Claimants, owner):
			owners[d.Alias] = owner
		case !d.Known:
		case owner == "":
			notes = append(notes, []string{"HSETNX", key, d.Alias, d.Claimants[0]})
		case !told && !unsure(owner):
			notes = append(notes, []string{"HSET", key, d.Alias, d.Claimants[0]})
		}
	}
	if len(notes) == 0 {
		return nil
	}
	replies, err := f.session.Do(notes...)
	if err != nil {
		return err
	}
	var refused error
	for i := range replies {
		refused = errors.Join(refused, replies[i].Err())
	}
	if refused != nil {
		return f.store.failed("write "+key, refused)
	}
	if remembered, err = f.remembered(key, disputes); err != nil { // another node may have been faster
		return err
	}
	for i, d := range disputes {
		if slices.Contains(d.Claimants, remembered[i]) {
			owners[d.Alias] = remembered[i]
		}
	}
	return nil
}

// remembered is who has each alias; empty: nobody has noted that.
func (f *follower) remembered(key string, disputes []routes.Dispute) ([]string, error) {
	command := []string{"HMGET", key}
	for _, d := range disputes {
		command = append(command, d.Alias)
	}
	replies, err := f.session.Do(command)
	if err == nil {
		err = replies[0].Err()
	}
	if err == nil && len(replies[0].Items) != len(disputes) {
		err = errors.New("not an answer to HMGET")
	}
	if err != nil {
		return nil, f.store.failed("read "+key, err)
	}
	out := make([]string, len(disputes))
	for i := range out {
		out[i] = replies[0].Items[i].Text
	}
	return out, nil
}
