package routes

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The bounds of exclusions. They keep what one tenant's document can cost within
// reason, in memory and in time per request.
const (
	MaxExclusions    = 1000 // of one document
	maxExclusionList = 100  // rules of one exclusion; paths, methods and tags have less
	maxExclusionText = 200  // bytes of a tag, target or path
	maxExclusionNote = 1000 // bytes
	maxStars         = 8    // of one path
	maxPaths         = 2000 // of one document
)

// exclusionTargets are the variables that an exclusion may name, and whether a name
// in them can be picked. A test of edge/waf compares them with the engine's.
var exclusionTargets = map[string]bool{
	"ARGS": true, "ARGS_GET": true, "ARGS_POST": true,
	"ARGS_NAMES": true, "ARGS_GET_NAMES": true, "ARGS_POST_NAMES": true,
	"FILES": true, "FILES_NAMES": true, "MULTIPART_PART_HEADERS": true, "XML": true,
	"REQUEST_COOKIES": true, "REQUEST_COOKIES_NAMES": true,
	"REQUEST_HEADERS": true, "REQUEST_HEADERS_NAMES": true,
	"QUERY_STRING": false, "REQUEST_BASENAME": false, "REQUEST_BODY": false, "REQUEST_FILENAME": false,
	"REQUEST_LINE": false, "REQUEST_METHOD": false, "REQUEST_PROTOCOL": false,
	"REQUEST_URI": false, "REQUEST_URI_RAW": false,
	"RESPONSE_BODY": false, "RESPONSE_HEADERS": true, "RESPONSE_STATUS": false,
}

// ExclusionTargets returns the variables that an exclusion may name, and for each
// whether it takes a name after a colon.
func ExclusionTargets() map[string]bool {
	return maps.Clone(exclusionTargets)
}

// BookkeepingRule says why a rule cannot be excluded; "" if it can. Such a rule
// finds nothing itself: the rules that do would be blind or mute without it.
func BookkeepingRule(id int) string {
	switch thousand, n := id/1000, id%1000; {
	case thousand == 900 || thousand == 901 || thousand == 905:
		return "it prepares the rule set"
	case thousand == 949 || thousand == 959:
		return "it adds the score up; exclude the rules that scored, or raise the threshold"
	case thousand == 980:
		return "it only reports the score"
	case id == 200000 || id == 200001 || id == 200006:
		return "it chooses how bodies are read"
	case id == 200110 || id == 200111:
		return "it keeps values of one name apart"
	case thousand >= 911 && thousand <= 956 && n >= 10 && n <= 21:
		return "it passes over rules of other paranoia levels"
	}
	return ""
}

// checkExclusions looks at what can be judged without the WAF: whether a rule or tag
// exists depends on the rule set.
func checkExclusions(field string, list []Exclusion) []finding {
	if len(list) > MaxExclusions {
		return []finding{{field: field, reason: fmt.Sprintf("%d exclusions: at most %d in one document; a wider target or path may stand for many", len(list), MaxExclusions)}}
	}
	var out []finding
	seen := map[string]int{}
	var sum exclusionSum
	for i := range list {
		x := &list[i]
		if reason := sum.add(x); reason != "" {
			return append(out, finding{field: field, reason: reason})
		}
		at := field + "[" + strconv.Itoa(i) + "]"
		out = append(out, x.check(at)...)
		if len(x.Rules)+len(x.Tags) == 0 {
			continue
		}
		if first, twice := seen[x.Key()]; twice {
			reason := fmt.Sprintf("id %q is that of exclusion %d too", x.ID, first)
			if x.ID == "" {
				reason = fmt.Sprintf("does the same as exclusion %d", first)
			}
			out = append(out, finding{field: at, reason: reason + " (counted from 0)"})
		} else {
			seen[x.Key()] = i
		}
	}
	return out
}

// exclusionSum adds up what is bounded for a document. The zero value is ready.
type exclusionSum struct {
	paths, size int
	patterns    map[string]bool // that were counted
}

// add counts one exclusion; it returns what there is too much of, "" if nothing is.
func (s *exclusionSum) add(x *Exclusion) string {
	if s.paths += len(x.Paths); s.paths > maxPaths {
		return fmt.Sprintf(`more than %d paths in one document: "*" may stand for many`, maxPaths)
	}
	pattern, ok := targetPattern(x.Target)
	if !ok || s.patterns[pattern] || len(x.Target) > maxExclusionText {
		return ""
	}
	size, err := PatternSize(pattern)
	if err != nil || size > MaxPattern {
		return "" // the exclusion's own fault, which is found with it
	}
	if s.patterns == nil {
		s.patterns = map[string]bool{}
	}
	s.patterns[pattern] = true
	if s.size += size; s.size > maxPatterns {
		return fmt.Sprintf("the regular expressions of all targets are more than %d instructions together: let one stand for many names, or name them without one", maxPatterns)
	}
	return ""
}

func (x *Exclusion) check(at string) []finding {
	out := x.checkSizes(at)
	if len(out) > 0 {
		return out // and not one line for each entry
	}
	bad := func(field, format string, args ...any) {
		out = append(out, finding{field: at + field, reason: fmt.Sprintf(format, args...)})
	}
	if x.ID != "" && CheckTenantName(x.ID) != nil {
		bad(".id", "bad id %q: want 1 to 64 letters, digits, dots, hyphens and underscores", shortText(x.ID))
	}
	switch {
	case len(x.Rules)+len(x.Tags) > 0:
	case x.Target != "":
		bad(".target", "a target alone would blind every rule to it: name rules or tags, such as rules: [942100]")
	default:
		out = append(out, finding{field: at, missing: true, reason: "want rules, such as rules: [942100], or tags"})
	}
	for i, r := range x.Rules {
		if reason := r.refused(); reason != "" {
			bad(".rules["+strconv.Itoa(i)+"]", "%s", reason)
		}
	}
	for i, tag := range x.Tags {
		if tag == "" || len(tag) > maxExclusionText || strings.ContainsFunc(tag, isControl) {
			bad(".tags["+strconv.Itoa(i)+"]", "bad tag %q: want one of the rule set, such as attack-sqli", shortText(tag))
		}
	}
	if f := checkTarget(x.Target); f.reason != "" {
		f.field = at + ".target"
		out = append(out, f)
	}
	for i, p := range x.Paths {
		if f := checkGlob(p); f.reason != "" {
			f.field = at + ".paths[" + strconv.Itoa(i) + "]"
			out = append(out, f)
		}
	}
	return append(out, checkMethods(at+".methods", x.Methods)...)
}

func (x *Exclusion) checkSizes(at string) []finding {
	var out []finding
	for _, l := range []struct {
		field      string
		have, most int
	}{
		{".rules", len(x.Rules), maxExclusionList},
		{".tags", len(x.Tags), maxExclusionList / 5},
		{".paths", len(x.Paths), maxExclusionList / 5},
		{".methods", len(x.Methods), maxExclusionList / 5},
	} {
		if l.have > l.most {
			out = append(out, finding{field: at + l.field, reason: fmt.Sprintf("%d entries: at most %d", l.have, l.most)})
		}
	}
	if len(x.Note) > maxExclusionNote {
		out = append(out, finding{field: at + ".note", reason: fmt.Sprintf("%d bytes: at most %d", len(x.Note), maxExclusionNote)})
	}
	return out
}

// refused says why a range cannot be excluded. A wide one passes over bookkeeping
// that lies within the files of rules that detect, but may not reach beyond them.
func (r RuleRange) refused() string {
	if r.First == r.Last {
		if why := BookkeepingRule(r.First); why != "" {
			return fmt.Sprintf("rule %d cannot be excluded: %s", r.First, why)
		}
		return ""
	}
	for _, thousand := range []int{901, 905, 949, 959, 980} {
		if r.First < (thousand+1)*1000 && r.Last >= thousand*1000 {
			return fmt.Sprintf("range %s holds rules %dxxx, which cannot be excluded: %s; name the ranges on both sides", r, thousand, BookkeepingRule(thousand*1000))
		}
	}
	if r.First <= 200006 && r.Last >= 200000 {
		return fmt.Sprintf("range %s holds rules that choose how bodies are read: name single rules", r)
	}
	return ""
}

// checkTarget returns a finding without a field, or one without a reason.
func checkTarget(target string) finding {
	if target == "" {
		return finding{} // the whole rule
	}
	if len(target) > maxExclusionText || strings.ContainsFunc(target, isControl) {
		return finding{reason: fmt.Sprintf("a target is at most %d bytes without control characters", maxExclusionText)}
	}
	name, key, hasKey := strings.Cut(target, ":")
	keyed, known := exclusionTargets[name]
	switch {
	case !known:
		guess := Nearest(name, slices.Sorted(maps.Keys(exclusionTargets)))
		if guess != "" && hasKey {
			guess += ":" + key
		}
		return finding{guess: guess, reason: fmt.Sprintf("unknown variable %q: want one that rules look at, such as ARGS:q, REQUEST_COOKIES:name or REQUEST_HEADERS:User-Agent", shortText(name))}
	case hasKey && !keyed:
		return finding{guess: name, reason: fmt.Sprintf("%s is one value and takes no name after a colon", name)}
	case hasKey && key == "":
		return finding{reason: fmt.Sprintf("a name is missing after %q: without the colon it means all of it", target)}
	}
	if pattern, ok := targetPattern(target); ok {
		return finding{reason: checkPattern(pattern)}
	}
	return finding{}
}

// checkGlob refuses patterns that no path can fit: a path that backends read in
// different ways fits none, see package edge/waf.
func checkGlob(p string) finding {
	say := func(format string, args ...any) finding {
		return finding{reason: fmt.Sprintf("bad path %q: ", shortText(p)) + fmt.Sprintf(format, args...)}
	}
	switch {
	case p == "":
		return say(`want a path such as "/search" or "/api/*"`)
	case len(p) > maxExclusionText:
		return say("at most %d bytes", maxExclusionText)
	case !utf8.ValidString(p) || strings.ContainsFunc(p, isControl):
		return say("want text without control characters")
	case p[0] != '/' && p[0] != '*':
		f := say(`a path begins with "/", or with "*" for any beginning`)
		f.guess = "/" + p
		return f
	case strings.Count(p, "*") > maxStars:
		return say(`at most %d "*"`, maxStars)
	}
	if at := strings.IndexByte(p, '?'); at >= 0 && strings.ContainsAny(p[at:], "=&") {
		f := say(`the query is never looked at, and "?" stands for one character: end it before the "?"`)
		f.guess = p[:at]
		return f
	}
	if strings.Contains(p, "%") {
		f := say("it is compared with the decoded path: write what %%xx stands for")
		if plain, err := url.PathUnescape(p); err == nil && !strings.ContainsAny(plain, "%*?") && plain != p {
			f.guess = plain
		}
		return f
	}
	if strings.ContainsAny(p, `;\#`) || strings.Contains(p, "//") {
		return say(`a path with ";", "\", "#" or "//" never fits, since backends read it in different ways`)
	}
	for segment := range strings.SplitSeq(p, "/") {
		if segment != "" && strings.Trim(segment, ". ") == "" {
			return say("a path with the segment %q never fits, since backends resolve it", segment)
		}
	}
	return finding{}
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }
