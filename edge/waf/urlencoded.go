package waf

import (
	"io"
	"strconv"
	"strings"

	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
)

// urlencodedName is what our processor of forms is called, see registerParser. The engine's own
// (v3.8.1) sets the values of each spelling of a name in turn, and its names have no case: of "id=1&ID=2"
// the rules see one value, by chance.
const urlencodedName = "gatehouse-urlencoded"

func init() { registerParser(urlencodedName, urlencodedProcessor{}) }

// urlencodedProcessor reads application/x-www-form-urlencoded into the engine's variables, just as the
// engine's own does, except that it loses no value.
type urlencodedProcessor struct{ requestsOnly }

// ProcessRequest is called once per request with such a body, before phase 2. Arguments beyond the limit
// are left out, which rule 200005 refuses.
func (urlencodedProcessor) ProcessRequest(
	body io.Reader, v plugintypes.TransactionVariables, options plugintypes.BodyProcessorOptions,
) error {
	setSingle(v.RequestBodyProcessor(), "URLENCODED") // the name that rules know
	raw, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	text := string(raw)
	list, whole := pairs(text, options.ArgumentLimit)
	for _, f := range list {
		v.ArgsPost().Add(f.name, f.value)
	}
	if !whole {
		setSingle(v.ArgumentsLimitReached(), "1")
	}
	setSingle(v.RequestBody(), text)
	setSingle(v.RequestBodyLength(), strconv.Itoa(len(text)))
	return nil
}

// pairs reads a query or a form, up to a limit of arguments; 0: without. Not whole: there are more.
func pairs(text string, limit int) (out []field, whole bool) {
	for text != "" {
		var pair string
		if pair, text, _ = strings.Cut(text, "&"); pair == "" {
			continue
		}
		if limit > 0 && len(out) == limit {
			return out, false
		}
		if out == nil {
			out = make([]field, 0, min(2+strings.Count(text, "&"), argumentsLimit))
		}
		name, value, _ := strings.Cut(pair, "=")
		out = append(out, field{formUnescape(name), formUnescape(value)})
	}
	return out, true
}

// formUnescape decodes a name or value of a form. What is no escape stays as it is, where
// url.QueryUnescape would fail: backends differ, and rules look at what is left.
func formUnescape(s string) string {
	if !strings.ContainsAny(s, "+%") {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '+':
			out = append(out, ' ')
		case s[i] == '%' && i+2 < len(s) && unhex(s[i+1]) >= 0 && unhex(s[i+2]) >= 0:
			out = append(out, byte(unhex(s[i+1])<<4|unhex(s[i+2])))
			i += 2
		default:
			out = append(out, s[i])
		}
	}
	return string(out)
}
