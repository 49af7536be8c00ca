package report

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"io"

	"gatehouse/loadtest"
)

//go:embed pages
var pages embed.FS

// A Named is a run with the name that it has in a report of several.
type Named struct {
	Name   string // whatever it holds is shown as text
	Result *loadtest.Result
}

// HTML writes one page about runs, the first of which the others are compared with.
// One run is the usual case. The page needs no other file and no network. The error
// says that there is nothing to draw, or is w's.
func HTML(w io.Writer, runs ...Named) error {
	if len(runs) == 0 {
		return errors.New("draw report: no run was given")
	}
	for _, n := range runs {
		if n.Result == nil {
			return fmt.Errorf("draw report: run %q has no result", n.Name)
		}
	}
	p := runPage{frame: newFrame("Load test"), Figures: figures(runs)}
	for i, n := range runs {
		p.Runs = append(p.Runs, newRunView(n, i, len(runs)))
	}
	if len(runs) > 1 {
		p.Compared = compared(runs)
	}
	p.Title = title(p.Runs)
	return write(w, "run.html", p)
}

// A frame is what every page has.
type frame struct {
	Title  string
	Style  template.CSS
	Script template.JS
	Policy string // Content-Security-Policy: this style and this script, and nothing from anywhere
}

func newFrame(title string) frame {
	style, script := asset("style.css"), asset("script.js")
	return frame{
		Title:  title,
		Style:  template.CSS(style), //nolint:gosec // our own file
		Script: template.JS(script), //nolint:gosec // our own file
		Policy: fmt.Sprintf("default-src 'none'; img-src data:; style-src '%s'; script-src '%s'", digest(style), digest(script)),
	}
}

func asset(name string) string {
	text, err := pages.ReadFile("pages/" + name)
	if err != nil {
		panic("report: " + err.Error()) // embedded: it is there or nothing was built
	}
	return string(text)
}

// digest is a text's in the form of CSP 3, section 2.3.1.
func digest(text string) string {
	h := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(h[:])
}

var templates = template.Must(template.ParseFS(pages, "pages/*.html"))

// write renders a whole page before the first octet leaves: a file is complete or empty.
func write(w io.Writer, name string, data any) error {
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, name, data); err != nil {
		return fmt.Errorf("draw report: %w", err)
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}
