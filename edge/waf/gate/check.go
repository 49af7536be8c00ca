package gate

import (
	"strings"

	"github.com/corazawaf/coraza/v3/types/variables"
)

// A check is a link as one value decides it: what the value is made into, the operator's word on that, and the links of the
// chain that depend on that word. It is met if the operators of all say yes.
type check struct {
	rule  int // its place among the rules
	group int // which it satisfies
	link  *Link
	chain int // of transformations, in its side's list
	after []dependent
	// name, if its text is not empty, must come out as a variable that the rule looks at.
	name named
	// tenanted: the argument of an operator depends on the tenant's settings.
	tenanted bool
}

// A dependent is a later link that looks at nothing but what the links before it matched.
type dependent struct {
	link  *Link
	chain chain
	// What it looks at: the value of a set, if it is not empty; else a group of the pattern before it, if it is not negative;
	// else the value that matched.
	value   string
	capture int
}

// matched is what a dependent has that looks at the value itself.
const matched = -1

// A count is a link's target of which only the number of values matters.
type count struct {
	group  int
	rows   []uint32 // whose values it counts
	known  [16]bool // what the operator says of small numbers, unless it depends on the tenant
	link   *Link
	chain  chain
	target Target
	rule   int
}

// A fixed condition is a link's target among the variables that rules set, whose values are those of the
// tenant's settings.
type fixed struct {
	group  int
	link   *Link
	chain  chain
	target Target
}

// body are the variables that a request's body fills, or may. In phase 1 they have other values than in phase 2.
var bodyVariables = map[variables.RuleVariable]bool{
	variables.Args: true, variables.ArgsNames: true, variables.ArgsPost: true, variables.ArgsPostNames: true, variables.ArgsCombinedSize: true,
	variables.Files: true, variables.FilesNames: true, variables.FilesSizes: true, variables.FilesCombinedSize: true,
	variables.RequestBody: true, variables.RequestBodyLength: true, variables.ReqbodyError: true, variables.ReqbodyErrorMsg: true,
	variables.ReqbodyProcessor: true, variables.ReqbodyProcessorError: true, variables.ReqbodyProcessorErrorMsg: true,
	variables.MultipartStrictError: true, variables.MultipartPartHeaders: true, variables.MultipartFilename: true, variables.MultipartName: true,
	variables.XML: true, variables.RequestXML: true, variables.ArgumentsLimitReached: true, variables.InboundDataError: true,
	variables.MultipartDataAfter: true, variables.UrlencodedError: true, variables.FullRequestLength: true,
	variables.MultipartDuplicatePartHeader: true, variables.MultipartInvalidQuoting: true,
}

// otherVariables are the rest of those whose values the gate knows how to ask for. Of any other one
// it takes a link to be met.
var otherVariables = map[variables.RuleVariable]bool{
	variables.ArgsGet: true, variables.ArgsGetNames: true, variables.QueryString: true, variables.RemoteAddr: true, variables.RemotePort: true,
	variables.RequestBasename: true, variables.RequestFilename: true, variables.RequestLine: true, variables.RequestMethod: true,
	variables.RequestProtocol: true, variables.RequestURI: true, variables.RequestURIRaw: true, variables.URIParseError: true,
	variables.RequestCookies: true, variables.RequestCookiesNames: true, variables.RequestHeaders: true, variables.RequestHeadersNames: true,
	variables.ServerAddr: true, variables.ServerName: true, variables.ServerPort: true,
	variables.ResponseBody: true, variables.ResponseHeaders: true, variables.ResponseHeadersNames: true, variables.ResponseStatus: true,
	variables.ResponseProtocol: true, variables.ResponseContentLength: true, variables.ResponseContentType: true,
}

// answerVariables are those that an answer's body fills. In phase 3 they are empty.
var answerVariables = map[variables.RuleVariable]bool{variables.ResponseBody: true, variables.ResponseContentLength: true}

// known reports whether the gate can tell what a rule of that phase sees of a target.
func (t *Target) known(phase int, negated bool) bool {
	if bodyVariables[t.Variable] {
		// What is there in phase 1 is there in phase 2, too, but there may be more by then.
		return phase > 1 || !t.Count && !negated && isMany(t.Variable)
	}
	return otherVariables[t.Variable] && (phase != 3 || !answerVariables[t.Variable])
}

// isMany reports whether a variable of a body is a list of values, which a body only makes longer.
func isMany(v variables.RuleVariable) bool {
	switch v {
	case variables.Args, variables.ArgsNames, variables.ArgsPost, variables.ArgsPostNames, variables.Files, variables.FilesNames, variables.FilesSizes,
		variables.MultipartPartHeaders, variables.MultipartFilename, variables.MultipartName, variables.XML, variables.RequestXML:
		return true
	}
	return false
}

// looksAt reports whether a target is the value of a variable under a key in lower case.
func (t *Target) looksAt(v variables.RuleVariable, key string) bool {
	if t.Variable != v || t.Count {
		return false
	}
	switch {
	case t.Pattern != nil:
		if !t.Pattern.MatchString(key) {
			return false
		}
	case t.Key != "" && strings.ToLower(t.Key) != key:
		return false
	}
	return !t.excepts(key)
}

func (t *Target) excepts(key string) bool {
	for _, x := range t.Except {
		if x.Pattern != nil && x.Pattern.MatchString(key) || x.Pattern == nil && (x.Key == "" || x.Key == key) {
			return true
		}
	}
	return false
}

// mayLookAt reports whether a target may be a value of a variable under some key that no target names.
func (t *Target) mayLookAt(v variables.RuleVariable) bool {
	if t.Variable != v || t.Count || t.Pattern == nil && t.Key != "" {
		return false
	}
	for _, x := range t.Except {
		if x.Pattern == nil && x.Key == "" {
			return false
		}
	}
	return true
}
