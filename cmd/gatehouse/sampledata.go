package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
)

// maxSample bounds the body of a request that is tried, and each file that is read for it.
const maxSample = 16 << 20

// How a datum becomes a part of the body, as curl's flags say.
const (
	asForm    = iota // -d: @FILE without its line ends
	asItIs           // --data-raw
	asBinary         // --data-binary: @FILE as it is
	asEscaped        // --data-urlencode
)

// A datum is what one of curl's data flags was given.
type datum struct {
	kind int
	text string
}

// A dataFlag appends to data, which keeps the order of all data flags.
type dataFlag struct {
	data *[]datum
	kind int
}

func (f *dataFlag) Set(text string) error {
	*f.data = append(*f.data, datum{f.kind, text})
	return nil
}
func (f *dataFlag) String() string { return "" }
func (f *dataFlag) Type() string   { return "stringArray" }

// body returns the body and its type; nil: none was given.
func (r *sampleRequest) body(stdin io.Reader) (body []byte, kind string, err error) {
	switch {
	case len(r.forms) > 0:
		body, kind, err = multipartForm(r.forms, stdin)
	case len(r.json) > 0:
		var text strings.Builder
		for _, j := range r.json {
			part, err := dataOf(j, stdin)
			if err != nil {
				return nil, "", err
			}
			text.WriteString(part)
		}
		body, kind = []byte(text.String()), "application/json"
	case len(r.data) > 0:
		body, err = r.joined(stdin)
		kind = "application/x-www-form-urlencoded"
	}
	if err == nil && len(body) > maxSample {
		err = fmt.Errorf("the body has %d bytes: at most 16 MiB are tried", len(body))
	}
	return body, kind, err
}

// joined joins the data flags with &, as curl does.
func (r *sampleRequest) joined(stdin io.Reader) ([]byte, error) {
	parts := make([]string, 0, len(r.data))
	for _, d := range r.data {
		text, err := d.text, error(nil)
		switch d.kind {
		case asForm:
			if text, err = dataOf(d.text, stdin); strings.HasPrefix(d.text, "@") {
				text = strings.NewReplacer("\r", "", "\n", "", "\x00", "").Replace(text)
			}
		case asBinary:
			text, err = dataOf(d.text, stdin)
		case asEscaped:
			text, err = escaped(d.text, stdin)
		}
		if err != nil {
			return nil, err
		}
		parts = append(parts, text)
	}
	return []byte(strings.Join(parts, "&")), nil
}

// escaped reads "value", "=value", "name=value", "@FILE" or "name@FILE".
func escaped(text string, stdin io.Reader) (string, error) {
	at := strings.IndexAny(text, "=@")
	if at < 0 {
		return url.QueryEscape(text), nil
	}
	name, value := text[:at], text[at+1:]
	if text[at] == '@' {
		var err error
		if value, err = dataOf(text[at:], stdin); err != nil {
			return "", err
		}
	}
	if name == "" {
		return url.QueryEscape(value), nil
	}
	return name + "=" + url.QueryEscape(value), nil
}

// dataOf reads what @FILE or @- names.
func dataOf(text string, stdin io.Reader) (string, error) {
	name, isFile := strings.CutPrefix(text, "@")
	if !isFile {
		return text, nil
	}
	raw, err := readSource(name, stdin, maxSample)
	if err != nil {
		return "", fmt.Errorf("read the data: %w", err)
	}
	return string(raw), nil
}

// readSource reads a file, or standard input for "-", of at most so many bytes.
func readSource(name string, stdin io.Reader, most int64) ([]byte, error) {
	in, place := stdin, "standard input"
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		in, place = file, name
	}
	raw, err := io.ReadAll(io.LimitReader(in, most+1))
	if err == nil && int64(len(raw)) > most {
		err = errors.New("larger than " + sizeWords(most))
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", place, err)
	}
	return raw, nil
}

func sizeWords(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }
