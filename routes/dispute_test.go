package routes

import (
	"bytes"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
)

// agreed is Batch.Owners that knows the owner of every alias, and notes what it is asked.
func agreed(owner string, asked *[]Dispute) func([]Dispute, func(string) bool) (map[string]string, error) {
	return func(disputes []Dispute, _ func(string) bool) (map[string]string, error) {
		*asked = append(*asked, disputes...)
		out := map[string]string{}
		for _, d := range disputes {
			out[d.Alias] = owner
		}
		return out, nil
	}
}

func TestDisputedAliasesAreWhoseTheSourceRemembers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "routes.last")
	f := follow(t, file)
	var asked []Dispute
	owners := agreed("www.shop.test", &asked)
	shop, evil := vhostChange("www.shop.test", "shop", "shop.test"), vhostChange("aaa.test", "evil", "shop.test")
	// Many: a small last-good file is written anew with whatever changes.
	f.send(Batch{Full: true, Changes: append(manyVhosts(2000), evil, shop, vhostChange("b.test", "", "alone.test")), Owners: owners})
	if got := owner(f.Table(), "shop.test"); got != "www.shop.test" || len(asked) != 1 || asked[0].Known || len(asked[0].Claimants) != 2 {
		t.Errorf("at the start: %s, asked %+v", got, asked)
	}
	asked = nil
	f.send(Batch{Changes: []Change{vhostChange("c.test", "", "other.test")}, Owners: owners})
	if len(asked) > 0 {
		t.Errorf("asked beside the disputes: %+v", asked)
	}
	replaced := f.send(Batch{Disputes: true, Owners: agreed("aaa.test", &asked)})
	if got := owner(f.Table(), "shop.test"); got != "aaa.test" || len(replaced) != 2 || len(asked) != 1 || !asked[0].Known {
		t.Errorf("given to the other: %s, replaced %v, asked %+v", got, replaced, asked)
	}
	f.send(Batch{Disputes: true, Owners: agreed("b.test", &asked)})
	if got := owner(f.Table(), "shop.test"); got != "aaa.test" {
		t.Error("given to who does not claim it:", got)
	}
	asked = nil
	f.send(Batch{Changes: []Change{gone(KindVhost, "www.shop.test")}, Owners: owners})
	if len(asked) != 1 || len(asked[0].Claimants) != 1 || f.Table().disputed.len() != 0 {
		t.Errorf("an end is not told: %+v", asked)
	}
	f.send(Batch{Changes: []Change{shop}, Owners: agreed("aaa.test", &asked)})
	f.mu.Lock()
	f.unsaved.all()
	f.mu.Unlock()
	if err := f.Save(); err != nil {
		t.Fatal(err)
	}
	f.send(Batch{Disputes: true, Owners: owners})
	f.stop()
	if got := owner(follow(t, file).Table(), "shop.test"); got != "www.shop.test" {
		t.Error("after a restart:", got)
	}
}

// A source that cannot be asked: who came first has the alias, and the log says so.
func TestDisputesWithoutAnAnswerStayAsTheyAre(t *testing.T) {
	var log bytes.Buffer
	f := follow(t, "")
	f.log = slog.New(slog.NewTextHandler(&log, nil))
	away := func([]Dispute, func(string) bool) (map[string]string, error) { return nil, errors.New("NOPERM") }
	f.send(Batch{Full: true, Changes: []Change{vhostChange("www.shop.test", "shop", "shop.test")}, Owners: away})
	f.send(Batch{Changes: []Change{vhostChange("aaa.test", "evil", "shop.test")}, Owners: away})
	f.stop()
	if got := owner(f.Table(), "shop.test"); got != "www.shop.test" || !strings.Contains(log.String(), "not agreed upon") {
		t.Error(got, log.String())
	}
}
