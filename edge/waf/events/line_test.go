package events

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"reflect"
	"testing"
)

// byJSON is what encoding/json makes of an event, HTML left as it is.
func byJSON(t testing.TB, e *Event) []byte {
	t.Helper()
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestLineIsWhatEncodingJSONWrites(t *testing.T) {
	whole := refused("shop", 1)
	whole.Client = netip.MustParseAddr("2001:db8::1")
	whole.RefusedBy = 942100
	whole.Cut, whole.LeftOut, whole.Node = true, 12, "n1"
	whole.Rules = append(whole.Rules, Rule{ID: 920300}, Rule{ID: 1, Tags: []string{}, Score: -1, Partial: true})
	for name, e := range map[string]*Event{"whole": whole, "empty": {Rules: []Rule{}}, "a sample": matched("", 3)} {
		if got, want := string(appendLine(nil, e)), string(byJSON(t, e)); got != want {
			t.Errorf("%s: got\n%swant\n%s", name, got, want)
		}
	}
}

// Whatever a client writes, a line is one line, and reads as encoding/json's does.
func FuzzLine(f *testing.F) {
	for _, s := range []string{"", `a"b\c`, "\x00\x1f\x7f\n\r\t", "\xff\xc3", "é€😀", "\u2028\u2029", "<script>&", "\ufffd", "\xed\xa0\x80"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, path, data string) {
		e := refused("shop", 1)
		e.Path, e.Rules[0].Data = path, data
		line := appendLine(nil, e)
		if bytes.IndexByte(line, '\n') != len(line)-1 || bytes.ContainsAny(line, "\u2028\u2029") {
			t.Fatalf("not one line: %q", line)
		}
		got, want := &Event{}, &Event{}
		if err := json.Unmarshal(line, got); err != nil {
			t.Fatalf("%v: %q", err, line)
		}
		if err := json.Unmarshal(byJSON(t, e), want); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}
