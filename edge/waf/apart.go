package waf

import (
	"strings"

	"github.com/corazawaf/coraza/v3/collection"
	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
)

// Coraza v3.8.1 remembers what transformations make of a value by the address of its name and its place in
// the list of values (internal/corazawaf/rule.go, transformArg). Values of one name in a form, in
// JSON or in cookies share one address, and their places change from rule to rule with the order of a
// map: so a rule may be shown the transformed form of another value, and never the one that it was
// to look at. Of requests with an attack in the second of two User-Agent lines one in five passed the rule.
//
// Hence rules 200110 and 200111 of base.conf, the first of their phases, give each value a name at an address of
// its own. They match nothing.

// apartName is the operator of these rules.
const apartName = "gatehouseApart"

// apartRules are the rules for engines that do not read base.conf's.
const apartRules = `SecRule UNIQUE_ID "@` + apartName + `" "id:200110,phase:1,pass,nolog"
SecRule UNIQUE_ID "@` + apartName + `" "id:200111,phase:2,pass,nolog"
`

// isApart reports whether a rule is one of these.
func isApart(id int) bool { return id == 200110 || id == 200111 }

type apart struct{}

// Evaluate never matches.
func (apart) Evaluate(tx plugintypes.TransactionState, _ string) bool {
	v := tx.Variables()
	for _, c := range [...]collection.Map{
		v.RequestHeaders(), v.RequestCookies(), v.ArgsGet(), v.ArgsPost(), v.ArgsPath(), v.Files(), v.FilesNames(), v.MultipartPartHeaders(),
	} {
		setApart(c)
	}
	return false
}

// counted is what the engine's collections can tell without making a list.
type counted interface {
	Len() int // names
	TotalValues() int
}

// setApart gives the values of names that have several a copy of the name each.
func setApart(c collection.Map) {
	if n, ok := c.(counted); ok && n.TotalValues() == n.Len() {
		return
	}
	at := map[string]int{} // by name in lower case: how many values were seen
	for _, m := range c.FindAll() {
		name := strings.ToLower(m.Key())
		c.SetIndex(cloneName(m.Key()), at[name], m.Value())
		at[name]++
	}
}

// cloneName copies a name. An empty one gets an address, too.
func cloneName(s string) string {
	if s == "" {
		return strings.Clone("x")[:0]
	}
	return strings.Clone(s)
}
