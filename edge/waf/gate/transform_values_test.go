package gate

import (
	"bytes"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"

	"gatehouse/waf-rules/crstest"
)

// The bytes that some transformation tells from others.
const interesting = "\x00\t\n\v\f\r !\"#$%&'()*+,-./0147:;<=>?@AFGUXZ[\\]^_`abfnruvxz{}~\x7f\x80\x85\xa0\xad\xbf\xc2\xc3\xe2\xed\xef\xf0\xff"

// shortValues has all texts of at most two bytes; in the sample, every fifth of two interesting ones.
func shortValues() (out []string) {
	set, step := interesting, 5
	if fullTransforms() {
		set, step = eachByte, 1
	}
	out = append(out, "")
	for i := range eachByte {
		out = append(out, eachByte[i:i+1])
	}
	for i := 0; i < len(set)*len(set); i += step {
		out = append(out, string([]byte{set[i/len(set)], set[i%len(set)]}))
	}
	return out
}

// pieces are put together at random.
var pieces = []string{
	"%", "+", "%u", "%U", "%2", "%41", "%3c", "%3C", "%00", "%zz", "%25", "%2525", "%u0041", "%uff1c", "%uFF1F", "%uff5f", "%uff00", "%u00e9", "%u2018", "%u20ac", "%u01d", "%u0000", "%c0%ae", "%e0%80%af",
	`\`, `\\`, `\n`, `\a`, `\?`, `\"`, `\'`, `\x`, `\x4`, `\x41`, `\X41`, `\u0041`, `\uff1c`, `\uFF5E`, `\u{41}`, `\u{}`, `\u{0ff01}`, `\u{110000}`, `\u{1234567}`, `\u{41`, `\0`, `\1`, `\18`, `\101`, `\377`, `\400`, `\777`, `\8`,
	`\41`, `\000041`, `\0000411`, `\41 `, "\\41\r\n", `\ff01`, `\FF5E `, `\d800`, `\110000`, `\ffffff`, `\000000`, "\\\n", `\g`, `\e9 `,
	"&", "&#", "&#x", "&#X3c;", "&#60", "&#60;", "&#0", "&#0;", "&#x110000;", "&#128;", "&#xd800;", "&lt", "&lt;", "&LT", "&amp;", "&amp", "&ampx", "&nbsp;", "&notit;", "&copy", "&nLt;", "&Lt;", "&nosuch;", "&nosuch", "&l", "&ThickSpace;", "&lpar;", "&Tab;", "&bsol;", "&frac12x", "&=", "&;",
	"/*", "*/", "/**/", "/*/", "/*!", "<!--", "-->", "<!-", "--", "->", "-", "#", "*", "/", "//", "<", ">", "<!", "!",
	" ", "  ", "\t", "\r\n", "\v\f", "\u00a0", "\u0085", "\xa0", "\x85", "\u2003", "\u3000", "\u2028", "\u200b", "\x00", "\x00\x00",
	"\"", "'", "`", "^", ",", ";", "(", ")", " /", " (", "  (", "' /", " ^ /", ",(", "A", "Z", "[", "@",
	".", "..", "/.", "/..", "./", "../", "...", ". ", "/ /", "a.", "a ", `C:`, `c:\`, ":", "::$DATA", "file.txt:x", "/..;/", `..\`, "a/b", "/a/../b/",
	"é", "É", "ß", "İ", "ı", "\u212a", "ſ", "ﬁ", "Σ", "ς", "€", "你好", "😀", "\U0010ffff", "\ufffd", "\xc0\xaf", "\xc1\x81", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xff", "\xc2", "\xe2\x82", "\xe2\xa0", "\x80",
	"QUJD", "YWxlcnQ=", "YQ", "Y", "-_", "+/", "=", "c2Vs\nZWN0", "616263", "4", "zz",
	"a", "b", "0", "1", "x", "u", "alert", "SELECT", "union", "script", "1234567890", "the quick brown fox",
}

// randomValues returns n texts, many of them short and some long.
func randomValues(seed uint64, n int) (out []string) {
	r := rand.New(rand.NewPCG(seed, 7))
	for range n {
		var b strings.Builder
		count := 1 + r.IntN(8)
		if r.IntN(50) == 0 {
			count = r.IntN(2000)
		}
		for range count {
			switch r.IntN(8) {
			case 0:
				b.WriteByte(interesting[r.IntN(len(interesting))])
			case 1:
				b.WriteByte(byte(r.IntN(256)))
			default:
				b.WriteString(pieces[r.IntN(len(pieces))])
			}
		}
		s := b.String()
		if s != "" && r.IntN(6) == 0 { // cut short
			s = s[:r.IntN(len(s))]
		}
		out = append(out, s)
	}
	return out
}

// crsValues returns what the requests of the CRS's tests are made of; in the sample, of some of them.
func crsValues(t testing.TB) (out []string) {
	t.Helper()
	suite, err := crstest.Load()
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	add := func(s string) {
		if !known[s] {
			known[s] = true
			out = append(out, s)
		}
	}
	for i, test := range suite {
		if !fullTransforms() && i%40 != 0 {
			continue
		}
		for _, stage := range test.Stages {
			for line := range bytes.SplitSeq(stage.Request, []byte("\r\n")) {
				add(string(line))
				for pair := range strings.FieldsFuncSeq(string(line), func(r rune) bool { return strings.ContainsRune("?&=;", r) }) {
					add(pair)
					if plain, err := url.QueryUnescape(pair); err == nil {
						add(plain)
					}
				}
			}
		}
	}
	return out
}

// longValues are texts as long as a body may be, of each kind.
func longValues() (out []string) {
	n := 200
	if fullTransforms() {
		n = 20000
	}
	for _, p := range []string{"a", "%41", "%u0041+", `\x41`, `\u{41}`, `\41 `, "&lt;", "&nosuch;", "&amp", "/*a*/", "/*", "<!---->", "-", " ", " \t", "\u00a0", "/", "/./", "../", `a\ `, "a.b/", "A", "é", "\xff", "Q", "61", "\x00", "' (", "x, "} {
		out = append(out, strings.Repeat(p, n), "x"+strings.Repeat(p, n)+"y")
	}
	return out
}
