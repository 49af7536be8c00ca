package main

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"gatehouse/routes"
)

// A setting is one value of Config: a path such as "listen.https", which is also
// its flag (--listen.https) and, in capitals, its environment variable
// (GATEHOUSE_LISTEN_HTTPS).
type setting struct {
	path string
	help string
	kind reflect.Type
}

// env returns the name of the environment variable.
func (s setting) env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(s.path, ".", "_"))
}

// later reports whether no value of the setting acts in this version.
func (s setting) later() bool {
	return strings.Contains(s.help, routes.ErrNotSupportedYet.Error())
}

const envPrefix = "GATEHOUSE_"

var textType = reflect.TypeFor[encoding.TextUnmarshaler]()

// tenantsAlone is what documents of tenants have and their defaults have not: nobody means all sites of nobody.
const tenantsAlone = "defaults.suspended"

// settings are all values of Config, in the order of the struct.
var settings = settingsOf(reflect.TypeFor[Config](), "")

func settingsOf(t reflect.Type, above string) []setting {
	var out []setting
	for _, f := range reflect.VisibleFields(t) {
		name := jsonName(f)
		if name == "" {
			continue
		}
		kind := f.Type
		if kind.Kind() == reflect.Pointer {
			kind = kind.Elem()
		}
		path := above + name
		if path == tenantsAlone {
			continue
		}
		if kind.Kind() == reflect.Struct && !reflect.PointerTo(kind).Implements(textType) {
			out = append(out, settingsOf(kind, path+".")...)
			continue
		}
		help := f.Tag.Get("help")
		if field, ok := strings.CutPrefix(path, "defaults."); ok {
			help = field + " of vhosts without a tenant document"
		}
		out = append(out, setting{path: path, help: help, kind: kind})
	}
	return out
}

// jsonName returns the name of a field in documents; "": it has none.
func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	if name == "-" {
		return ""
	}
	return name
}

// assign sets the value at path from text, as the environment and flags hold it:
// lists are separated by commas.
func (c *Config) assign(path, text string) error {
	v := reflect.ValueOf(c).Elem()
	for name := range strings.SplitSeq(path, ".") {
		if v = through(v); v.Kind() != reflect.Struct {
			return fmt.Errorf("unknown setting %q", path)
		}
		if v = fieldNamed(v, name); !v.IsValid() {
			return fmt.Errorf("unknown setting %q", path)
		}
	}
	return fromText(v, text)
}

// through follows a pointer, and makes what it should point to.
func through(v reflect.Value) reflect.Value {
	if v.Kind() != reflect.Pointer {
		return v
	}
	if v.IsNil() {
		v.Set(reflect.New(v.Type().Elem()))
	}
	return v.Elem()
}

func fieldNamed(v reflect.Value, name string) reflect.Value {
	for i := range v.NumField() {
		if jsonName(v.Type().Field(i)) == name {
			return v.Field(i)
		}
	}
	return reflect.Value{}
}

func fromText(v reflect.Value, text string) error {
	v = through(v)
	if u, ok := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr()); ok {
		return u.UnmarshalText([]byte(text))
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		if text != "true" && text != "false" {
			return fmt.Errorf("want true or false, not %q", text)
		}
		v.SetBool(text == "true")
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fmt.Errorf("want a whole number, not %q", text)
		}
		v.SetInt(n)
	case reflect.Slice:
		if kind := v.Type().Elem(); kind.Kind() == reflect.Struct && !reflect.PointerTo(kind).Implements(textType) {
			return mappingsFromText(v, text)
		}
		return listFromText(v, text)
	default:
		return errors.New("cannot be set this way")
	}
	return nil
}

func listFromText(v reflect.Value, text string) error {
	items := splitList(text)
	out := reflect.MakeSlice(v.Type(), len(items), len(items))
	for i, item := range items {
		if err := fromText(out.Index(i), item); err != nil {
			return err
		}
	}
	v.Set(out)
	return nil
}

// mappingsFromText reads a list of mappings, which is written as in a document.
func mappingsFromText(v reflect.Value, text string) error {
	d, err := routes.NewDecoder("", []byte("list: "+text))
	if err != nil {
		return errors.New(`want a list of mappings, such as [{"rules": [942100]}]`)
	}
	fresh := reflect.New(reflect.StructOf([]reflect.StructField{{Name: "List", Type: v.Type(), Tag: `json:"list"`}}))
	d.Decode(fresh.Interface())
	if problems := d.Problems(); len(problems) > 0 {
		p := problems[0]
		return fmt.Errorf("%s: %s", strings.TrimPrefix(p.Field, "list"), p.Reason)
	}
	v.Set(fresh.Elem().Field(0))
	return nil
}

// splitList reads "a, b,c"; empty items are left out.
func splitList(text string) []string {
	items := strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == '\n' })
	for i := range items {
		items[i] = strings.TrimSpace(items[i])
	}
	return slices.DeleteFunc(items, func(s string) bool { return s == "" })
}

// text returns the value at path as a flag would take it.
func (c *Config) text(path string) string {
	v := reflect.ValueOf(c).Elem()
	for name := range strings.SplitSeq(path, ".") {
		if v.Kind() == reflect.Pointer {
			v = v.Elem()
		}
		if !v.IsValid() {
			return ""
		}
		v = fieldNamed(v, name)
	}
	switch {
	case !v.IsValid() || v.IsZero():
		return ""
	case v.Kind() == reflect.Pointer:
		return fmt.Sprint(v.Elem().Interface())
	case v.Kind() == reflect.Slice:
		return strings.Trim(strings.ReplaceAll(fmt.Sprint(v.Interface()), " ", ","), "[]")
	}
	return fmt.Sprint(v.Interface())
}
