package routes

import (
	"strings"
	"testing"
)

// Without its Location, or with another, a redirect leads nowhere, or where redirect.to does not say.
func TestLocationOfARedirectIsNotForHeadersToEdit(t *testing.T) {
	t.Parallel()
	for edits, refused := range map[string]string{
		"remove: [X-A, location]":             "headers.response.remove[1]",
		"set: {Location: 'https://b.test/x'}": "headers.response.set.Location",
		"add: {Location: 'https://b.test/x'}": "headers.response.add.Location",
		"remove: [Content-Location]":          "",
	} {
		for _, answer := range []string{"redirect: {to: 'https://b.test'}", "backends: [http://127.0.0.1:9000]"} {
			docs, problems := ParseFile("a.yaml", []byte("vhosts:\n  a.test: {"+answer+", headers: {response: {"+edits+"}}}\n"))
			if err := problems.Err(); err != nil {
				t.Fatal(err)
			}
			wrong := refused != "" && strings.HasPrefix(answer, "redirect")
			if got := docs[0].Problems; len(got) > 0 != wrong || wrong && (len(got) != 1 || got[0].Field != refused) {
				t.Errorf("%s, %s: %v", answer, edits, got)
			}
		}
	}
}
