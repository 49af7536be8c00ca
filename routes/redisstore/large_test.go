package redisstore

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"gatehouse/internal/edgetest"
	"gatehouse/internal/redisconn"
	"gatehouse/routes"
	"gatehouse/routes/routestest"
)

// Hundreds of values of megabytes, written at once, took as much memory of each node together.
func TestManyLargeValuesAreReadInTurns(t *testing.T) {
	t.Parallel()
	server := edgetest.Redis(t)
	large := strings.Repeat("#", 900<<10)
	var docs []routes.Key
	want := map[string]string{}
	for i := range 100 {
		name := fmt.Sprintf("v%03d.test", i)
		docs = append(docs, routes.Key{Kind: routes.KindVhost, Name: name})
		switch {
		case i%5 == 0:
			server.CLI("RPUSH", "frontend:"+name, "shop", "http://127.0.0.1:9000")
			want[name] = ""
		case i == 52 || i == 53:
			server.CLIInput(strings.Repeat(large, 4), "-x", "SET", "vhost:"+name) // of which not four have room
			want[name] = "too large"
		default:
			server.CLIInput(`{"backends":["http://127.0.0.1:9000"],"waf":{"rules":"`+large+`"}}`, "-x", "SET", "vhost:"+name)
			want[name] = ""
		}
	}
	session, err := open(t, server, "").client.Session(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	r := reader{session: session, odd: new(oddKeys), batch: readBatch}
	held, most, batches := 0, 0, 0
	r.seen = func(_ routes.Key, values []value) {
		for i := range values {
			held += len(values[i].text)
		}
	}
	r.between = func() error {
		most, held, batches = max(most, held), 0, batches+1
		return nil
	}
	var order []string
	if err := r.values(docs, func(doc routes.Key, values []value) {
		order = append(order, doc.Name)
		c := compose(doc, values)
		if problem := want[doc.Name]; problem != "" && strings.Contains(c.Problems.Error(), problem) {
			return
		} else if problem != "" || c.Vhost == nil {
			t.Errorf("%s: %.200v, want %q", doc.Name, c.Problems, problem)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if most > readRoom+redisconn.MaxReply {
		t.Errorf("%d MiB were held at once", most>>20)
	}
	if len(order) != len(docs) || !slices.IsSorted(order) {
		t.Errorf("%d of %d documents: %v", len(order), len(docs), order)
	}
	t.Logf("%d batches, %d MiB at once", batches, most>>20)
}

// Each would be told of again with each change of anybody, and be a line of the log.
func TestKeysThatNameNothingAreBounded(t *testing.T) {
	t.Parallel()
	server := edgetest.Redis(t)
	server.CLI("EVAL", `for i=1,5000 do redis.call("SET", "frontend:not a host "..i, "x") end redis.call("SET", "vhost:"..string.rep("?", 100000), "x")`, "0")
	w := routestest.Follow(t, open(t, server, ""), "")
	problems := w.Status().Problems
	if len(problems) != maxMisnamed+1 || !strings.Contains(problems[maxMisnamed].Reason, "more keys") {
		t.Errorf("%d problems", len(problems))
	}
	for _, p := range problems {
		if len(p.Error()) > 3*maxKeySaid {
			t.Errorf("a problem of %d bytes", len(p.Error()))
		}
	}
	server.CLI("RPUSH", "frontend:a.test", "shop", "http://127.0.0.1:9000")
	w.UntilBackend("a.test", "http://127.0.0.1:9000")
	server.CLI("EVAL", `for i=1,5000 do redis.call("DEL", "frontend:not a host "..i) end redis.call("DEL", "vhost:"..string.rep("?", 100000))`, "0")
	w.Until("the reports are gone", func(*routes.Table) bool { return len(w.Status().Problems) == 0 })
}
