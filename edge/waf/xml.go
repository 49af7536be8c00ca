// Derived from internal/bodyprocessors/xml.go of OWASP Coraza v3.8.1,
// Copyright 2022 Juan Pablo Tosso and the OWASP Coraza contributors,
// licensed under the Apache License, Version 2.0 (https://www.apache.org/licenses/LICENSE-2.0).
// Changed: declarations that XML parsers read in different ways are an error; what an unfinished tag or text
// holds is read; split into functions.

package waf

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"

	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
)

// xmlName is what our processor is called, see registerParser.
const xmlName = "gatehouse-xml"

func init() { registerParser(xmlName, xmlProcessor{}) }

var errXMLSection = errors.New("XML: a CDATA section that does not end")

// errXMLDeclaration means that encoding/xml may see another end of a declaration than a backend's parser:
// it takes a quote in a processing instruction there for the start of a text, in which the whole
// document may vanish.
var errXMLDeclaration = errors.New("XML: a declaration that does not end, or has a processing instruction in it")

// xmlProcessor reads XML into the engine's variables, just as the engine's own does, except for
// declarations (errXMLDeclaration) and what is unfinished at the end.
type xmlProcessor struct{ requestsOnly }

// ProcessRequest is called once per request with such a body, before phase 2.
func (xmlProcessor) ProcessRequest(
	body io.Reader, v plugintypes.TransactionVariables, _ plugintypes.BodyProcessorOptions,
) error {
	setSingle(v.RequestBodyProcessor(), "XML") // the name that rules know
	raw, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	attributes, contents, end, err := xmlTexts(raw)
	switch {
	case err != nil:
		return err
	case isDeclaration(raw[end:]):
		return errXMLDeclaration
	case end < len(raw): // nobody has cut it here, and a lenient backend may read what there is
		if attributes, contents, _, err = xmlTexts(mendXML(raw)); err != nil {
			return err
		}
	}
	v.RequestXML().Set("//@*", attributes)
	v.RequestXML().Set("/*", contents)
	return nil
}

// xmlTexts returns the values of attributes and the texts of XML, and where the last whole token of it ends.
func xmlTexts(raw []byte) (attributes, contents []string, end int, err error) {
	end, err = readXML(raw, func(token xml.Token) {
		switch token := token.(type) {
		case xml.StartElement:
			for _, attribute := range token.Attr {
				attributes = append(attributes, attribute.Value)
			}
		case xml.CharData:
			if text := strings.TrimSpace(string(token)); text != "" {
				contents = append(contents, text)
			}
		}
	})
	return attributes, contents, end, err
}

// readXML calls visit with each token, and returns where the last of them ended. That the body
// ends within one is no error, except in a CDATA section (errXMLSection).
func readXML(body []byte, visit func(xml.Token)) (end int, err error) {
	decoder := xml.NewDecoder(bytes.NewReader(body))
	decoder.Strict = false
	decoder.AutoClose = xml.HTMLAutoClose
	decoder.Entity = xml.HTMLEntity
	for {
		token, err := decoder.Token()
		if syntax, ok := errors.AsType[*xml.SyntaxError](err); err == io.EOF || ok && syntax.Msg == "unexpected EOF" {
			err = nil
		} else if ok && syntax.Msg == "unexpected EOF in CDATA section" {
			err = errXMLSection
		}
		if err != nil || token == nil {
			return end, err
		}
		if declaration, ok := token.(xml.Directive); ok && bytes.Contains(declaration, []byte("<?")) {
			return end, errXMLDeclaration
		}
		visit(token)
		end = int(decoder.InputOffset())
	}
}

// isDeclaration reports whether markup begins with a declaration, not a comment.
func isDeclaration(markup []byte) bool {
	return len(markup) > 2 && markup[0] == '<' && markup[1] == '!' && markup[2] != '-' && markup[2] != '['
}
