package crstest

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io/fs"
	"regexp"

	"github.com/corazawaf/coraza-coreruleset/v4/tests"
	"github.com/goccy/go-yaml"
)

// A Test is one test of the suite.
type Test struct {
	// ID is the rule's number and the test's own: 942100-7.
	ID     string
	Stages []Stage
}

// A Stage is one request, on a connection of its own.
type Stage struct {
	Request []byte // as it goes onto the wire, whole
	Expect  Expect
	retry   bool // once, if it fails
}

// Expect is what must come of a request. The zero value expects nothing.
type Expect struct {
	Status   int            // of the answer; 0: any
	Error    bool           // that there is no answer
	Answer   *regexp.Regexp // found in the answer; nil: any
	Rules    []int          // all of these match
	NoRules  []int          // and none of these
	Isolated bool           // and nothing but the one in Rules
	Log      *regexp.Regexp // found in what the rules log; nil: any
	NoLog    *regexp.Regexp // not found in it
}

// attack reports whether the firewall must find something in the request.
func (e Expect) attack() bool { return len(e.Rules) > 0 || e.Log != nil }

// The files' format, all of it: a field that is not here is an error, not ignored.
type testFile struct {
	Meta   any    `yaml:"meta"`
	Author any    `yaml:"author"`
	RuleID int    `yaml:"rule_id"`
	Tests  []test `yaml:"tests"`
}

type test struct {
	ID     int     `yaml:"test_id"`
	Desc   any     `yaml:"desc"`
	Stages []stage `yaml:"stages"`
}

type stage struct {
	Input  input  `yaml:"input"`
	Output output `yaml:"output"`
}

type output struct {
	Status   int    `yaml:"status"`
	Contains string `yaml:"response_contains"`
	Error    bool   `yaml:"expect_error"`
	Retry    bool   `yaml:"retry_once"`
	Isolated bool   `yaml:"isolated"`
	Log      struct {
		Expect   []int  `yaml:"expect_ids"`
		NoExpect []int  `yaml:"no_expect_ids"`
		Match    string `yaml:"match_regex"`
		NoMatch  string `yaml:"no_match_regex"`
	} `yaml:"log"`
}

// Load reads the whole suite, in the order of its files. It takes a second.
func Load() ([]Test, error) {
	files, err := fs.Glob(tests.FS, "*/*.yaml")
	if err != nil {
		return nil, err
	}
	var suite []Test
	for _, name := range files {
		text, err := fs.ReadFile(tests.FS, name)
		if err != nil {
			return nil, err
		}
		of, err := read(text)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		suite = append(suite, of...)
	}
	return suite, nil
}

// read returns the tests of one file. A file may be empty.
func read(text []byte) ([]Test, error) {
	var file testFile
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, nil
	}
	if err := yaml.UnmarshalWithOptions(text, &file, yaml.Strict()); err != nil {
		return nil, err
	}
	var suite []Test
	for _, t := range file.Tests {
		out := Test{ID: fmt.Sprintf("%d-%d", file.RuleID, t.ID)}
		for _, s := range t.Stages {
			stage, err := s.compile()
			if err != nil {
				return nil, fmt.Errorf("test %s: %w", out.ID, err)
			}
			out.Stages = append(out.Stages, stage)
		}
		suite = append(suite, out)
	}
	return suite, nil
}

func (s stage) compile() (Stage, error) {
	o := s.Output
	out := Stage{retry: o.Retry, Expect: Expect{
		Status: o.Status, Error: o.Error, Rules: o.Log.Expect, NoRules: o.Log.NoExpect, Isolated: o.Isolated,
	}}
	for _, m := range []struct {
		text string
		to   **regexp.Regexp
	}{{o.Contains, &out.Expect.Answer}, {o.Log.Match, &out.Expect.Log}, {o.Log.NoMatch, &out.Expect.NoLog}} {
		if m.text == "" {
			continue
		}
		var err error
		if *m.to, err = regexp.Compile(m.text); err != nil {
			return Stage{}, err
		}
	}
	var err error
	if s.Input.Encoded != "" {
		out.Request, err = base64.StdEncoding.DecodeString(s.Input.Encoded)
	} else {
		out.Request, err = s.Input.build()
	}
	return out, err
}
