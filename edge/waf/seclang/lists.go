package seclang

import (
	"maps"
	"slices"
	"strings"
)

// variableKind says what may follow a variable's name.
type variableKind uint8

const (
	single      variableKind = iota
	collection               // has keys
	xmlVariable              // has two forms of its own
)

// variableKinds are the variables that a rule may look at: what the request says, what the engine has
// made of it, and the rule's own notes (TX, which no other ruleset sees).
var variableKinds = map[string]variableKind{
	"ARGS": collection, "ARGS_GET": collection, "ARGS_POST": collection, "ARGS_COMBINED_SIZE": single,
	"ARGS_NAMES": collection, "ARGS_GET_NAMES": collection, "ARGS_POST_NAMES": collection,
	"QUERY_STRING": single, "REMOTE_ADDR": single, "REMOTE_PORT": single,
	"REQUEST_BASENAME": single, "REQUEST_BODY": single, "REQUEST_BODY_LENGTH": single,
	"REQUEST_COOKIES": collection, "REQUEST_COOKIES_NAMES": collection,
	"REQUEST_FILENAME": single, "REQUEST_HEADERS": collection, "REQUEST_HEADERS_NAMES": collection,
	"REQUEST_LINE": single, "REQUEST_METHOD": single, "REQUEST_PROTOCOL": single,
	"REQUEST_URI": single, "REQUEST_URI_RAW": single,
	"SERVER_ADDR": single, "SERVER_NAME": single, "SERVER_PORT": single,
	"FILES": collection, "FILES_NAMES": collection, "FILES_SIZES": collection, "FILES_COMBINED_SIZE": single,
	"MULTIPART_FILENAME": collection, "MULTIPART_NAME": collection, "MULTIPART_PART_HEADERS": collection,
	"MULTIPART_STRICT_ERROR": single, "REQBODY_ERROR": single, "REQBODY_PROCESSOR": single,
	"XML": xmlVariable, "TX": collection,
	"MATCHED_VAR": single, "MATCHED_VAR_NAME": single, "MATCHED_VARS": collection, "MATCHED_VARS_NAMES": collection,
	"TIME_DAY": single, "TIME_HOUR": single, "TIME_MIN": single, "TIME_MON": single, "TIME_WDAY": single, "TIME_YEAR": single,
}

var variableNames = slices.Sorted(maps.Keys(variableKinds))

// variableReasons say more of variables that people will try.
var variableReasons = map[string]string{
	"ENV": "it holds what belongs to the process", "RESPONSE_BODY": onRequests, "RESPONSE_HEADERS": onRequests,
	"RESPONSE_STATUS": onRequests, "RESPONSE_ARGS": onRequests, "GEO": "there is no database of places here",
	"JSON": "the values of a JSON body are in ARGS, as json.name", "IP": lasting, "SESSION": lasting, "GLOBAL": lasting,
	"FILES_TMPNAMES": noFiles, "FILES_TMP_CONTENT": noFiles, "RULE": "it tells of the rule itself",
	"REMOTE_HOST": "names of clients are not looked up, REMOTE_ADDR is the address",
}

const (
	onRequests = "own rules look at requests"
	lasting    = "nothing is remembered from one request to the next"
	noFiles    = "uploads are not written to files"
)

// argument says what follows an operator's name.
type argument uint8

const (
	argumentNone argument = iota
	argumentPattern
	argumentWords
	argumentText
	argumentNumber
	argumentAddresses
	argumentBytes
)

type operatorKind struct {
	name     string // as the engine writes it
	argument argument
	steps    int // per byte, for all but @rx
}

// operatorKinds are the operators by their names in small letters. None reads anything but its argument
// and the value.
var operatorKinds = byName(
	operatorKind{"rx", argumentPattern, 0},
	operatorKind{"pm", argumentWords, 4},
	operatorKind{"contains", argumentText, 1},
	operatorKind{"streq", argumentText, 1},
	operatorKind{"beginsWith", argumentText, 1},
	operatorKind{"endsWith", argumentText, 1},
	operatorKind{"within", argumentText, 8},
	operatorKind{"eq", argumentNumber, 1},
	operatorKind{"ge", argumentNumber, 1},
	operatorKind{"gt", argumentNumber, 1},
	operatorKind{"le", argumentNumber, 1},
	operatorKind{"lt", argumentNumber, 1},
	operatorKind{"ipMatch", argumentAddresses, 8},
	operatorKind{"detectSQLi", argumentNone, 100},
	operatorKind{"detectXSS", argumentNone, 100},
	operatorKind{"validateByteRange", argumentBytes, 1},
	operatorKind{"validateUrlEncoding", argumentNone, 1},
	operatorKind{"validateUtf8Encoding", argumentNone, 1},
)

func byName(kinds ...operatorKind) map[string]operatorKind {
	out := map[string]operatorKind{}
	for _, k := range kinds {
		out[strings.ToLower(k.name)] = k
	}
	return out
}

func operatorNames() []string {
	var out []string
	for _, k := range operatorKinds {
		out = append(out, k.name)
	}
	slices.Sort(out)
	return out
}

var operatorReasons = map[string]string{
	"inspectfile": "it runs a program", "pmfromfile": readsFiles, "pmf": readsFiles, "ipmatchfromfile": readsFiles,
	"ipmatchf": readsFiles, "validateschema": readsFiles, "validatedtd": readsFiles, "fuzzyhash": readsFiles,
	"validatenid": "write the number's form with @rx", "strmatch": "@contains is the same", "unconditionalmatch": "use SecAction",
	"nomatch": "it does nothing", "containsword": `write @rx \bword\b`,
	"rbl": "it asks name servers", "gsblookup": "it asks a service", "geolookup": "there is no database of places here",
	"pmfromdataset": noDatasets, "ipmatchfromdataset": noDatasets, "rsub": "nothing is changed in a request",
}

const (
	readsFiles = "it reads a file"
	noDatasets = "there are no data sets here: list the words in the rule"
)

// directiveReasons say more of directives that people, or attackers, will try.
var directiveReasons = map[string]string{
	"include": "it reads a file", "secdebuglog": "it writes a file", "secauditlog": "it writes a file",
	"secauditlogstoragedir": "it writes files", "secdatadir": "it writes files", "sectmpdir": "it writes files",
	"secuploaddir": "it writes files", "secremoterules": "it fetches rules from the network",
	"secargumentslimit": settingOfAll, "secrequestbodylimit": settingOfAll, "secrequestbodyjsondepthlimit": settingOfAll,
	"secruleengine": "the mode is waf.mode", "secrxprefilter": settingOfAll,
	"secruleremovebyid": exclusions, "secruleremovebytag": exclusions, "secruleupdatetargetbyid": exclusions,
	"secruleupdatetargetbytag": exclusions, "secruleupdateactionbyid": exclusions,
	"secdefaultaction": "each rule says what it does",
}

const (
	settingOfAll = "it is a setting of the whole engine"
	exclusions   = "what the core rules leave out is waf.exclusions"
)

// transformations are those of the engine, by their names in small letters, as the engine writes them.
var transformations = func() map[string]string {
	out := map[string]string{}
	for _, name := range []string{
		"none", "base64Decode", "base64DecodeExt", "base64Encode", "cmdLine", "compressWhitespace", "cssDecode",
		"escapeSeqDecode", "hexDecode", "hexEncode", "htmlEntityDecode", "jsDecode", "length", "lowercase", "md5",
		"normalisePath", "normalisePathWin", "normalizePath", "normalizePathWin", "removeComments", "removeCommentsChar",
		"removeNulls", "removeWhitespace", "replaceComments", "replaceNulls", "sha1", "trim", "trimLeft", "trimRight",
		"uppercase", "urlDecode", "urlDecodeUni", "urlEncode", "utf8toUnicode",
	} {
		out[strings.ToLower(name)] = name
	}
	return out
}()

// because puts a reason after a refusal, if there is one.
func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

// orTable is because, and where there is no reason, where to look for what is taken.
func orTable(reason string) string {
	if reason == "" {
		return `: what is taken stands in the table under "Own rules" in docs/operations.md`
	}
	return because(reason)
}

// nearest returns the word that differs from what was written in a letter or two, whatever its case; else nothing.
func nearest(written string, words []string) string {
	written = strings.ToLower(written)
	for _, w := range words {
		if oneSlip(written, strings.ToLower(w)) {
			return w
		}
	}
	return ""
}

// oneSlip reports whether one letter more, less, other or swapped with its neighbour makes a of b.
func oneSlip(a, b string) bool {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	x, y := a[i:], b[i:]
	switch len(x) - len(y) {
	case 1:
		return x[1:] == y
	case -1:
		return x == y[1:]
	case 0:
		return x == y || x[1:] == y[1:] || len(x) > 1 && x[0] == y[1] && x[1] == y[0] && x[2:] == y[2:]
	}
	return false
}
