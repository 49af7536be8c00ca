package waf

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/corazawaf/coraza/v3/collection"
	"github.com/corazawaf/coraza/v3/types/variables"

	"gatehouse/internal/edgetest"
)

// seen returns the variables in which the rules see EVIL, and whether the body is refused as malformed.
func seen(e *Engine, contentType, body string, cut bool) (in []string, refused bool) {
	tx := e.Begin(&Profile{Mode: Block}, "x")
	defer tx.Close()
	tx.RequestHeader("Content-Type", contentType)
	tx.RequestHeaders()
	tx.WriteRequestBody([]byte(body))
	refused = tx.RequestBody(cut) != nil
	tx.view.Variables().All(func(v variables.RuleVariable, c collection.Collection) bool {
		if name := v.Name(); strings.HasPrefix(name, "MATCHED") || name == "REQUEST_BODY" || name == "TX" {
			return true
		}
		for _, d := range c.FindAll() {
			if strings.Contains(d.Value(), "EVIL") && !slices.Contains(in, v.Name()) {
				in = append(in, v.Name())
			}
		}
		return true
	})
	return in, refused
}

// seenCut compares what is seen of a body with what is seen of its beginning. It returns false if the whole
// body is refused, or nothing is seen of it: then there is nothing to compare.
func seenCut(t *testing.T, e *Engine, contentType, whole string, at int) bool {
	t.Helper()
	all, refused := seen(e, contentType, whole, false)
	if refused || len(all) == 0 {
		return false
	}
	some, refused := seen(e, contentType, whole[:at], true)
	for _, name := range all {
		if !refused && !slices.Contains(some, name) {
			t.Errorf("%s: of %q %v have it, cut after %q %v, mended to %q",
				contentType, whole, all, whole[:at], some, mendSample(contentType, whole[:at]))
			return true
		}
	}
	return true
}

const partHead = "--BBBB\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n"

// Text that looks like a delimiter, or a quote where none counts, must not have what follows it removed
// with the end.
func TestALookalikeBeforeTheCutHidesNothing(t *testing.T) {
	e := parseRules(t)
	pad := strings.Repeat("lorem ipsum ", 200)
	const multipart, xml = "multipart/form-data; boundary=BBBB", "application/xml"
	for name, s := range map[string]sample{
		"multipart, LF before a delimiter":       {contentType: multipart, body: partHead + "x\n--BBBB\nEVIL" + pad},
		"multipart, LF before a blank delimiter": {contentType: multipart, body: partHead + "x\n--BBBB \nEVIL" + pad},
		"multipart, LF before the last":          {contentType: multipart, body: partHead + "x\n--BBBB--\nEVIL" + pad},
		"multipart, before the lookalike":        {contentType: multipart, body: partHead + "EVIL\n--BBBB\n" + pad},
		"multipart, a longer boundary":           {contentType: multipart, body: partHead + "x\r\n--BBBB-x\r\nEVIL" + pad},
		"multipart, a longer boundary at once":   {contentType: multipart, body: partHead + "--BBBB-x\r\nEVIL" + pad},
		"multipart, CRLF in a body of LF":        {contentType: multipart, body: strings.ReplaceAll(partHead, "\r", "") + "x\r\n--BBBB-x\r\nEVIL" + pad},
		"multipart, a name in a header":          {contentType: multipart, body: "--BBBB\r\nContent-Disposition: form-data; name=\"a\"; EVIL" + pad},
		"xml, a quote in a comment in a DOCTYPE": {contentType: xml, body: "<!DOCTYPE a [<!-- it's -->]><a>EVIL" + pad},
		"xml, < in a comment in a DOCTYPE":       {contentType: xml, body: "<!DOCTYPE a [<!-- < -->]><a>EVIL" + pad},
		"xml, < in an entity":                    {contentType: xml, body: `<!DOCTYPE a [<!ENTITY e "<<<">]><a>EVIL` + pad},
		"xml, a quote in an instruction":         {contentType: xml, body: `<!DOCTYPE a [<?x " ?>]><a>EVIL` + pad},
		"xml, a quote in an end tag":             {contentType: xml, body: "<a><b></b '>EVIL" + pad},
		"xml, a quote without a value":           {contentType: xml, body: "<a><b x='>'>EVIL" + pad},
		"xml, dashes in a comment":               {contentType: xml, body: "<a><!-- x -- >EVIL" + pad},
	} {
		t.Run(name, func(t *testing.T) {
			s.cut = true
			got := inspect(e, &Profile{Mode: Block, InspectBody: int64(len(s.body)) - 7}, s)
			if _, found := got.match(2); !found && got.verdict == nil {
				in, _ := seen(e, s.contentType, s.body[:len(s.body)-7], true)
				if !slices.Contains(in, "MULTIPART_PART_HEADERS") {
					t.Errorf("passes unseen, mended to %q", mendSample(s.contentType, s.body[:len(s.body)-7]))
				}
			}
		})
	}
}

// A quote in an instruction within a declaration would hide the document from the rules, whole or cut.
func TestAnInstructionInADeclarationIsRefused(t *testing.T) {
	e := parseRules(t)
	for _, body := range []string{
		`<!DOCTYPE a [<?x " ?>]><a>EVIL</a>`,
		`<!DOCTYPE a [<?x " ?>]><a>EVIL<!-- " >> <a> --></a>`,
		`<!DOCTYPE a [<?x ' ?>]><a>EVIL</a>'`,
	} {
		for _, cut := range []bool{false, true} {
			got := inspect(e, &Profile{Mode: Block}, sample{contentType: "text/xml", body: body, cut: cut})
			if got.verdict == nil || got.verdict.Status != 400 {
				t.Errorf("%s, cut: %t: %+v", body, cut, got)
			}
		}
	}
	for _, body := range []string{
		`<!DOCTYPE a><a>b</a>`, `<!DOCTYPE a [<!ENTITY e "it's"><!-- " -->]><a>b</a>`, `<?xml version="1.0"?><?y " ?><a>b</a>`,
	} {
		if got := inspect(e, &Profile{Mode: Block}, sample{contentType: "text/xml", body: body}); got.verdict != nil {
			t.Errorf("%s: %+v", body, got)
		}
	}
}

// scraps are what generated bodies are made of, by their type.
var scraps = map[string][]string{
	"multipart/form-data; boundary=BBBB": {
		"\r\n", "\n", "\r", "--BBBB", "--BBBB--", "\r\n--BBBB\r\n", "\n--BBBB\n", "\r\n--BBBB-x\r\n", "\r\n--BBBBx", "--BBBB \t\r\n",
		"--BB", "x", "-", " ", "\r\n\r\n", "X-Y: z\r\n", "\r\n" + partHead, strings.Replace(partHead, `"a"`, `"a"; filename="f"`, 1),
		`; x="`, `"`, "; ", `\`, "Content-Type: text/plain; charset=utf-8\r\n", "filename*=UTF-8''y",
	},
	"text/xml": {
		"<a>", "</a>", "<a b='", `<a b="`, `"`, "'", ">", "<", "<!-- ", " -->", "<!DOCTYPE a [", "]>", "<?x ", "?>", "<![CDATA[", "]]>",
		"<!ENTITY e ", "&amp;", "&", "<br>", "<br/>", " ", "x", "é", "--", "=", "<b c=d/>", "/", "!",
	},
	form: {"&", "=", "%", "%4", "%41", "a", "+", ";", "é", "b=1"},
}

// generate makes a body with EVIL in it, and says where that ends.
func generate(r *rand.Rand, contentType string) (body string, end int) {
	if contentType == "application/json" {
		text := []string{"x", `"`, `\`, "é", "\u2028", "{", "[", ",", ":", "y"}
		var value func(depth int) any
		value = func(depth int) any {
			switch n := r.IntN(6); {
			case n < 2 && depth < 4:
				list := []any{}
				for range r.IntN(4) {
					list = append(list, value(depth+1))
				}
				return list
			case n < 4 && depth < 4:
				object := map[string]any{}
				for range r.IntN(4) {
					object[text[r.IntN(len(text))]+text[r.IntN(len(text))]] = value(depth + 1)
				}
				return object
			case n == 4:
				return []any{nil, true, false, -1.5e30, 0}[r.IntN(5)]
			}
			return text[r.IntN(len(text))] + text[r.IntN(len(text))] + text[r.IntN(len(text))]
		}
		out, err := json.Marshal([]any{value(0), "EVIL", value(0), value(0)})
		if err != nil {
			panic(err)
		}
		return string(out), strings.Index(string(out), "EVIL") + len("EVIL")
	}
	var b strings.Builder
	if strings.HasPrefix(contentType, "multipart") {
		b.WriteString(partHead)
	}
	most := 1 + r.IntN(8)
	from := scraps[contentType]
	for range r.IntN(most) {
		b.WriteString(from[r.IntN(len(from))])
	}
	b.WriteString("EVIL")
	end = b.Len()
	for range r.IntN(most) {
		b.WriteString(from[r.IntN(len(from))])
	}
	if strings.HasPrefix(contentType, "multipart") {
		b.WriteString("\r\n--BBBB--\r\n")
	}
	return b.String(), end
}

// Whatever stands before the cut, the rules see what they would see of the whole body, or refuse.
func TestWhatStandsBeforeTheCutIsSeen(t *testing.T) {
	edgetest.Sequential(t)
	e := parseRules(t)
	for _, contentType := range []string{"multipart/form-data; boundary=BBBB", "text/xml", form, "application/json"} {
		t.Run(contentType, func(t *testing.T) {
			seed := rand.Uint64()
			r := rand.New(rand.NewPCG(seed, 5))
			compared := 0
			for range 4000 {
				body, end := generate(r, contentType)
				if seenCut(t, e, contentType, body, end+r.IntN(len(body)-end+1)) {
					compared++
				}
				if t.Failed() {
					t.Fatal("seed ", seed)
				}
			}
			if compared < 200 {
				t.Errorf("only %d bodies are taken whole: nothing is shown", compared)
			}
		})
	}
}

func FuzzWhatStandsBeforeTheCutIsSeen(f *testing.F) {
	types := []string{"multipart/form-data; boundary=BBBB", "text/xml", form, "application/json"}
	for kind := range types {
		for seed := range 20 {
			body, end := generate(rand.New(rand.NewPCG(uint64(seed), 1)), types[kind])
			f.Add(kind, body[:end-len("EVIL")], body[end:], seed)
		}
	}
	e := parseRules(f)
	f.Fuzz(func(t *testing.T, kind int, before, after string, at int) {
		if kind < 0 || kind >= len(types) || at < 0 || at > len(after) || strings.Contains(before+after, "EVIL") {
			return
		}
		seenCut(t, e, types[kind], fmt.Sprint(before, "EVIL", after), len(before)+len("EVIL")+at)
	})
}
