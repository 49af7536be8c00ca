package waf

import (
	"io"

	"github.com/corazawaf/coraza/v3/experimental/plugins"
	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
)

// Our parsers of request bodies stand in the engine's registry, which is one for the process, beside
// its own ones and under other names, so that the originals stay there for tests to compare with.

// registerParser enters one.
func registerParser(name string, p plugintypes.BodyProcessor) {
	plugins.RegisterBodyProcessor(name, func() plugintypes.BodyProcessor { return p })
}

// parserOf is the name of the parser for a body of that REQBODY_PROCESSOR: a body of unknown type is read
// like a form (901340), no value of a form is lost, and no upload is written to a file.
func parserOf(kind string) string {
	switch kind {
	case "", "URLENCODED":
		return urlencodedName
	case "MULTIPART":
		return multipartName
	case "XML":
		return xmlName
	}
	return kind
}

// requestsOnly is what a parser has in it that reads no responses.
type requestsOnly struct{}

// ProcessResponse does nothing.
func (requestsOnly) ProcessResponse(
	io.Reader, plugintypes.TransactionVariables, plugintypes.BodyProcessorOptions,
) error {
	return nil
}
