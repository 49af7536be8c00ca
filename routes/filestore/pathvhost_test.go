package filestore

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"gatehouse/routes"
	"gatehouse/routes/routestest"
)

// A path vhost gets a file of its own, is found by whatever spelling its name stands
// there, and goes with it.
func TestPathVhostInFiles(t *testing.T) {
	s, dir := open(t)
	write(t, filepath.Join(dir, "shop.yaml"), "vhosts:\n  WWW.shop.test/docs/: {backends: [http://127.0.0.1:1]}\n  www.shop.test: {backends: [http://127.0.0.1:2]}\n")
	blog, docs := routestest.Vhost("www.shop.test/blog"), routestest.Vhost("www.shop.test/docs")
	for _, key := range []routes.Key{blog, docs} {
		doc := routes.ParseJSON(key, key.String(), []byte(`{"backends":["http://127.0.0.1:3"],"strip":true}`))
		if err := s.Put(context.Background(), doc); err != nil {
			t.Fatal(err)
		}
	}
	batch, err := s.Load(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	table, _ := (&routes.Table{}).With(batch.Changes)
	for path, want := range map[string]string{"/blog/x": blog.Name, "/docs/x": docs.Name, "/": "www.shop.test"} {
		if r, err := table.Below(table.Match("www.shop.test"), path); err != nil || r.Name != want || r.Vhost.Strip() != (path != "/") {
			t.Errorf("%s: %+v, %v", path, r, err)
		}
	}
	edited := routes.ParseJSON(docs, "docs", []byte(`{"redirect":{"to":"https://b.test/?a=b","keep_path":false},"headers":{"response":{"set":{"X-B":"c: d #e","X-A":"b"},"remove":["Server"]}}}`))
	if err := s.Put(context.Background(), edited); err != nil { // which reads it back
		t.Fatal(err)
	}
	if err := s.Delete(context.Background(), blog); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "www.shop.test_blog.yaml")); !os.IsNotExist(err) {
		t.Errorf("the file of a deleted vhost: %v", err)
	}
}

// What a backend says beside its URL is written.
func TestABackendsFieldsSurviveTheFile(t *testing.T) {
	s, _ := open(t)
	key := routestest.Vhost("www.shop.test")
	doc := routes.ParseJSON(key, "shop", []byte(`{"backends":["http://127.0.0.1:1",{"url":"http://127.0.0.1:2","concurrency":4},{"url":"https://127.0.0.1:3","tls":{"verify":false}},{"url":"http://127.0.0.1:4","weight":3}]}`))
	if err := s.Put(context.Background(), doc); err != nil {
		t.Fatal(err)
	}
	batch, err := s.Load(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	got := batch.Changes[0].Vhost.Backends
	if len(got) != 4 || got[1].Concurrency != 4 || got[2].TLS == nil || got[2].TLS.Verifies() || got[3].Weight != 3 {
		t.Errorf("%+v", got)
	}
}
