package routes

import (
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// An Entry is one key of a mapping.
type Entry struct {
	Key   string
	Token *token.Token
	Value ast.Node
}

// Entries returns the keys of a mapping in the order of the text.
func Entries(n ast.Node) ([]Entry, bool) {
	var pairs []*ast.MappingValueNode
	switch m := plain(n).(type) {
	case *ast.MappingNode:
		pairs = m.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{m}
	default:
		return nil, false
	}
	out := make([]Entry, 0, len(pairs))
	for _, p := range pairs {
		key, ok := scalarText(p.Key)
		if !ok {
			key = p.Key.String()
		}
		out = append(out, Entry{Key: key, Token: p.Key.GetToken(), Value: p.Value})
	}
	return out, true
}

// plain takes tags and anchors off a node.
func plain(n ast.Node) ast.Node {
	for {
		switch t := n.(type) {
		case *ast.TagNode:
			n = t.Value
		case *ast.AnchorNode:
			n = t.Value
		case *ast.MappingKeyNode:
			n = t.Value
		default:
			return n
		}
	}
}

// splitURL mends what the parser makes of a URL with a port that stands bare in a
// list inside braces: {backends: [http://b:80]} is a mapping from "http://b" to
// 80 to it, although YAML 1.2 §7.3.3 has the colon be a part of the scalar. The same
// goes for file:PATH.
func splitURL(n ast.Node) string {
	entries, ok := Entries(n)
	if !ok || len(entries) != 1 || !strings.Contains(entries[0].Key, "://") && entries[0].Key+":" != listFile {
		return ""
	}
	port, ok := scalarText(entries[0].Value)
	if !ok {
		return ""
	}
	return entries[0].Key + ":" + port
}

// bareIPv6 reports whether a mapping is what YAML makes of a bare IPv6 address that ends
// with a colon, or the parser of one inside braces.
func bareIPv6(n ast.Node) bool {
	entries, ok := Entries(n)
	if !ok || len(entries) != 1 || strings.Trim(entries[0].Key, "0123456789abcdefABCDEF:") != "" {
		return false
	}
	rest, _ := scalarText(entries[0].Value)
	return strings.Contains(entries[0].Key+rest, ":")
}

// quoteIPv6 is what to do about it.
const quoteIPv6 = ` (an IPv6 address needs quotes here: "2001:db8::/32")`

func isScalar(n ast.Node) bool { _, ok := scalarText(n); return ok }

// scalarText returns what a scalar says, as written: 1.20 stays "1.20".
func scalarText(n ast.Node) (string, bool) {
	switch s := plain(n).(type) {
	case *ast.StringNode:
		return s.Value, true
	case *ast.LiteralNode:
		return s.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return s.GetToken().Value, true
	}
	return "", false
}

func kindOf(n ast.Node) string {
	switch plain(n).(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.AliasNode:
		return "an alias (*name); quote a value that begins with *"
	case *ast.NullNode:
		return "nothing"
	case *ast.InfinityNode, *ast.NanNode:
		return "what YAML takes for no number"
	}
	return "a single value"
}
