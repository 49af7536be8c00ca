package gate

import "testing"

// fuzzFamily holds a few transformations to Coraza's, alone and after one another.
func fuzzFamily(f *testing.F, names ...string) {
	f.Helper()
	for _, s := range pieces {
		f.Add(s)
	}
	for _, s := range randomValues(8, 200) {
		f.Add(s)
	}
	chains := [][]string{names}
	for _, name := range names {
		chains = append(chains, []string{name})
	}
	once, stages := newReference(f, false, chains...), newReference(f, true, chains...)
	f.Fuzz(func(t *testing.T, s string) {
		once.compare(t, s)
		stages.compareStages(t, s)
	})
}

func FuzzTransformURL(f *testing.F) {
	fuzzFamily(f, "utf8toUnicode", "urlDecodeUni", "urlDecode", "urlEncode")
}

func FuzzTransformEscapes(f *testing.F) { fuzzFamily(f, "jsDecode", "cssDecode", "escapeSeqDecode") }

func FuzzTransformEntities(f *testing.F) { fuzzFamily(f, "htmlEntityDecode") }

func FuzzTransformComments(f *testing.F) {
	fuzzFamily(f, "replaceComments", "removeCommentsChar", "removeComments")
}

func FuzzTransformSpaces(f *testing.F) {
	fuzzFamily(f, "compressWhitespace", "trimLeft", "trimRight", "trim", "replaceNulls", "removeNulls", "removeWhitespace")
}

func FuzzTransformPaths(f *testing.F) { fuzzFamily(f, "normalizePath", "normalizePathWin") }

func FuzzTransformCommands(f *testing.F) { fuzzFamily(f, "cmdLine", "uppercase", "lowercase") }

func FuzzTransformCodecs(f *testing.F) {
	fuzzFamily(f, "hexDecode", "base64Decode", "base64DecodeExt", "hexEncode", "base64Encode", "length", "md5", "sha1")
}
