package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestLuaQuote(t *testing.T) {
	for text, want := range map[string]string{
		`plain`:       `"plain"`,
		`a "b" \ c`:   `"a \"b\" \\ c"`,
		"line\nbreak": `"line\010break"`,
		"ü\x00":       `"\195\188\000"`,
	} {
		if got := luaQuote(text); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}

// TestScripts: what repeats is sent as it is, what is unique has a place for a number
// in the path, in the body of a POST, and in a cookie.
func TestScripts(t *testing.T) {
	for _, s := range allScenarios {
		if s.kind != byWrk {
			continue
		}
		text := script(s, 7)
		if s.unique != strings.Contains(text, "function request()") || s.unique != strings.Contains(text, "local number = 7\n") {
			t.Errorf("%s: unique is %v, and the script is\n%s", s.name, s.unique, text)
		}
		places := strings.Count(s.path+s.body+s.fields["Cookie"], "@")
		if s.unique && places < 2 || !s.unique && places > 0 {
			t.Errorf("%s has %d places for a number", s.name, places)
		}
		if s.body != "" && !strings.Contains(text, `wrk.method = "POST"`) {
			t.Errorf("%s sends its body by\n%s", s.name, text)
		}
		if (s.status == http.StatusForbidden) != strings.Contains(text, "status ~= 403") {
			t.Errorf("%s looks at statuses with\n%s", s.name, text)
		}
	}
	if n := len(jsonBody()); n < 1900 || n > 2200 {
		t.Errorf("the JSON body has %d bytes, want about 2 KB", n)
	}
}

// TestUniqueRequestsAreUnique runs the scripts in wrk, where it is installed, and looks
// at what arrives.
func TestUniqueRequestsAreUnique(t *testing.T) {
	if _, err := exec.LookPath("wrk"); err != nil {
		t.Skip("wrk is not installed")
	}
	// Each load has a server of its own, closed before anyone looks: the last requests of
	// one load reach its handlers after wrk has left.
	load := func(text string) (tally, map[string]int, int) {
		var lock sync.Mutex
		seen, total := map[string]int{}, 0
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return // the load's end
			}
			lock.Lock()
			defer lock.Unlock()
			total++
			for _, value := range []string{r.Host, r.Method, r.RequestURI, string(body), r.Header.Get("Cookie")} {
				seen[value]++
			}
		}))
		defer server.Close()
		file := filepath.Join(t.TempDir(), "load.lua")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		output, err := exec.CommandContext(t.Context(), "wrk", "-t1", "-c2", "-d1s", "-s", file, server.URL).CombinedOutput()
		if err != nil {
			t.Fatalf("wrk: %v: %s", err, output)
		}
		got, err := parseTally(string(output))
		if err != nil || got.requests == 0 {
			t.Fatalf("%+v, %v", got, err)
		}
		server.Close()
		return got, seen, total
	}
	for _, s := range inspected() {
		if !s.unique || s.status != http.StatusOK {
			continue
		}
		_, seen, total := load(script(s, 40))
		if seen[s.host] != total || seen[s.method()] != total {
			t.Errorf("%s: of %d requests %d had the Host and %d the method", s.name, total, seen[s.host], seen[s.method()])
		}
		// wrk makes one request in advance, to see what a request is, and sends it to nobody.
		for _, part := range []string{s.path, s.body, s.fields["Cookie"]} {
			first := strings.ReplaceAll(part, "@", "42")
			if n := seen[first]; first != part && n != 1 {
				t.Errorf("%s: %s came %d times", s.name, first, n)
			}
		}
		for value, n := range seen {
			if n > 1 && n < total {
				t.Errorf("%s: %s came %d times", s.name, value, n)
			}
		}
	}
	got, seen, _ := load(flatScript("/pass/1k", 3, 5, 2))
	for i := range 5 {
		if n, each := seen[fmt.Sprintf("/pass/1k?page=%05d", i)], int(got.requests)/5; n < each-1 {
			t.Errorf("page %d came %d times, want %d", i, n, each)
		}
	}
	if len(seen) != 5+3+1+1 { // paths, hosts, the method; no body and no cookie are the same
		t.Errorf("got %v", seen)
	}
}
