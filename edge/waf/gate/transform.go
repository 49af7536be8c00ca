package gate

import "strings"

// A transform is one transformation: what "t:…" in a rule does to a value before its operator sees it,
// byte for byte what Coraza v3.8.1 does.
//
// A transformation that fails leaves its value as it is, and those after it go on (Rule.transformArg).
// hexDecode fails on what is no hex, md5 and sha1 fail in FIPS 140-3 mode.
type transform struct {
	name string
	// apply returns its argument itself if nothing changes, and then allocates nothing;
	// [decodeEntities] and [decodeCSS] name the rare exceptions.
	apply func(string) string
	// triggers: apply changes no text that has none of these bytes.
	triggers byteSet
	// always: it may change any text, also the empty one or one without triggers.
	always bool
	// lowers: of a text of ASCII it changes upper to lower case, and nothing else. Whoever folds case anyway may
	// pass over it there. Of other text it may change more: U+0130 and U+212A become i and k, and a byte that is not
	// UTF-8 becomes U+FFFD.
	lowers bool
	// unseen reports of two texts, before and after, that Coraza does not take them for different: a rule with
	// multiMatch then goes on with the one before. Nil: it sees every difference.
	unseen func(before, after string) bool
}

// transformOf returns the transformation of a name as rules write it, in any case. It knows all that
// Coraza registers; of another one it says false.
//
// "none" changes nothing here. What it does to those before it is for [newChain].
func transformOf(name string) (transform, bool) {
	name = strings.ToLower(name)
	switch name { // either spelling
	case "normalisepath":
		name = "normalizepath"
	case "normalisepathwin":
		name = "normalizepathwin"
	}
	t, ok := transforms[name]
	return t, ok
}

// transforms has each transformation under its name in lower case.
var transforms = func() map[string]transform {
	all := map[string]transform{}
	for _, t := range [...]transform{
		{name: "none", apply: func(s string) string { return s }},

		{name: "urlDecode", apply: decodeURL, triggers: bytesOf("%+")},
		{name: "urlDecodeUni", apply: decodeURLUni, triggers: bytesOf("%+")},
		{name: "urlEncode", apply: encodeURL, triggers: everyByte.without(urlPlain)},
		{name: "utf8toUnicode", apply: utf8ToUnicode, triggers: highBytes},

		{name: "cssDecode", apply: decodeCSS, triggers: bytesOf(`\`)},
		{name: "escapeSeqDecode", apply: decodeEscapes, triggers: bytesOf(`\`)},
		{name: "jsDecode", apply: decodeJS, triggers: bytesOf(`\`)},
		{name: "htmlEntityDecode", apply: decodeEntities, triggers: bytesOf("&"), unseen: sameLength},

		{name: "removeComments", apply: removeComments, triggers: bytesOf("*-#")},
		{name: "removeCommentsChar", apply: removeCommentMarks, triggers: bytesOf("*-#")},
		{name: "replaceComments", apply: replaceComments, triggers: bytesOf("*")},

		{name: "compressWhitespace", apply: compressWhitespace, triggers: bytesOf(asciiSpaces + "\x85\xa0")},
		{name: "removeWhitespace", apply: removeWhitespace, triggers: bytesOf(asciiSpaces).union(highBytes), unseen: noSpaceIn},
		{name: "trim", apply: trim, triggers: bytesOf(asciiSpaces)},
		{name: "trimLeft", apply: trimLeft, triggers: bytesOf(asciiSpaces)},
		{name: "trimRight", apply: trimRight, triggers: bytesOf(asciiSpaces)},
		{name: "removeNulls", apply: removeNulls, triggers: bytesOf("\x00")},
		{name: "replaceNulls", apply: replaceNulls, triggers: bytesOf("\x00")},

		{name: "cmdLine", apply: commandLine, triggers: commandTriggers},
		{name: "normalizePath", apply: normalizePath, triggers: bytesOf("/.")},
		{name: "normalizePathWin", apply: normalizeWindowsPath, triggers: bytesOf(`/\.: `)},

		{name: "lowercase", apply: strings.ToLower, triggers: bytesBetween('A', 'Z').union(highBytes), lowers: true},
		{name: "uppercase", apply: strings.ToUpper, triggers: bytesBetween('a', 'z').union(highBytes)},

		{name: "base64Decode", apply: decodeBase64, triggers: everyByte, always: true},
		{name: "base64DecodeExt", apply: decodeBase64Ext, triggers: everyByte, always: true},
		{name: "base64Encode", apply: encodeBase64, triggers: everyByte, always: true},
		{name: "hexDecode", apply: decodeHex, triggers: hexDigits},
		{name: "hexEncode", apply: encodeHex, triggers: everyByte, always: true},
		{name: "length", apply: length, triggers: everyByte, always: true},
		{name: "md5", apply: md5Of, triggers: everyByte, always: true},
		{name: "sha1", apply: sha1Of, triggers: everyByte, always: true},
	} {
		all[strings.ToLower(t.name)] = t
	}
	return all
}()

// sameLength is how htmlEntityDecode tells whether it changed something: "&#0" and U+FFFD are as long.
func sameLength(before, after string) bool { return len(before) == len(after) }
