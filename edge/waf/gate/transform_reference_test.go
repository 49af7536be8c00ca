package gate

import (
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/experimental/plugins"
	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"

	wafrules "gatehouse/waf-rules"
)

// fullTransforms reports whether the transformations are compared in full, over a million times. Otherwise
// it is a sample.
func fullTransforms() bool { return os.Getenv("GATEHOUSE_TRANSFORM_TESTS") == "all" }

// recorded has what the operator of each rule was shown since the last reset, in order.
var recorded [][]string

// recorder is an operator that keeps what it is shown. Its argument is the rule's number.
type recorder int

func (r recorder) Evaluate(_ plugintypes.TransactionState, value string) bool {
	recorded[r] = append(recorded[r], value)
	return false
}

func init() {
	plugins.RegisterOperator("gateRecord", func(o plugintypes.OperatorOptions) (plugintypes.Operator, error) {
		n, err := strconv.Atoi(o.Arguments)
		return recorder(n), err
	})
}

// A reference is Coraza itself, with a rule for each chain of transformations.
type reference struct {
	waf    coraza.WAF
	chains [][]string
}

const referenceBatch = 500 // values to a transaction

func newReference(t testing.TB, multiMatch bool, chains ...[]string) *reference {
	t.Helper()
	var rules strings.Builder
	fmt.Fprintf(&rules, "SecRuleEngine On\nSecArgumentsLimit %d\n", referenceBatch)
	for i, names := range chains {
		fmt.Fprintf(&rules, `SecRule ARGS_GET "@gateRecord %d" "id:%d,phase:1,pass,nolog`, i, i+1)
		if multiMatch {
			rules.WriteString(",multiMatch")
		}
		for _, name := range names {
			rules.WriteString(",t:" + name)
		}
		rules.WriteString("\"\n")
	}
	waf, err := coraza.NewWAF(coraza.NewWAFConfig().WithDirectives(rules.String()))
	if err != nil {
		t.Fatal(err)
	}
	return &reference{waf, chains}
}

// show returns what each rule's operator sees of the values.
func (r *reference) show(values ...string) [][]string {
	recorded = make([][]string, len(r.chains))
	for batch := range slices.Chunk(values, referenceBatch) {
		tx := r.waf.NewTransaction()
		for _, v := range batch {
			tx.AddGetRequestArgument("v", v)
		}
		tx.ProcessRequestHeaders()
		tx.Close()
	}
	return recorded
}

// compare holds ours to the reference, and returns how many comparisons that were.
func (r *reference) compare(t testing.TB, values ...string) (n int) {
	t.Helper()
	seen := r.show(values...)
	for i, names := range r.chains {
		c, ok := newChain(names)
		if !ok {
			t.Fatalf("%v: a name is not known", names)
		}
		if len(seen[i]) != len(values) {
			t.Fatalf("%v: Coraza was given %d values and looked at %d", names, len(values), len(seen[i]))
		}
		for k, v := range values {
			n++
			if got := c.apply(v); got != seen[i][k] {
				t.Fatalf("%v of %q:\n%q, Coraza has\n%q", names, v, got, seen[i][k])
			}
		}
	}
	return n
}

// compareStages does the same for rules with multiMatch.
func (r *reference) compareStages(t testing.TB, values ...string) (n int) {
	t.Helper()
	for _, v := range values {
		seen := r.show(v)
		for i, names := range r.chains {
			c, ok := newChain(names)
			if !ok {
				t.Fatalf("%v: a name is not known", names)
			}
			n++
			// Coraza takes some for changed that are not, which makes no difference to what matches.
			want := slices.Compact(seen[i])
			if got := slices.Collect(c.stages(v)); !slices.Equal(got, want) {
				t.Fatalf("%v of %q:\n%q, Coraza has\n%q", names, v, got, want)
			}
		}
	}
	return n
}

// eachAlone has a chain of one for each transformation, under all spellings.
func eachAlone() (chains [][]string) {
	for _, t := range transforms {
		chains = append(chains, []string{t.name})
	}
	return append(chains, []string{"normalisePath"}, []string{"normalisePathWin"}, []string{"URLDECODEUNI"})
}

var (
	ruleStart  = regexp.MustCompile(`(?m)^\s*(?:SecRule|SecAction)\b`)
	inRuleText = regexp.MustCompile(`[,"\s]t:(\w+)`)
)

// crsChains returns the chains of the CRS's rules, each once.
func crsChains(t testing.TB) (chains [][]string) {
	t.Helper()
	files, err := fs.Glob(wafrules.Embedded().FS(), "@owasp_crs/*.conf")
	if err != nil || len(files) < 20 {
		t.Fatalf("list the CRS: %d files, %v", len(files), err)
	}
	known := map[string]bool{}
	for _, file := range files {
		text, err := fs.ReadFile(wafrules.Embedded().FS(), file)
		if err != nil {
			t.Fatal(err)
		}
		for _, rule := range ruleStart.Split(string(text), -1)[1:] {
			var names []string
			for line := range strings.Lines(rule) {
				if strings.HasPrefix(strings.TrimSpace(line), "#") {
					continue
				}
				for _, m := range inRuleText.FindAllStringSubmatch(line, -1) {
					names = append(names, m[1])
				}
			}
			if key := strings.Join(names, ","); len(names) > 0 && !known[key] {
				known[key] = true
				chains = append(chains, names)
			}
		}
	}
	return chains
}
