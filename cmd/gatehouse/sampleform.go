package main

import (
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"net/textproto"
	"path/filepath"
	"strings"
)

// A formPart is one -F or --form-string.
type formPart struct {
	name, value string
	literal     bool // @, < and ; mean nothing in value
}

// A formFlag appends to parts.
type formFlag struct {
	parts   *[]formPart
	literal bool
}

func (f *formFlag) Set(text string) error {
	name, value, ok := strings.Cut(text, "=")
	if !ok || name == "" {
		return fmt.Errorf("want name=value")
	}
	*f.parts = append(*f.parts, formPart{name, value, f.literal})
	return nil
}
func (f *formFlag) String() string { return "" }
func (f *formFlag) Type() string   { return "stringArray" }

// multipartForm writes the parts as curl does.
func multipartForm(parts []formPart, stdin io.Reader) (body []byte, kind string, err error) {
	var text bytes.Buffer
	w := multipart.NewWriter(&text)
	for _, p := range parts {
		if err := p.write(w, stdin); err != nil {
			return nil, "", fmt.Errorf("form part %s: %w", p.name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, "", err
	}
	return text.Bytes(), w.FormDataContentType(), nil
}

func (p formPart) write(w *multipart.Writer, stdin io.Reader) error {
	value, file, kind := p.value, "", ""
	if !p.literal {
		value, file, kind = p.attributes()
		source, upload := strings.CutPrefix(value, "@")
		from, include := strings.CutPrefix(value, "<")
		if include {
			source = from
		}
		if upload || include {
			raw, err := readSource(source, stdin, maxSample)
			if err != nil {
				return err
			}
			value = string(raw)
		}
		if upload {
			if file == "" {
				file = filepath.Base(source)
			}
			if kind == "" {
				kind = typeOfFile(file)
			}
		}
	}
	return writePart(w, p.name, file, kind, value)
}

// attributes takes ";type=…" and ";filename=…" off the end of the value.
func (p formPart) attributes() (value, file, kind string) {
	value = p.value
	for {
		at := strings.LastIndexByte(value, ';')
		if at < 0 {
			break
		}
		name, text, _ := strings.Cut(strings.TrimSpace(value[at+1:]), "=")
		switch name {
		case "type":
			kind = text
		case "filename":
			file = strings.Trim(text, `"`)
		default:
			return value, file, kind // a semicolon of the value itself
		}
		value = value[:at]
	}
	return value, file, kind
}

// writePart writes one part of a form; file and kind may be empty.
func writePart(w *multipart.Writer, name, file, kind, value string) error {
	quote := strings.NewReplacer(`"`, "%22", "\r", "%0D", "\n", "%0A") // as browsers and curl do
	disposition := fmt.Sprintf(`form-data; name="%s"`, quote.Replace(name))
	if file != "" {
		disposition += fmt.Sprintf(`; filename="%s"`, quote.Replace(file))
	}
	head := textproto.MIMEHeader{"Content-Disposition": {disposition}}
	if kind != "" {
		head.Set("Content-Type", kind)
	}
	part, err := w.CreatePart(head)
	if err == nil {
		_, err = io.WriteString(part, value)
	}
	return err
}

// typeOfFile is what curl takes a file for.
func typeOfFile(name string) string {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".gif":
		return "image/gif"
	case ".jpg", ".jpeg":
		return "image/jpeg"
	case ".png":
		return "image/png"
	case ".svg":
		return "image/svg+xml"
	case ".txt":
		return "text/plain"
	case ".htm", ".html":
		return "text/html"
	case ".pdf":
		return "application/pdf"
	case ".xml":
		return "application/xml"
	}
	return "application/octet-stream"
}
