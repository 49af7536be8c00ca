package admin

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"gatehouse/routes"
)

// A Patch changes single fields of a document.
type Patch struct {
	// Set holds new values by path: {"cache.ttl": "60s", "waf.mode": "block"}.
	// null unsets a field. A string is read as what the field holds: "true" for a
	// switch, "2" for a number, "a, b" or JSON for a list, JSON for a mapping or a list of mappings.
	Set map[string]any `json:"set"`
}

func readPatch(w http.ResponseWriter, r *http.Request) (*Patch, error) {
	var p Patch
	if err := readJSON(w, r, maxDocument, &p); err != nil {
		return nil, err
	}
	if len(p.Set) == 0 {
		return nil, &apiError{http.StatusBadRequest, `nothing to set: want {"set": {"waf.mode": "block"}}`, nil}
	}
	return &p, nil
}

// apply returns doc's JSON with the patch's values in it. doc is a pointer to a
// document and stays as it is. Whether the result is good is not judged here.
func (p *Patch) apply(doc any) ([]byte, error) {
	raw, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("present document: %w", err)
	}
	return p.applyJSON(raw, reflect.TypeOf(doc).Elem())
}

// applyOver is apply to a vhost. What it unsets is as base says, if that is not nil and says so.
func (p *Patch) applyOver(base, v *routes.Vhost) ([]byte, error) {
	raw, err := p.apply(v)
	if err != nil || base == nil {
		return raw, err
	}
	tree := map[string]any{}
	if err := json.Unmarshal(raw, &tree); err != nil {
		return nil, fmt.Errorf("present document: %w", err)
	}
	unset := func(path string) bool {
		value, said := p.Set[path]
		return said && (value == nil || value == "")
	}
	if unset("tenant") && base.Tenant != "" {
		tree["tenant"] = base.Tenant
	}
	if unset("backends") && len(base.Backends) > 0 && tree["redirect"] == nil && tree["respond"] == nil {
		tree["backends"] = base.Backends
	}
	return json.Marshal(tree)
}

// applyJSON is apply to the JSON of a document of type kind, which may be a bad one.
func (p *Patch) applyJSON(raw []byte, kind reflect.Type) ([]byte, error) {
	tree := map[string]any{}
	if err := json.Unmarshal(raw, &tree); err != nil {
		return nil, fmt.Errorf("present document: %w", err)
	}
	for _, path := range slices.Sorted(maps.Keys(p.Set)) { // "cache" before "cache.ttl"
		if err := setPath(tree, kind, "", path, p.Set[path]); err != nil {
			return nil, err
		}
	}
	return json.Marshal(tree)
}

// setPath sets the value at a path within a JSON object that a struct of type kind
// is made of. above is the path of the object itself. Objects that become empty go.
func setPath(tree map[string]any, kind reflect.Type, above, path string, value any) error {
	name, rest, deeper := strings.Cut(path, ".")
	if name == "" || deeper && rest == "" {
		return &apiError{http.StatusBadRequest, fmt.Sprintf("bad path %q: want names with dots between, such as cache.ttl", above+path), nil}
	}
	kind = fieldType(kind, name)
	if deeper && kind == ratesType { // one mapping stands for a list of one
		kind = ratesType.Elem()
	}
	switch {
	case !deeper && value == nil:
		delete(tree, name)
		return nil
	case !deeper:
		held, problem := typed(kind, value)
		if problem != nil {
			problem.Field = above + name
			return &apiError{http.StatusUnprocessableEntity, problem.Error(), routes.Problems{problem}}
		}
		tree[name] = held
		return nil
	}
	below, ok := tree[name].(map[string]any)
	if !ok {
		if tree[name] != nil || kind != nil && kind.Kind() != reflect.Struct && kind.Kind() != reflect.Map {
			problem := &routes.Problem{Field: above + name, Reason: "has no fields below it"}
			return &apiError{http.StatusUnprocessableEntity, problem.Error(), routes.Problems{problem}}
		}
		below = map[string]any{}
	}
	if err := setPath(below, kind, above+name+".", rest, value); err != nil {
		return err
	}
	if tree[name] = below; len(below) == 0 {
		delete(tree, name)
	}
	return nil
}

// fieldType returns the type of the field with that JSON name, or of a map's values, without pointer;
// nil if there is none, which the document's decoder will report.
func fieldType(t reflect.Type, name string) reflect.Type {
	if t != nil && t.Kind() == reflect.Map {
		return t.Elem()
	}
	if t == nil || t.Kind() != reflect.Struct {
		return nil
	}
	for _, field := range reflect.VisibleFields(t) {
		if tag, _, _ := strings.Cut(field.Tag.Get("json"), ","); tag == name && tag != "-" {
			if field.Type.Kind() == reflect.Pointer {
				return field.Type.Elem()
			}
			return field.Type
		}
	}
	return nil
}

// typed turns a string into what a field of type t holds, where it can; what it
// cannot turn is left for the document's decoder to refuse, but for lists.
func typed(t reflect.Type, value any) (any, *routes.Problem) {
	text, ok := value.(string)
	if !ok || t == nil {
		return value, nil
	}
	switch t.Kind() {
	case reflect.Bool:
		if text == "true" || text == "false" {
			return text == "true", nil
		}
	case reflect.Int:
		if n, err := strconv.Atoi(text); err == nil {
			return n, nil
		}
	case reflect.Struct, reflect.Map:
		if strings.HasPrefix(strings.TrimSpace(text), "{") { // else it is what some have in the place of a mapping, such as tls.hsts
			return typedMapping(text, `{"name": "value"}`)
		}
	case reflect.Slice:
		if t == ratesType && strings.HasPrefix(strings.TrimSpace(text), "{") {
			return typedMapping(text, `{"requests": 100, "per": "1s"}`)
		}
		return typedList(t.Elem(), strings.TrimSpace(text))
	}
	return value, nil
}

var ratesType = reflect.TypeFor[routes.Rates]()

// typedMapping reads a mapping, as JSON.
func typedMapping(text, example string) (any, *routes.Problem) {
	var one map[string]any
	if err := json.Unmarshal([]byte(text), &one); err != nil {
		return nil, &routes.Problem{Reason: fmt.Sprintf("want a mapping, written as JSON, such as %s: %v", example, err)}
	}
	return one, nil
}

// typedList reads a list: JSON, or words with commas between, which a list of
// mappings has not, except that a backend may be its URL.
func typedList(item reflect.Type, text string) (any, *routes.Problem) {
	example := `["a", "b"]`
	if item.Kind() == reflect.Struct {
		example = `[{"name": "value"}]`
	}
	switch item {
	case reflect.TypeFor[routes.Exclusion]():
		example = `[{"rules": [942100]}]`
	case ratesType.Elem():
		example = `[{"requests": 100, "per": "1s"}]`
	case reflect.TypeFor[routes.CacheRule]():
		example = `[{"paths": ["/static/*"], "ttl": "1h"}]`
	}
	wordless := item.Kind() == reflect.Struct && item != reflect.TypeFor[routes.Backend]()
	switch {
	case strings.HasPrefix(text, "["):
		var list []any
		if err := json.Unmarshal([]byte(text), &list); err != nil {
			return nil, &routes.Problem{Reason: fmt.Sprintf("want a list, written as JSON, such as %s: %v", example, err)}
		}
		return list, nil
	case strings.HasPrefix(text, "{"):
		return nil, &routes.Problem{Reason: "want a list, written as JSON, such as " + example + ", not a mapping"}
	case wordless:
		return nil, &routes.Problem{Reason: "want a list, written as JSON, such as " + example}
	}
	items := []any{}
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items, nil
}
