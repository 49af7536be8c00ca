package crstest

import (
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml"
)

// grounds is what a reason must name: the rule of the RFC, the wire rule that refuses, or the engine whose
// fault it is.
var grounds = regexp.MustCompile(`RFC \d{4} §\d|wire rule [a-z_]+|\bCoraza\b`)

// loadOverrides reads one section of a file of overrides: by test id, why the test does not pass.
func loadOverrides(path, section string) (map[string]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read overrides: %w", err)
	}
	var sections map[string]map[string]string
	if err := yaml.UnmarshalWithOptions(text, &sections, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("read overrides %s: %w", path, err)
	}
	overrides, ok := sections[section]
	if !ok {
		return nil, fmt.Errorf("%s has no section %q", path, section)
	}
	for id, reason := range overrides {
		if !grounds.MatchString(reason) || strings.Contains(reason, "\n") {
			return nil, fmt.Errorf("%s: %s: %q names no section of an RFC (RFC 9112 §3), no wire rule and not Coraza, on one line", path, id, reason)
		}
	}
	return overrides, nil
}
