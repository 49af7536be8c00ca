package waf

import (
	"sync"

	"github.com/corazawaf/coraza/v3/experimental/plugins"
	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
)

// panicOperator is the fault that cannot be had from the real engine on demand.
type panicOperator struct{}

func (panicOperator) Evaluate(plugintypes.TransactionState, string) bool { panic("as ordered") }

var registerPanicOperator = sync.OnceFunc(func() {
	plugins.RegisterOperator("gatehousePanic", func(plugintypes.OperatorOptions) (plugintypes.Operator, error) {
		return panicOperator{}, nil
	})
})
