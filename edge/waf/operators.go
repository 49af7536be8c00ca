package waf

import (
	"sync"

	"github.com/corazawaf/coraza/v3/experimental/plugins"
	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
)

// installOperators puts our operators into the engine's registry, which is one for the process and is only
// asked while rules are compiled: what was compiled before keeps the engine's own.
func installOperators() {
	installApart()
	installRx()
}

var (
	installApart = sync.OnceFunc(func() {
		plugins.RegisterOperator(apartName, func(plugintypes.OperatorOptions) (plugintypes.Operator, error) { return apart{}, nil })
	})
	installRx = sync.OnceFunc(func() { plugins.RegisterOperator("rx", newRx) })
)
