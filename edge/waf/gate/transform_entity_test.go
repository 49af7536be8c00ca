package gate

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"testing"

	"golang.org/x/net/html"
)

// The names that need no semicolon are those of the package that decodes them, all of them.
func TestBareNamesAreThoseOfTheDecoder(t *testing.T) {
	file, _ := runtime.FuncForPC(reflect.ValueOf(html.UnescapeString).Pointer()).FileLine(0)
	text, err := os.ReadFile(filepath.Join(filepath.Dir(file), "entity.go"))
	if err != nil {
		t.Skipf("the decoder's source is not here: %v", err)
	}
	found := 0
	for _, m := range regexp.MustCompile(`(?m)^\s*"([A-Za-z0-9]+)(;?)":`).FindAllStringSubmatch(string(text), -1) {
		if bare := m[2] == ""; bare {
			found++
			if !bareNames[m[1]] || len(m[1]) > longestBareName {
				t.Errorf("%s is missing", m[1])
			}
		}
		if name := "&" + m[1] + m[2]; !mayBeReference(name) {
			t.Errorf("%s is a reference", name)
		}
	}
	if found != len(bareNames) || found < 100 {
		t.Errorf("%d names in the source, %d here", found, len(bareNames))
	}
}
