package waf

import (
	"fmt"
	"reflect"
	"regexp"

	"github.com/corazawaf/coraza/v3/collection"
	"github.com/corazawaf/coraza/v3/experimental"
	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
	"github.com/corazawaf/coraza/v3/types"
	"github.com/corazawaf/coraza/v3/types/variables"
)

// engineTx is what this package needs of Coraza's transaction beyond its public interface.
// The concrete type has it all; the probe makes sure at start.
type engineTx interface {
	types.Transaction
	Variables() plugintypes.TransactionVariables
	Collection(variables.RuleVariable) collection.Collection
	DetectionOnlyInterruption() *types.Interruption
	RemoveRuleByIDRange(first, last int)
	RemoveRuleTargetByID(id int, variable variables.RuleVariable, name string, pattern *regexp.Regexp)
}

// settable is a single-valued variable of a transaction. The public interface can only read it.
type settable interface {
	collection.Single
	Set(string)
}

// probe knows where in Coraza's transaction the engine mode lies. The mode is an exported field of an
// unexported type; setting it costs some nanoseconds, where a rule with ctl:ruleEngine would cost
// a microsecond per request.
type probe struct {
	ruleEngine []int // index of the field
}

// learn looks at one transaction and refuses an engine that differs from the known one.
func (p *probe) learn(waf experimental.WAFWithOptions) (err error) {
	raw := waf.NewTransactionWithOptions(experimental.Options{ID: "probe"})
	tx, ok := raw.(engineTx)
	if !ok {
		return fmt.Errorf("engine transaction %T lacks a method that is needed", raw)
	}
	defer func() {
		if cerr := tx.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("close probe transaction: %w", cerr)
		}
	}()
	value := reflect.ValueOf(raw)
	if value.Kind() != reflect.Pointer {
		return fmt.Errorf("engine transaction %T is not a pointer", raw)
	}
	field, ok := value.Type().Elem().FieldByName("RuleEngine")
	if !ok || field.Type != reflect.TypeFor[types.RuleEngineStatus]() {
		return fmt.Errorf("engine transaction %T has no field RuleEngine", raw)
	}
	p.ruleEngine = field.Index
	vars := tx.Variables()
	for _, v := range []collection.Single{
		vars.RequestBodyProcessor(), vars.ResponseContentType(), vars.MultipartStrictError(),
		vars.MultipartDuplicatePartHeader(), vars.MultipartInvalidQuoting(),
		vars.FilesCombinedSize(), vars.InboundDataError(), vars.ArgumentsLimitReached(),
	} {
		if _, ok := v.(settable); !ok {
			return fmt.Errorf("variable %s of the engine cannot be set", v.Name())
		}
	}
	return nil
}

// setMode switches one transaction to detection only. Block is what base.conf sets for all.
func (p *probe) setMode(tx engineTx, mode Mode) {
	if mode == Detect {
		field := reflect.ValueOf(tx).Elem().FieldByIndex(p.ruleEngine)
		field.SetInt(int64(types.RuleEngineDetectionOnly))
	}
}

func setSingle(v collection.Single, value string) {
	v.(settable).Set(value) // asserted by probe.learn
}
