package gate

import (
	"strings"

	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
)

// A chainList has each different chain of transformations once. A link with multiMatch has one of its own kind.
type chainList struct {
	list   []listed
	places map[string]int
}

// listed is a chain with the way in which operators see it.
type listed struct {
	chain
	multi bool
}

// of returns the place of a link's chain.
func (c *chainList) of(l *Link) int {
	multi := l.MultiMatch && len(l.Transforms) > 0
	key := strings.Join(l.Transforms, "+")
	if multi {
		key += " multi"
	}
	made := chainOf(l)
	if _, ok := newChain(l.Transforms); ok {
		if at, ok := c.places[key]; ok {
			return at
		}
	}
	if c.places == nil {
		c.places = map[string]int{}
	}
	c.places[key] = len(c.list)
	c.list = append(c.list, listed{made, multi})
	return len(c.list) - 1
}

// chainOf returns a link's transformations. Where one is not known here, they are the engine's own.
func chainOf(l *Link) chain {
	if c, ok := newChain(l.Transforms); ok {
		return c
	}
	var c chain
	for i, apply := range l.Apply {
		c.steps = append(c.steps, engineOwn(l.Transforms[i], apply))
	}
	c.always, c.triggers = true, everyByte
	return c
}

// engineOwn is a transformation of the engine's, of which nothing is known.
func engineOwn(name string, apply plugintypes.Transformation) transform {
	return transform{name: name, triggers: everyByte, always: true, apply: func(s string) string {
		if out, _, err := apply(s); err == nil {
			return out
		}
		return s
	}}
}
