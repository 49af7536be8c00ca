// Derived from internal/bodyprocessors/multipart.go of OWASP Coraza v3.8.1,
// Copyright 2022 Juan Pablo Tosso and the OWASP Coraza contributors,
// licensed under the Apache License, Version 2.0 (https://www.apache.org/licenses/LICENSE-2.0).
// Changed: uploaded files are counted instead of written to disk; parts have a limit; the content of a file that
// a backend may take for a field is an argument, too; split into functions.

package waf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"strconv"
	"strings"

	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
)

// multipartName is what our processor is called, see registerParser.
const multipartName = "gatehouse-multipart"

func init() { registerParser(multipartName, multipartProcessor{}) }

// multipartProcessor reads multipart/form-data (RFC 7578) into the engine's variables, just as the
// engine's own does, except that it never makes a file, since the CRS has no rule that opens one, and that
// the content of what may be a field is an argument (disposition.maybeField).
type multipartProcessor struct{ requestsOnly }

// ProcessRequest is called once per request with such a body, before phase 2.
func (multipartProcessor) ProcessRequest(
	body io.Reader, v plugintypes.TransactionVariables, options plugintypes.BodyProcessorOptions,
) error {
	setSingle(v.RequestBodyProcessor(), "MULTIPART") // the name that rules know
	mediaType, params, err := mime.ParseMediaType(options.Mime)
	if err != nil {
		setSingle(v.MultipartStrictError(), "1")
		return err
	}
	if !strings.HasPrefix(mediaType, "multipart/") {
		return errors.New("not a multipart body")
	}
	form := multipartForm{variables: v}
	parts := multipart.NewReader(body, params["boundary"])
	for n := 0; ; n++ {
		part, err := parts.NextPart()
		if err == io.EOF { // not wrapped: the last boundary was seen
			return nil
		}
		if err != nil {
			setSingle(v.MultipartStrictError(), "1")
			return err
		}
		if options.ArgumentLimit > 0 && n >= options.ArgumentLimit { // the engine's own has no limit, and a field is as dear as any argument
			setSingle(v.ArgumentsLimitReached(), "1")
			return nil
		}
		if more, err := form.add(part); err != nil || !more {
			return err
		}
	}
}

// multipartForm is one body being read.
type multipartForm struct {
	variables plugintypes.TransactionVariables
	size      int64 // of all parts so far
}

// add puts one part into the variables. It returns false if the body ended within the part.
func (f *multipartForm) add(part *multipart.Part) (more bool, err error) {
	v := f.variables
	name := part.FormName()
	duplicateHeader := false
	for key, values := range part.Header {
		duplicateHeader = duplicateHeader || len(values) > 1
		for _, value := range values {
			v.MultipartPartHeaders().Add(name, fmt.Sprintf("%s: %s", key, value))
		}
	}
	d := dispositionOf(part.Header.Get("Content-Disposition"))
	if duplicateHeader || d.duplicateParam {
		setSingle(v.MultipartDuplicatePartHeader(), "1")
	}
	if d.invalidQuoting {
		setSingle(v.MultipartInvalidQuoting(), "1")
	}
	if duplicateHeader || d.duplicateParam || d.malformed || d.invalidQuoting {
		setSingle(v.MultipartStrictError(), "1")
	}
	// Add and not Set, everywhere: parts of one name must not hide each other (GHSA-5pww-8rfg-9crf).
	v.MultipartName().Add(name, name)
	if d.filename != "" {
		v.MultipartFilename().Add(name, d.filename)
	}
	if d.altFilename != "" {
		v.MultipartFilename().Add(name, d.altFilename)
	}
	if d.hasExtended {
		v.MultipartFilenameCharset().Add(name, d.charset)
		v.MultipartFilenameLanguage().Add(name, d.language)
	}
	// An extended name that decodes to nothing does not make a field of a file (GHSA-3wr7-993q-jrff).
	filename := d.filename
	if filename == "" {
		filename = d.altFilename
	}
	if filename != "" && !d.maybeField {
		return f.addFile(part, name, filename, d.altFilename)
	}
	if filename != "" {
		content := &bytes.Buffer{}
		more, err = f.addFile(io.TeeReader(part, content), name, filename, d.altFilename)
		v.ArgsPost().Add(name, content.String())
		return more, err
	}
	return f.addField(part, name)
}

func (f *multipartForm) addFile(part io.Reader, name, filename, alt string) (more bool, err error) {
	v := f.variables
	size, err := io.Copy(io.Discard, part)
	more, err = f.check(err)
	if err != nil {
		return false, err
	}
	f.size += size
	v.Files().Add("", filename)
	v.FilesSizes().SetIndex(filename, 0, strconv.FormatInt(size, 10))
	if alt != "" && alt != filename { // the name that another kind of backend would take
		v.Files().Add("", alt)
		v.FilesSizes().SetIndex(alt, 0, strconv.FormatInt(size, 10))
	}
	v.FilesNames().Add("", name)
	setSingle(v.FilesCombinedSize(), strconv.FormatInt(f.size, 10))
	return more, nil
}

func (f *multipartForm) addField(part io.Reader, name string) (more bool, err error) {
	data, err := io.ReadAll(part)
	more, err = f.check(err)
	if err != nil {
		return false, err
	}
	f.size += int64(len(data))
	f.variables.ArgsPost().Add(name, string(data))
	setSingle(f.variables.FilesCombinedSize(), strconv.FormatInt(f.size, 10))
	return more, nil
}

// check marks a part that does not end well. What was read of a part at whose end the body is over
// is still inspected.
func (f *multipartForm) check(err error) (more bool, _ error) {
	if err == nil {
		return true, nil
	}
	setSingle(f.variables.MultipartStrictError(), "1")
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return false, nil
	}
	return false, err
}
