package waf

import (
	"fmt"
	"regexp"
	"runtime"
	"sync"
	"weak"

	"gatehouse/routes"
)

// inAnyCase is what is compiled: the engine compares names in lower case, where a pattern with capitals
// never fits.
func inAnyCase(pattern string) string { return "(?i:" + pattern + ")" }

// patterns are the regular expressions of targets that are in use, by their text: tenants write the same
// ones, each takes some kilobytes, and a list is compiled anew for each rule set.
type patterns struct {
	mu    sync.Mutex
	known map[string]weak.Pointer[regexp.Regexp]
}

// targetPatterns is one for the process: what it holds never changes.
var targetPatterns = patterns{known: map[string]weak.Pointer[regexp.Regexp]{}}

// get compiles a target's regular expression if nobody has it. One that is too large is an error.
func (c *patterns) get(pattern string) (*regexp.Regexp, int, error) {
	size, err := routes.PatternSize(pattern)
	if err != nil {
		return nil, 0, err
	}
	if size > routes.MaxPattern {
		return nil, 0, fmt.Errorf("the regular expression is too large: %d instructions when its repetitions are written out, at most %d", size, routes.MaxPattern)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.known[pattern].Value(); known != nil {
		return known, size, nil
	}
	fresh, err := regexp.Compile(inAnyCase(pattern)) // some 20 µs, under the lock: they are small
	if err != nil {
		return nil, 0, fmt.Errorf("compile a regular expression: %w", err)
	}
	c.known[pattern] = weak.Make(fresh)
	runtime.AddCleanup(fresh, c.forget, pattern)
	return fresh, size, nil
}

// forget takes an expression out that nobody has any more, unless it was compiled again meanwhile.
func (c *patterns) forget(pattern string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p, ok := c.known[pattern]; ok && p.Value() == nil {
		delete(c.known, pattern)
	}
}
