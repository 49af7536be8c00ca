package edge

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"gatehouse/edge/waf"
	"gatehouse/routes"
	wafrules "gatehouse/waf-rules"
)

// A preset is a file of waf-rules/profiles or waf-rules/apps: exclusions that a tenant names instead
// of writing them.
type preset struct {
	Exclusions []routes.Exclusion `json:"exclusions"`

	compiled *waf.Exclusions // nil: there are none
}

// parsePreset reads a preset as strictly as a tenant's document, with the same checks.
func parsePreset(name string, text []byte) (*preset, error) {
	d, err := routes.NewDecoder(name, text)
	if err != nil {
		return nil, err
	}
	var p preset
	d.Decode(&p)
	if err := d.Problems().Err(); err != nil {
		return nil, err
	}
	t := routes.Tenant{Name: name, WAF: &routes.WAF{Exclusions: p.Exclusions}}
	return &p, t.Check(name).Err()
}

// presets are all of them by "profile NAME" and "app NAME", once for the process: all tenants
// share them, and the WAF compiles each once for a rule set. It panics if an embedded preset is
// bad, which a test excludes.
var presets = sync.OnceValue(func() map[string]*preset {
	out := map[string]*preset{}
	for kind, files := range map[string]map[string][]byte{"profile ": wafrules.Profiles(), "app ": wafrules.Apps()} {
		for name, text := range files {
			p, err := parsePreset(kind+name, text)
			if err != nil {
				panic(fmt.Sprintf("read embedded %s%s: %v", kind, name, err))
			}
			list := Exclusions(p.Exclusions)
			for i := range list {
				list[i].Folders = true
			}
			p.compiled = waf.NewExclusions(list)
			out[kind+name] = p
		}
	}
	return out
})

// Preset returns the exclusions of "profile NAME" or "app NAME", which must not be changed; nil: there
// is none of that name, or it excludes nothing.
func Preset(name string) []routes.Exclusion {
	if p := presets()[name]; p != nil {
		return p.Exclusions
	}
	return nil
}

// A presetSets gives all sites with the same profile and apps one set of presets: there are as
// many sets as combinations of names. The zero value is ready.
type presetSets struct {
	mu     sync.Mutex
	byName map[string]*waf.Shared
}

// of returns the presets of the settings; nil: there are none, or they exclude nothing.
func (s *presetSets) of(w *routes.WAF) *waf.Shared {
	if w.Profile == "complete" && len(w.Apps) == 0 {
		return nil
	}
	names := []string{"profile " + w.Profile}
	for _, app := range slices.Sorted(slices.Values(w.Apps)) {
		names = append(names, "app "+app)
	}
	key := strings.Join(names, ",")
	s.mu.Lock()
	defer s.mu.Unlock()
	if set, made := s.byName[key]; made {
		return set
	}
	lists := make([]*waf.Exclusions, len(names))
	for i, name := range names {
		lists[i] = presets()[name].compiled // documents name no others
	}
	if s.byName == nil {
		s.byName = map[string]*waf.Shared{}
	}
	set := waf.NewShared(lists...)
	s.byName[key] = set
	return set
}
