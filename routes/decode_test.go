package routes

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// report writes what was read of a file: each document, and each problem with
// its excerpt.
func report(docs []Document, problems Problems) string {
	var b strings.Builder
	write := func(p *Problem) {
		b.WriteString(p.Error() + "\n")
		if p.Excerpt != "" {
			b.WriteString("    " + strings.ReplaceAll(p.Excerpt, "\n", "\n    ") + "\n")
		}
	}
	for _, p := range problems {
		write(p)
	}
	for _, doc := range docs {
		state := "good"
		if len(doc.Problems) > 0 {
			state = "bad"
		}
		fmt.Fprintf(&b, "%s, line %d: %s\n", doc.Key, doc.Line, state)
		for _, p := range doc.Problems {
			write(p)
		}
	}
	return b.String()
}

func TestFilesAreReportedAsInTheGoldenFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		docs, problems := ParseFile(filepath.Base(file), source)
		got := report(docs, problems)
		golden := strings.TrimSuffix(file, ".yaml") + ".golden"
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
		}
	}
}

func TestGoodFileIsReadIntoItsFields(t *testing.T) {
	source, err := os.ReadFile("testdata/good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	docs, problems := ParseFile("/etc/gatehouse/conf.d/good.yaml", source)
	if len(problems) > 0 || len(docs) != 4 {
		t.Fatalf("%v, %v", docs, problems)
	}
	yes, no, hour, tenSeconds := true, false, Duration(time.Hour), Duration(10*time.Second)
	want := []Document{
		{Key: Key{KindTenant, "shop"}, Line: 3, Tenant: &Tenant{Name: "shop", Suspended: &yes, WAF: &WAF{
			Mode: "block", Profile: "strong", Apps: []string{"nextcloud", "wordpress"}, Paranoia: 2, InboundThreshold: 7, OutboundThreshold: 9, InspectBody: 64 << 10,
			Responses: &yes, OnOversize: "block", OnError: "block", AllowedMethods: []string{"GET", "PROPFIND"}, AllowedTypes: []string{"text/plain"},
			Exclusions: []Exclusion{{
				ID: "ex-1", Rules: []RuleRange{{942100, 942100}, {941100, 941199}}, Tags: []string{"attack-sqli"}, Target: "ARGS:q",
				Paths: []string{"/search"}, Methods: []string{"GET"}, Note: "a", Until: "2027-01-01",
			}},
		}}},
		{Key: Key{KindTenant, "empty"}, Line: 8, Tenant: &Tenant{Name: "empty"}},
		{Key: Key{KindVhost, "www.shop.test"}, Line: 10, Vhost: &Vhost{
			Name: "www.shop.test", Tenant: "shop", Aliases: []string{"shop.test", "xn--bcher-kva.test", "*.shop.test"},
			Backends: []Backend{{URL: "http://127.0.0.1:9000"}, {URL: "https://10.0.0.2", Weight: 1}, {URL: "unix:/run/app.sock"}, {URL: "http://[::1]:80/x"}},
			VhostExtras: &VhostExtras{
				Suspended: &no, Balance: "round_robin", Compress: "on",
				Timeouts: &Timeouts{Connect: Duration(300 * time.Millisecond), FirstByte: Duration(2 * time.Minute)},
			},
			WAF: &WAF{Mode: "detect"},
			Cache: &Cache{
				Enabled: &yes, MaxBody: 1 << 20, SetCookie: "bypass", Heuristic: &no,
				StaleIfError: new(Duration), StaleWhileRevalidate: Duration(30 * time.Second), IgnoreClientNoCache: &yes,
				Query:  &CacheQuery{Ignore: []string{"utm_*", "fbclid"}, Sort: &yes},
				Key:    &CacheKey{Cookies: []string{"lang"}, Headers: []string{"X-Country"}, Device: &yes},
				Bypass: &CacheBypass{Paths: []string{"/wp-admin/*"}, Cookies: []string{"wordpress_logged_in_*"}, Query: []string{"nocache"}, Headers: []string{"X-Preview"}},
				Rules: []CacheRule{
					{Paths: []string{"/static/*", "*.css"}, Status: []int{200}, TTL: &hour, Override: true},
					{Status: []int{404, 503}, TTL: &tenSeconds},
					{Paths: []string{"/live"}, TTL: new(Duration)},
				},
			},
			TLS: &TLS{
				MinVersion: "1.3", KeyType: "rsa", RedirectHTTP: "false", HSTS: &HSTS{MaxAge: Duration(180 * 24 * time.Hour)},
				Certificate: &Certificate{Cert: "/etc/gatehouse/conf.d/site/file.pem", Key: "/etc/file.key"},
			},
		}},
		{Key: Key{KindVhost, "*"}, Line: 24, Vhost: &Vhost{
			Name: "*", Backends: []Backend{{URL: "http://127.0.0.1:9001"}}, Cache: &Cache{Query: &CacheQuery{Only: []string{}}},
		}},
	}
	for i := range want {
		if !reflect.DeepEqual(docs[i], want[i]) {
			t.Errorf("%s: got\n%+v, want\n%+v", want[i].Key, docs[i], want[i])
		}
	}
}

// leaf is one field of a document, at its path.
type leaf struct {
	path []string
	kind reflect.Type
}

func leaves(t reflect.Type, path []string) []leaf {
	var out []leaf
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		at := append(append([]string{}, path...), name)
		kind := f.Type
		if kind.Kind() == reflect.Pointer {
			kind = kind.Elem()
		}
		out = append(out, leaf{at, kind})
		if kind == ratesType { // one mapping stands for a list of one
			kind = kind.Elem()
		}
		if kind.Kind() == reflect.Struct {
			out = append(out, leaves(kind, at)...)
		}
	}
	return out
}

// nest writes the value at the path, as JSON, which is YAML too.
func nest(path []string, value string) string {
	for i := len(path) - 1; i >= 0; i-- {
		value = fmt.Sprintf("{%q: %s}", path[i], value)
	}
	return value
}

// TestNoFieldIsSilentlyMisread takes every field that there is.
func TestNoFieldIsSilentlyMisread(t *testing.T) {
	for kind, doc := range map[Kind]reflect.Type{KindTenant: reflect.TypeFor[Tenant](), KindVhost: reflect.TypeFor[Vhost]()} {
		for _, field := range leaves(doc, nil) {
			path := strings.Join(field.path, ".")
			last := field.path[len(field.path)-1]
			above := field.path[:len(field.path)-1]
			typo := append(append([]string{}, above...), last+"x")
			twice := nest(above, fmt.Sprintf("{%q: 1, %q: 1}", last, last))
			wrong := `{"no": {"such": "thing"}}`
			if field.kind.Kind() == reflect.Struct || field.kind.Kind() == reflect.Map {
				wrong = `[[1]]`
			}
			if field.kind == ratesType { // a mapping, or a list of them
				wrong = "5"
			}
			want := map[string]string{
				nest(typo, "1"):              fmt.Sprintf("unknown key %q%s (did you mean", last+"x", inside(strings.Join(above, "."))),
				nest(field.path, wrong):      path + ": want ",
				twice:                        path + ": given twice",
				nest(field.path, "\"\x01\""): "", // only has to be refused
			}
			for text, problem := range want {
				source := ParseJSON(Key{kind, "a.test"}, "key", []byte(text))
				if source.Tenant != nil || source.Vhost != nil || !strings.Contains(source.Problems.Error(), problem) {
					t.Errorf("%s: got %q, want %q", text, source.Problems.Error(), problem)
				}
				checkPlaces(t, text, source.Problems)
			}
		}
	}
}

// checkPlaces makes sure that problems with a place have a caret under it.
func checkPlaces(t *testing.T, source string, problems Problems) {
	t.Helper()
	for _, p := range problems {
		if p.Line == 0 {
			continue
		}
		lines := strings.Split(source, "\n")
		if p.Line > len(lines) || p.Column < 1 || p.Column > len([]rune(lines[p.Line-1]))+1 {
			t.Errorf("%q has no line %d, column %d", source, p.Line, p.Column)
			continue
		}
		_, caret, _ := strings.Cut(p.Excerpt, "\n")
		_, caret, _ = strings.Cut(caret, "| ")
		want := p.Column
		if want > 160 {
			want = 82 // of a long line what is about it
		}
		if len([]rune(caret)) != want {
			t.Errorf("the caret of %v stands at %d:\n%s", p, len([]rune(caret)), p.Excerpt)
		}
	}
}

func TestNestingThatWouldTakeMinutesIsRefusedAtOnce(t *testing.T) {
	for name, text := range map[string]string{
		"lists":         strings.Repeat("[", 200_000),
		"mappings":      strings.Repeat("{a: ", 100_000),
		"closed lists":  "vhosts: " + strings.Repeat("[", 50_000) + strings.Repeat("]", 50_000),
		"dashes":        strings.Repeat("- ", 100_000) + "a",
		"keys":          strings.Repeat("? ", 100_000) + "a",
		"dashes in one": "vhosts:\n  a.test:\n    " + strings.Repeat("- ", 50_000) + "a",
	} {
		begin := time.Now()
		docs, problems := ParseFile("f", []byte(text))
		if len(docs) != 0 || len(problems) == 0 {
			t.Errorf("%s: taken", name)
		}
		if took := time.Since(begin); took > 20*time.Second {
			t.Errorf("%s: refused after %v", name, took)
		}
	}
	key := Key{KindVhost, "a.test"}
	for _, text := range []string{strings.Repeat("[", 200_000) + strings.Repeat("]", 200_000), strings.Repeat(`{"a":`, 9000) + "1" + strings.Repeat("}", 9000)} {
		if doc := ParseJSON(key, "k", []byte(text)); len(doc.Problems) == 0 {
			t.Error("taken")
		}
	}
}

func FuzzParseFile(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(source)
	}
	f.Fuzz(func(t *testing.T, source []byte) {
		if len(source) > 4<<10 {
			return
		}
		docs, _ := ParseFile("conf.d/f.yaml", source)
		for i := range docs {
			good := docs[i].Tenant != nil || docs[i].Vhost != nil
			if good == (len(docs[i].Problems) > 0) {
				t.Errorf("neither good nor bad, or both: %+v", docs[i])
			}
			if v := docs[i].Vhost; v != nil && len(v.Check("x")) > 0 {
				t.Errorf("taken, but: %v", v.Check("x"))
			}
		}
	})
}

// TestMappingsOfFreeKeys: a field may be a map, whose keys are anybody's.
func TestMappingsOfFreeKeys(t *testing.T) {
	var into struct {
		Fields map[string]string `json:"fields"`
	}
	d, err := NewDecoder("f.yaml", []byte("fields: {X-A: b, X-N: 1, \"x a\": \"\"}\n"))
	if err != nil {
		t.Fatal(err)
	}
	d.Decode(&into)
	if want := map[string]string{"X-A": "b", "X-N": "1", "x a": ""}; !maps.Equal(into.Fields, want) || len(d.Problems()) != 0 {
		t.Errorf("got %v, problems %v", into.Fields, d.Problems())
	}
	d, err = NewDecoder("f.yaml", []byte("fields:\n  a: 1\n  a: 2\n  b: [1]\n  c: .inf\n"))
	if err != nil {
		t.Fatal(err)
	}
	d.Decode(&into)
	want := "f.yaml:3:3: fields.a: given twice\nf.yaml:4:6: fields.b: want one value here, not a list\nf.yaml:5:6: fields.c: want one value here, not what YAML takes for no number"
	if got := d.Problems().Error(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
