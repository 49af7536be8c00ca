package main

import (
	"github.com/spf13/pflag"
)

// settingFlags are the flags of all process settings: --listen.https and so on.
type settingFlags struct {
	given map[string]string // path → text
}

// addSettingFlags adds a flag for every setting. What no value acts on in this
// version is not shown, but taken, so that the refusal can say why.
func addSettingFlags(flags *pflag.FlagSet) *settingFlags {
	f := &settingFlags{given: map[string]string{}}
	defaults := defaultConfig()
	for _, s := range settings {
		v := &settingFlag{path: s.path, text: defaults.text(s.path), given: f.given}
		if s.path == "node" {
			v.text = "" // the host name is no default worth printing
		}
		flag := flags.VarPF(v, s.path, "", s.help)
		flag.Hidden = s.later()
		if s.kind.Kind().String() == "bool" {
			flag.NoOptDefVal = "true"
		}
	}
	return f
}

// settingFlag implements pflag.Value.
type settingFlag struct {
	path, text string
	given      map[string]string
}

func (v *settingFlag) String() string { return v.text }

// Set only notes the text: loadConfig judges the flags together with the rest.
func (v *settingFlag) Set(text string) error {
	v.text, v.given[v.path] = text, text
	return nil
}

// Type is what the help shows for the value.
func (v *settingFlag) Type() string { return "value" }
