package wafrules

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// presets are what a tenant may name instead of writing it: profiles, which are families of the core
// rules, and apps, which are programs that trip over some rules. Each is a document with
// exclusions as tenants have them.
//
//go:embed profiles/*.yaml apps/*.yaml
var presets embed.FS

// Profiles returns the text of each profile by its name. It panics if embedded text cannot be read,
// which a built binary cannot meet.
func Profiles() map[string][]byte { return texts("profiles") }

// Apps returns the text of each app by its name. It panics as [Profiles] does.
func Apps() map[string][]byte { return texts("apps") }

func texts(folder string) map[string][]byte {
	out := map[string][]byte{}
	entries, err := fs.ReadDir(presets, folder)
	if err != nil {
		panic(fmt.Sprintf("read embedded %s: %v", folder, err))
	}
	for _, entry := range entries {
		text, err := fs.ReadFile(presets, path.Join(folder, entry.Name()))
		if err != nil {
			panic(fmt.Sprintf("read embedded %s: %v", folder, err))
		}
		out[strings.TrimSuffix(entry.Name(), ".yaml")] = text
	}
	return out
}
