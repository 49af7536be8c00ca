package filestore

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse/routes"
	"gatehouse/routes/routestest"
)

// commented is a file as people write it.
const commented = `# Sites of the shop.
tenants:
  shop:   # our best customer
    waf: {mode: detect}   # block from March on

vhosts:

  # the shop itself
  www.shop.test:
    tenant: shop
    # two since the sale
    backends:
      - http://127.0.0.1:9000   # old
      - http://127.0.0.1:9001
    cache:
      enabled: true   # ask Ann
      # in minutes
      ttl: 5m
    # the end of the shop

  # everything else
  "*.shop.test": {tenant: shop, backends: [http://127.0.0.1:9002]} # flow
# the end
`

func TestOnlyTheLinesOfWhatDiffersChange(t *testing.T) {
	for _, test := range []struct {
		name     string
		key      routes.Key
		put      string // JSON; empty: delete
		from, to string // what is replaced in commented; everything else stays
	}{
		{
			"the same document", routestest.Vhost("www.shop.test"),
			`{"tenant":"shop","backends":["http://127.0.0.1:9000","http://127.0.0.1:9001"],"cache":{"enabled":true,"ttl":"5m"}}`,
			"", "",
		},
		{
			"one value in a block", routestest.Vhost("www.shop.test"),
			`{"tenant":"shop","backends":["http://127.0.0.1:9000","http://127.0.0.1:9001"],"cache":{"enabled":true,"ttl":"1h"}}`,
			"ttl: 5m", "ttl: 1h",
		},
		{
			"a value with a comment behind it", routestest.Vhost("www.shop.test"),
			`{"tenant":"shop","backends":["http://127.0.0.1:9000","http://127.0.0.1:9001"],"cache":{"enabled":false,"ttl":"5m"}}`,
			"enabled: true   # ask Ann", "enabled: false   # ask Ann",
		},
		{
			"a list", routestest.Vhost("www.shop.test"),
			`{"tenant":"shop","backends":["http://127.0.0.1:9009"],"cache":{"enabled":true,"ttl":"5m"}}`,
			"backends:\n      - http://127.0.0.1:9000   # old\n      - http://127.0.0.1:9001\n", "backends: [http://127.0.0.1:9009]\n",
		},
		{
			"a field more within a block and one more behind", routestest.Vhost("www.shop.test"),
			`{"tenant":"shop","backends":["http://127.0.0.1:9000","http://127.0.0.1:9001"],"cache":{"enabled":true,"ttl":"5m","max_body":"2MiB"},"tls":{"redirect_http":true,"hsts":"180d","min_version":"1.3"}}`,
			"      ttl: 5m\n    # the end of the shop\n",
			"      ttl: 5m\n      max_body: 2MiB\n    tls: {min_version: \"1.3\", redirect_http: true, hsts: 180d}\n    # the end of the shop\n",
		},
		{
			"a field less", routestest.Vhost("www.shop.test"),
			`{"tenant":"shop","backends":["http://127.0.0.1:9000","http://127.0.0.1:9001"]}`,
			"    cache:\n      enabled: true   # ask Ann\n      # in minutes\n      ttl: 5m\n    # the end of the shop\n", "    # the end of the shop\n",
		},
		{
			"a document in flow style becomes a block", routestest.Vhost("*.shop.test"),
			`{"tenant":"shop","backends":["http://127.0.0.1:9003"]}`,
			"\"*.shop.test\": {tenant: shop, backends: [http://127.0.0.1:9002]} # flow\n",
			"\"*.shop.test\": # flow\n    tenant: shop\n    backends: [http://127.0.0.1:9003]\n",
		},
		{
			"a tenant", routestest.Tenant("shop"), `{"waf":{"mode":"block","paranoia":2}}`,
			"waf: {mode: detect}   # block", "waf: {mode: block, paranoia: 2}   # block",
		},
		{
			"a tenant with nothing left", routestest.Tenant("shop"), `{}`,
			"shop:   # our best customer\n    waf: {mode: detect}   # block from March on\n", "shop: {}   # our best customer\n",
		},
		{
			"delete the first", routestest.Vhost("www.shop.test"), "",
			commented[strings.Index(commented, "  www.shop.test"):strings.Index(commented, "\n  # everything else")], "",
		},
		{
			"delete the last", routestest.Vhost("*.shop.test"), "",
			"  \"*.shop.test\": {tenant: shop, backends: [http://127.0.0.1:9002]} # flow\n", "",
		},
		{
			"delete the only one of a section", routestest.Tenant("shop"), "",
			"  shop:   # our best customer\n    waf: {mode: detect}   # block from March on\n", "",
		},
	} {
		for style, convert := range map[string]func(string) string{
			"":                               func(s string) string { return s },
			" with the line ends of Windows": func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") },
			" with a byte order mark":        func(s string) string { return "\ufeff" + s },
		} {
			t.Run(test.name+style, func(t *testing.T) {
				s, dir := open(t)
				path := filepath.Join(dir, "shop.yaml")
				write(t, path, convert(commented))
				var err error
				if test.put == "" {
					err = s.Delete(context.Background(), test.key)
				} else {
					err = s.Put(context.Background(), document(t, test.key, test.put))
				}
				if err != nil {
					t.Fatal(err)
				}
				want := convert(strings.Replace(commented, test.from, test.to, 1))
				if got := read(t, path); got != want {
					t.Errorf("got\n%s\nwant\n%s", got, want)
				}
			})
		}
	}
}

func document(t *testing.T, key routes.Key, text string) routes.Document {
	t.Helper()
	doc := routes.ParseJSON(key, "", []byte(text))
	if err := doc.Problems.Err(); err != nil {
		t.Fatal(err)
	}
	return doc
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestRelativePathsStayAsTheyAreWritten(t *testing.T) {
	s, dir := open(t)
	path := filepath.Join(dir, "shop.yaml")
	const text = "vhosts:\n  a.test:\n    backends: [http://b]\n    tls: {certificate: {cert: a.pem, key: a.key}}\n"
	write(t, path, text)
	batch, err := s.Load(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	v := *batch.Changes[0].Vhost
	if v.TLS.Certificate.Cert != filepath.Join(dir, "a.pem") {
		t.Fatalf("the certificate is at %s", v.TLS.Certificate.Cert)
	}
	v.VhostExtras = &routes.VhostExtras{Balance: "random"}
	if err := s.Put(context.Background(), routes.Document{Key: routestest.Vhost("a.test"), Vhost: &v}); err != nil {
		t.Fatal(err)
	}
	if got, want := read(t, path), text+"    balance: random\n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestLastLineWithoutItsEnd(t *testing.T) {
	s, dir := open(t)
	path := filepath.Join(dir, "a.yaml")
	write(t, path, "vhosts:\n  a.test:\n    backends: [http://b]")
	if err := s.Put(context.Background(), document(t, routestest.Vhost("a.test"), `{"backends":["http://b"],"balance":"random"}`)); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path); got != "vhosts:\n  a.test:\n    backends: [http://b]\n    balance: random\n" {
		t.Errorf("got %q", got)
	}
}

func TestWhatCannotBeEditedSafelyIsLeftAlone(t *testing.T) {
	for name, text := range map[string]string{
		"JSON":                    `{"vhosts": {"a.test": {"backends": ["http://b"]}, "c.test": {"backends": ["http://b"]}}}` + "\n",
		"a section in flow style": "vhosts: {a.test: {backends: [http://b]}, c.test: {backends: [http://b]}}\n",
		"flow over lines":         "vhosts: {\n  c.test: {backends: [http://b]},\n  a.test: {backends: [http://b]}}\n",
	} {
		s, dir := open(t)
		path := filepath.Join(dir, "a.yaml")
		write(t, path, text)
		for what, err := range map[string]error{
			"put":    s.Put(context.Background(), document(t, routestest.Vhost("a.test"), `{"backends":["http://c"]}`)),
			"delete": s.Delete(context.Background(), routestest.Vhost("a.test")),
		} {
			if err == nil || !strings.Contains(err.Error(), "a.yaml is not changed") {
				t.Errorf("%s: %s: got %v", name, what, err)
			}
		}
		if got := read(t, path); got != text {
			t.Errorf("%s: the file was changed to\n%s", name, got)
		}
	}
}

func TestBadDocumentIsReplacedWhole(t *testing.T) {
	s, dir := open(t)
	path := filepath.Join(dir, "a.yaml")
	write(t, path, "vhosts:\n  # mine\n  A.test: # x\n    backend: [http://b]\n    cache: {tttl: 1s}\n  c.test: {backends: [http://b]}\n")
	if err := s.Put(context.Background(), document(t, routestest.Vhost("a.test"), `{"backends":["http://c"]}`)); err != nil {
		t.Fatal(err)
	}
	want := "vhosts:\n  # mine\n  A.test: # x\n    backends: [http://c]\n  c.test: {backends: [http://b]}\n"
	if got := read(t, path); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestNewDocumentsGetFilesOfTheirOwn(t *testing.T) {
	s, dir := open(t)
	write(t, filepath.Join(dir, "taken.yaml"), "vhosts:\n  other.test: {backends: [http://b]}\n")
	long := strings.Repeat(strings.Repeat("a", 60)+".", 4) + "test"
	for key, name := range map[routes.Key]string{
		routestest.Vhost("www.shop.test"): "www.shop.test.yaml",
		routestest.Vhost("*.shop.test"):   "_wildcard.shop.test.yaml",
		routestest.Vhost("*"):             "_default.yaml",
		routestest.Vhost("[2001:db8::1]"): "_2001_db8__1_.yaml",
		routestest.Vhost(long):            long[:200] + ".yaml",
		routestest.Vhost("taken"):         "taken-2.yaml",
		routestest.Tenant(".hidden"):      "_hidden.yaml",
		routestest.Tenant(".."):           "_..yaml",
	} {
		text := `{"backends":["http://127.0.0.1:9000"]}`
		if key.Kind == routes.KindTenant {
			text = `{"waf":{"mode":"block"}}`
		}
		if err := s.Put(context.Background(), document(t, key, text)); err != nil {
			t.Errorf("%s: %v", key, err)
			continue
		}
		if where := s.Where(t.Context(), key); where != filepath.Join(dir, name)+":2" {
			t.Errorf("%s is at %q, want %s:2", key, where, name)
		}
		if err := s.Delete(context.Background(), key); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Join(dir, name)); !os.IsNotExist(err) {
			t.Errorf("%s stays behind without a document: %v", name, err)
		}
	}
	if err := s.Put(context.Background(), document(t, routestest.Vhost("www.shop.test"),
		`{"tenant":"shop","backends":["http://127.0.0.1:9000"],"cache":{"enabled":true,"ttl":"60s"}}`)); err != nil {
		t.Fatal(err)
	}
	want := "vhosts:\n  www.shop.test:\n    tenant: shop\n    backends: [http://127.0.0.1:9000]\n    cache: {enabled: true, ttl: 1m}\n"
	if got := read(t, filepath.Join(dir, "www.shop.test.yaml")); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestLongValuesAreWrittenOneALine(t *testing.T) {
	s, dir := open(t)
	var urls []string
	for range 5 {
		urls = append(urls, `"http://backend.with.a.long.name.shop.test:9000"`)
	}
	if err := s.Put(context.Background(), document(t, routestest.Vhost("a.test"), `{"backends":[`+strings.Join(urls, ",")+`]}`)); err != nil {
		t.Fatal(err)
	}
	got := read(t, filepath.Join(dir, "a.test.yaml"))
	if !strings.HasPrefix(got, "vhosts:\n  a.test:\n    backends:\n      - http://backend.with") || strings.Count(got, "\n") != 8 {
		t.Errorf("got\n%s", got)
	}
}

func TestNothingIsWrittenBesideAFileThatMayHoldIt(t *testing.T) {
	s, dir := open(t)
	write(t, filepath.Join(dir, "broken.yaml"), "vhosts:\n  a.test: {backends: [http://b\n")
	err := s.Put(context.Background(), document(t, routestest.Vhost("a.test"), `{"backends":["http://c"]}`))
	if err == nil || !strings.Contains(err.Error(), "broken.yaml") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "a.test.yaml")); !os.IsNotExist(err) {
		t.Error("a second file was written")
	}
}

func TestLinksAndModesOutliveAPut(t *testing.T) {
	s, dir := open(t)
	target := filepath.Join(t.TempDir(), "real.yaml")
	write(t, target, "vhosts:\n  a.test: {backends: [http://b]}\n")
	if err := os.Symlink(target, filepath.Join(dir, "a.yaml")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(target, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(context.Background(), document(t, routestest.Vhost("a.test"), `{"backends":["http://c"]}`)); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(filepath.Join(dir, "a.yaml"))
	if err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is a file now: %v, %v", info, err)
	}
	if info, err = os.Stat(target); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the file's mode is %v, %v", info.Mode(), err)
	}
	if !strings.Contains(read(t, target), "http://c") {
		t.Error("the file behind the link was not written")
	}
}

func TestDeleteRemovesEveryCopyInOneFile(t *testing.T) {
	s, dir := open(t)
	write(t, filepath.Join(dir, "a.yaml"), "vhosts:\n  a.test: {backends: [http://b]}\n  x.test: {backends: [http://b]}\n  A.test: {backends: [http://c]}\n")
	if err := s.Delete(context.Background(), routestest.Vhost("a.test")); err != nil {
		t.Fatal(err)
	}
	if where := s.Where(t.Context(), routestest.Vhost("a.test")); where != "" {
		t.Errorf("it is still at %s", where)
	}
	if s.Where(t.Context(), routestest.Vhost("x.test")) == "" {
		t.Error("x.test is gone too")
	}
}

// FuzzReplace: whatever the file looks like, an edit yields the document and
// nothing else, or an error.
func FuzzReplace(f *testing.F) {
	for _, seed := range []string{
		commented, "vhosts:\n  a.test: {backends: [http://b]}\n", "vhosts:\n  ? a.test\n  : {backends: [x]}\n", "vhosts: {a.test: {}}",
		"vhosts:\r\n  a.test:\r\n    backends: [http://b]\r\n", "- a\n- b", "vhosts:\n  a.test: &x\n    balance: random\n",
		"vhosts:\n  a.test:\n    waf:\n      mode: |-\n        # block\n  b.test: 1\n...\n", "vhosts:\n    a.test:\n  # c\n\n\n    b.test:",
	} {
		f.Add([]byte(seed))
	}
	key := routestest.Vhost("a.test")
	want := routes.ParseJSON(key, "", []byte(`{"backends":["http://new"],"cache":{"ttl":"1s"}}`))
	f.Fuzz(func(t *testing.T, source []byte) {
		docs, _ := routes.ParseFile("f", source)
		have := firstOf(docs, key)
		if have == nil {
			return
		}
		if out, err := replaceDocument(source, have, want); err == nil {
			_ = verify("f", source, out, key, &want) // it may refuse; it must not panic
		}
		if out, err := deleteDocument(source, key); err == nil {
			_ = verify("f", source, out, key, nil)
		}
	})
}

func TestTextsOfSeveralLinesAreBlocks(t *testing.T) {
	rules := "# ours\nSecRule ARGS \"@rx \\d: #x\" \\\n    \"id:1,phase:2,deny\"\n\nSecAction \"id:2,pass\""
	block := "|-\n        # ours\n        SecRule ARGS \"@rx \\d: #x\" \\\n            \"id:1,phase:2,deny\"\n\n        SecAction \"id:2,pass\"\n"
	for name, test := range map[string]struct{ rules, want string }{
		"without an end":   {rules, block},
		"with an end":      {rules + "\n", strings.Replace(block, "|-", "|", 1)},
		"one line":         {"# x", "\"# x\"\n"},
		"short":            {"# x\n# y\n", "|\n        # x\n        # y\n"},
		"two ends":         {"# x\n\n", "\"# x\\n\\n\"\n"},
		"indented":         {"  # x\n# y", "\"  # x\\n# y\"\n"},
		"control":          {"# x\n# \x1b", "\"# x\\n# \\u001b\"\n"},
		"carriage returns": {"# x\r\n# y\r\n", "\"# x\\r\\n# y\\r\\n\"\n"},
	} {
		for style, convert := range map[string]func(string) string{
			"":                               func(s string) string { return s },
			" with the line ends of Windows": func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") },
		} {
			t.Run(name+style, func(t *testing.T) {
				s, dir := open(t)
				path := filepath.Join(dir, "shop.yaml")
				const head, tail = "tenants:\n  shop:\n    waf:   # ours\n      rules: ", "      # the end\n  other: {}\n"
				write(t, path, convert(head+"'# none' # hand-made\n"+tail))
				want := convert(head + test.want + tail)
				for i, text := range []string{test.rules, rules, test.rules} {
					doc := routes.Document{Key: routestest.Tenant("shop"), Tenant: &routes.Tenant{Name: "shop", WAF: &routes.WAF{Rules: text}}}
					if err := s.Put(context.Background(), doc); err != nil {
						t.Fatal(err)
					}
					got := read(t, path)
					if i == 0 && strings.Count(got, " # hand-made") != 1 {
						t.Errorf("the comment behind it is lost: %q", got)
					}
					if got = strings.Replace(got, " # hand-made", "", 1); text == test.rules && got != want {
						t.Errorf("got\n%q\nwant\n%q", got, want)
					}
				}
			})
		}
	}
}

func TestNumbersOfRulesArePlain(t *testing.T) {
	s, dir := open(t)
	put := document(t, routestest.Tenant("shop"), `{"waf":{"exclusions":[{"rules":[932120,"942100-942199"],"note":"two\nlines"}]}}`)
	if err := s.Put(context.Background(), put); err != nil {
		t.Fatal(err)
	}
	want := "tenants:\n  shop:\n    waf: {exclusions: [{rules: [932120, 942100-942199], note: \"two\\nlines\"}]}\n"
	if got := read(t, filepath.Join(dir, "shop.yaml")); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
