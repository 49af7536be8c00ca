package waf

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/corazawaf/coraza/v3/collection"
	"github.com/corazawaf/coraza/v3/types/variables"
)

// readMultipart returns everything that a body left in the engine's variables, read by our
// processor or by the engine's own.
func readMultipart(e *Engine, contentType, body string, ours bool) map[string][]string {
	tx := e.Begin(&Profile{}, "x")
	defer tx.Close()
	tx.RequestHeader("Content-Type", contentType)
	tx.RequestHeaders()
	if ours {
		tx.WriteRequestBody([]byte(body))
		tx.RequestBody(false)
	} else {
		tx.view.WriteRequestBody([]byte(body))
		tx.view.ProcessRequestBody()
	}
	all := map[string][]string{}
	tx.view.Variables().All(func(v variables.RuleVariable, c collection.Collection) bool {
		// What differs by nature: clocks, the names of temporary files, and the bookkeeping of rules.
		name := v.Name()
		if strings.HasPrefix(name, "TIME") || strings.HasPrefix(name, "MATCHED") || name == "FILES_TMPNAMES" || name == "TX" || name == "RULE" {
			return true
		}
		for _, d := range c.FindAll() {
			all[name] = append(all[name], fmt.Sprintf("%q=%q", d.Key(), d.Value()))
		}
		slices.Sort(all[name])
		return true
	})
	return all
}

var multipartSeeds = []string{
	multipartBody("b", part{name: "a", content: "1"}, part{name: "a", filename: "x.txt", content: "file"}),
	"--b\r\nContent-Disposition: form-data; name=a; filename=\"x\"; filename*=UTF-8''%41%zz\r\n\r\nx\r\n--b--",
	"--b\r\nContent-Disposition: form-data; name=a; filename*=\"UTF-8'en'y.php\"; filename=z\r\n\r\nx\r\n--b--",
	"--b\r\nContent-Disposition: form-data; name=a; filename*=utf-8''; filename=\"evil.php\"\r\n\r\nx\r\n--b--",
	"--b\r\nContent-Disposition: form-data; name=a; filename*0=ev; filename*1=il.php; filename=ok.txt\r\n\r\nx\r\n--b--",
	"--b\r\nContent-Disposition: form-data; name=a; filename*0*=utf-8''ev\r\n\r\nx\r\n--b--",
	"--b\r\nContent-Disposition: form-data; name=a; filename*=nothing; filename*0=x\r\n\r\nx\r\n--b--",
	"--b\r\nContent-Disposition: form-data; name=a; name=b; filename=\"q\\\"; filename=x\"\r\n\r\nx\r\n--b--",
	"--b\r\nContent-Disposition: form-data; name=a\r\ncontent-disposition: form-data; name=c\r\n\r\nx\r\n--b--",
	"--b\r\nContent-Disposition: ; ;\r\n\r\nx\r\n--b--",
	"--b\r\nno colon\r\n\r\nx\r\n--b--",
	"--b\r\n\r\nno header\r\n--b\r\nContent-Disposition: form-data; name=a; filename=f\r\n\r\nno end",
	"--b\r\nContent-Disposition: form-data; name=a\r\n\r\nno end",
	"no boundary", "--b--", "--b", "",
}

// Reading files without writing them must change nothing else.
func TestMultipartEqualsTheEnginesOwn(t *testing.T) {
	e := parseRules(t)
	for _, body := range multipartSeeds {
		compareMultipart(t, e, "multipart/form-data; boundary=b", body)
	}
	for _, contentType := range []string{"multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=b; boundary=c", "multipart/form-data-x; boundary=b", " multipart/form-data; boundary=b"} {
		compareMultipart(t, e, contentType, multipartSeeds[0])
	}
}

func compareMultipart(t *testing.T, e *Engine, contentType, body string) {
	t.Helper()
	ours, theirs := readMultipart(e, contentType, body, true), readMultipart(e, contentType, body, false)
	if maps.EqualFunc(ours, theirs, slices.Equal) {
		return
	}
	if strings.ContainsAny(body, `*'\`) { // may be a field elsewhere: then we have an argument more
		without := func(m map[string][]string) {
			maps.DeleteFunc(m, func(name string, _ []string) bool { return strings.HasPrefix(name, "ARGS") })
		}
		for _, value := range theirs["ARGS_POST"] {
			if !slices.Contains(ours["ARGS_POST"], value) {
				t.Errorf("%q: ARGS_POST is %s, the engine's own says %s", body, ours["ARGS_POST"], theirs["ARGS_POST"])
			}
		}
		without(ours)
		without(theirs)
	}
	for name := range maps.Keys(theirs) {
		if !slices.Equal(ours[name], theirs[name]) {
			t.Errorf("%q: %s is %s, the engine's own says %s", body, name, ours[name], theirs[name])
		}
	}
	for name := range maps.Keys(ours) {
		if theirs[name] == nil {
			t.Errorf("%q: %s is %s, the engine's own has none", body, name, ours[name])
		}
	}
}

// A part that is a file here and may be a field at a backend is both. Uploads as browsers and the usual
// libraries send them are files, whose content no rule sees.
func TestAFileThatMayBeAFieldIsInspected(t *testing.T) {
	e := parseRules(t)
	for disposition, inspected := range map[string]bool{
		`form-data; name="a"; filename*=UTF-8''x`:                            true,
		`form-data; name="a"; filename=""; filename*=UTF-8''x`:               true,
		`form-data; name="a"; x='; filename="b"; y='`:                        true,
		`form-data; name='a; filename="b"; y='`:                              true,
		`form-data; name="a\\"; filename="b"`:                                true,
		`form-data; name="a"; filename="b"`:                                  false,
		`form-data; name="a"; filename=b`:                                    false,
		`form-data; name="a"; FileName = "b c;.jpg"`:                         false,
		`form-data; name="a"; filename="it's.jpg"`:                           false,
		`form-data; name="a"; filename=it's.jpg`:                             false,
		`form-data; name="it's"; filename="a'b'c.jpg"`:                       false,
		`form-data; name="a"; filename="a\"b.jpg"`:                           false,
		`form-data; name="a"; filename="é.jpg"; filename*=UTF-8''%c3%a9.jpg`: false,
	} {
		body := "--b\r\nContent-Disposition: " + disposition + "\r\n\r\nEVIL\r\n--b--\r\n"
		tx := e.Begin(&Profile{Mode: Block}, "x")
		tx.RequestHeader("Content-Type", "multipart/form-data; boundary=b")
		tx.RequestHeaders()
		tx.WriteRequestBody([]byte(body))
		tx.RequestBody(false)
		if files := tx.view.Variables().Files().FindAll(); len(files) == 0 {
			t.Errorf("%s: no file", disposition)
		}
		args := tx.view.Variables().ArgsPost().FindAll()
		if seen := len(args) == 1 && args[0].Value() == "EVIL"; seen != inspected {
			t.Errorf("%s: arguments %v", disposition, args)
		}
		tx.Close()
	}
}

func FuzzMultipartEqualsTheEnginesOwn(f *testing.F) {
	for _, body := range multipartSeeds {
		f.Add(body)
	}
	e := parseRules(f)
	f.Fuzz(func(t *testing.T, body string) {
		compareMultipart(t, e, "multipart/form-data; boundary=b", body)
	})
}

func TestUploadsAreNotWrittenToDisk(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	e := parseRules(t)
	tx := e.Begin(&Profile{Mode: Block}, "x")
	tx.RequestHeader("Content-Type", "multipart/form-data; boundary=b")
	tx.RequestHeaders()
	tx.WriteRequestBody([]byte(multipartBody("b", part{name: "f", filename: "f.bin", content: strings.Repeat("x", 200<<10)})))
	if tx.RequestBody(true) != nil || tx.Err() != nil {
		t.Errorf("%+v, %v", tx.Verdict(), tx.Err())
	}
	if got := tx.view.Variables().Files().FindAll(); len(got) != 1 || got[0].Value() != "f.bin" {
		t.Errorf("files: %v", got)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	tx.Close()
	if len(files) != 0 {
		t.Errorf("files on disk: %v", files)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Error(err)
	}
}
