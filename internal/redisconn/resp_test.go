package redisconn

import (
	"bufio"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
)

func decode(text string) (Reply, error) {
	d := decoder{r: bufio.NewReader(strings.NewReader(text))}
	return d.read()
}

func TestRepliesOfRESP2And3(t *testing.T) {
	for text, want := range map[string]Reply{
		"+OK\r\n":                    {Text: "OK"},
		"-ERR no\r\n":                {Text: "ERR no", Failed: true},
		":12\r\n":                    {Text: "12"},
		"$3\r\na\r\n\r\n":            {Text: "a\r\n"},
		"$0\r\n\r\n":                 {},
		"$-1\r\n":                    {Null: true},
		"*-1\r\n":                    {Null: true},
		"_\r\n":                      {Null: true},
		"#t\r\n":                     {Text: "t"},
		",1.5\r\n":                   {Text: "1.5"},
		"!5\r\nERR x\r\n":            {Text: "ERR x", Failed: true},
		"*0\r\n":                     {Items: []Reply{}},
		"*2\r\n$1\r\na\r\n_\r\n":     {Items: []Reply{{Text: "a"}, {Null: true}}},
		"%1\r\n+k\r\n:1\r\n":         {Items: []Reply{{Text: "k"}, {Text: "1"}}},
		"|1\r\n+k\r\n+v\r\n+OK\r\n":  {Text: "OK"},
		">2\r\n+invalidate\r\n_\r\n": {push: true, Items: []Reply{{Text: "invalidate"}, {Null: true}}},
		"=7\r\ntxt:abc\r\n":          {Text: "txt:abc"},
	} {
		if got, err := decode(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %+v, %v", text, got, err)
		}
	}
}

func TestHostileRepliesAreRefused(t *testing.T) {
	for name, text := range map[string]string{
		"no type":           "hello\r\n",
		"HTTP":              "HTTP/1.1 400 Bad Request\r\n",
		"empty line":        "\r\n",
		"bare LF":           "+OK\n",
		"negative length":   "$-2\r\n",
		"length of letters": "$x\r\n",
		"huge length":       "$99999999999\r\n",
		"huge array":        "*99999999999\r\n",
		"wrong end":         "$1\r\nabc",
		"deep nesting":      strings.Repeat("*1\r\n", 100) + "+x\r\n",
		"deep attributes":   strings.Repeat("|0\r\n", 100) + "+x\r\n",
		"endless line":      "+" + strings.Repeat("x", 2*maxLine),
		"cut off":           "*2\r\n+a\r\n",
	} {
		if got, err := decode(text); err == nil {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}

// zeros is a stream of n bytes without the memory.
type zeros struct{ n int }

func (z *zeros) Read(p []byte) (int, error) {
	if z.n == 0 {
		return 0, io.EOF
	}
	n := min(len(p), z.n)
	clear(p[:n])
	z.n -= n
	return n, nil
}

func TestValueThatIsTooLargeIsSkippedAndTold(t *testing.T) {
	const size = 100 << 20
	body := io.MultiReader(strings.NewReader(fmt.Sprintf("*2\r\n$1\r\na\r\n$%d\r\n", size)), &zeros{size}, strings.NewReader("\r\n+next\r\n"))
	d := decoder{r: bufio.NewReader(body)}
	reply, err := d.read()
	if err != nil || !reply.TooLarge || reply.Items[1].Text != "" || reply.Items[0].Text != "a" {
		t.Fatalf("got %v, %v", reply.TooLarge, err)
	}
	if reply, err = d.read(); err != nil || reply.Text != "next" {
		t.Errorf("the stream is out of step: %+v, %v", reply, err)
	}
}

func TestWhatIsLeftOutKeepsTheStreamInStep(t *testing.T) {
	d := decoder{leave: true, r: bufio.NewReader(strings.NewReader(
		"$3\r\nabc\r\n*2\r\n$1\r\na\r\n$0\r\n\r\n$-1\r\n*0\r\n-MOVED 1 a:1\r\n!5\r\nERR x\r\n>2\r\n+invalidate\r\n*1\r\n$3\r\nfoo\r\n$1\r\nz\r\n"))}
	for i, want := range []Reply{
		{Left: true},
		{Left: true, Items: []Reply{}},
		{Null: true},
		{Items: []Reply{}},
		{Failed: true, Text: "MOVED 1 a:1"},
		{Failed: true, Text: "ERR x"},
		{push: true, Items: []Reply{{Text: "invalidate"}, {Items: []Reply{{Text: "foo"}}}}},
		{Left: true},
	} {
		if got, err := d.read(); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%d: got %+v, %v, want %+v", i, got, err, want)
		}
	}
}

func FuzzReply(f *testing.F) {
	for _, seed := range []string{
		"+OK\r\n", "-ERR\r\n", ">2\r\n$10\r\ninvalidate\r\n*1\r\n$3\r\nfoo\r\n", "%1\r\n+a\r\n*2\r\n:1\r\n_\r\n",
		"$-1\r\n", "*-1\r\n", "|1\r\n+a\r\n+b\r\n#t\r\n", "$999999\r\nx", "*1048576\r\n", "=7\r\ntxt:abc\r\n", "!3\r\nERR\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d := decoder{r: bufio.NewReader(strings.NewReader(string(data)))}
		for {
			reply, err := d.read()
			if err != nil {
				return
			}
			if kind, arg := reply.Kind(); kind != "" && arg == nil {
				t.Error("a push without an argument")
			}
		}
	})
}
