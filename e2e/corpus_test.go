package e2e

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"gatehouse/internal/edgetest"
)

// corpusDir is where the shared corpus lies when there is one: beside the repository.
const corpusDir = "../../shared/corpus"

// A verdict is one line of what the replayer writes.
type verdict struct {
	ID, Level, Expect, Verdict, Note string
	Statuses                         []int
	Closed                           bool
	Seen                             []string
}

func (v verdict) String() string {
	return fmt.Sprintf("%-5s %s (%s): expected %s; %s; answers %v, closed %v; backends saw %q", v.Verdict, v.ID, v.Level, v.Expect, v.Note, v.Statuses, v.Closed, v.Seen)
}

// buildReplayer builds the corpus's own replayer, once.
var buildReplayer = sync.OnceValues(func() (string, error) {
	out := filepath.Join(filepath.Dir(binary), "replay")
	log, err := exec.Command("go", "build", "-o", out, filepath.Join(corpusDir, "replay/main.go")).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the replayer: %w\n%s", err, log)
	}
	return out, nil
})

// A corpusRun is a node, the replayer's two backends, and how it is called.
type corpusRun struct {
	t      *testing.T
	n      *node
	replay string
	args   []string
}

func startCorpus(t *testing.T) *corpusRun {
	t.Helper()
	if _, err := os.Stat(filepath.Join(corpusDir, "replay/main.go")); errors.Is(err, os.ErrNotExist) {
		t.Skip("no shared corpus beside the repository")
	}
	replay, err := buildReplayer()
	if err != nil {
		t.Fatal(err)
	}
	a, b := edgetest.FreePort(t), edgetest.FreePort(t)
	site := func(host, tenant string, port int) string {
		return vhost(host, fmt.Sprintf("http://127.0.0.1:%d", port), "tenant: "+tenant, "waf: {mode: off}", "timeouts: {first_byte: 800ms}")
	}
	n := launch(t, "", map[string]string{"a.yaml": site("edge.test", "a", a), "b.yaml": site("other.test", "b", b)})
	return &corpusRun{t: t, n: n, replay: replay, args: []string{
		"-backend", fmt.Sprintf("127.0.0.1:%d", a), "-backend-b", fmt.Sprintf("127.0.0.1:%d", b),
	}}
}

// run replays and returns the verdicts. What is not PASS is tried again with much
// longer waits: the replayer takes silence for an outcome, and a loaded machine is silent at times.
func (c *corpusRun) run(args ...string) map[string]verdict {
	c.t.Helper()
	verdicts := map[string]verdict{}
	c.once(verdicts, args...)
	var again []string
	for id, v := range verdicts {
		if v.Verdict != "PASS" {
			again = append(again, regexp.QuoteMeta(id))
		}
	}
	if len(again) > 0 && len(again) <= 20 {
		first := maps.Clone(verdicts)
		defer func() {
			for id, v := range verdicts {
				if v.Verdict == "PASS" && first[id].Verdict != "PASS" {
					c.t.Logf("only at the second try: %s; the first: %v", id, first[id])
				}
			}
		}()
		c.once(verdicts, append(args, "-only", "^("+strings.Join(again, "|")+")$", "-idle", "1s", "-wait", "6s")...)
	}
	return verdicts
}

func (c *corpusRun) once(into map[string]verdict, args ...string) {
	c.t.Helper()
	out := filepath.Join(c.t.TempDir(), "out.jsonl")
	cmd := exec.Command(c.replay, append(append(c.args[:len(c.args):len(c.args)], args...), "-out", out)...)
	log, err := cmd.CombinedOutput()
	var exit *exec.ExitError // 1 says that there are failures: we count them
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		c.t.Fatalf("%v: %v\n%s", cmd.Args, err, log)
	}
	file, err := os.Open(out)
	if err != nil {
		c.t.Fatalf("%v\n%s", err, log)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var v verdict
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			c.t.Fatal(err)
		}
		into[v.ID] = v
	}
	if err := lines.Err(); err != nil {
		c.t.Fatal(err)
	}
}

// judge counts verdicts and holds them to what is promised.
func (c *corpusRun) judge(verdicts map[string]verdict, file string, leastPass float64) {
	c.t.Helper()
	cases := corpusTitles(c.t, file)
	if len(verdicts) != len(cases) || len(cases) == 0 {
		c.t.Fatalf("%d verdicts on %d cases", len(verdicts), len(cases))
	}
	count := map[string]int{}
	for id, v := range verdicts {
		count[v.Verdict]++
		bad := v.Verdict == "FAIL" || v.Verdict == "ERR" || v.Verdict == "OVER" || v.Verdict == "LAX" && v.Level == "MUST"
		switch {
		case v.Verdict == "PASS":
		case bad || leastPass == 1:
			c.t.Errorf("%v\n  %s", v, cases[id])
		default:
			c.t.Logf("%v\n  %s", v, cases[id])
		}
	}
	c.t.Logf("%s: %d cases: %v", file, len(cases), count)
	if share := float64(count["PASS"]) / float64(len(cases)); share < leastPass {
		c.t.Errorf("%.1f %% PASS, want %.0f %%", 100*share, 100*leastPass)
	}
}

// corpusTitles reads what each case is about and how its bytes begin.
func corpusTitles(t *testing.T, name string) map[string]string {
	t.Helper()
	file, err := os.Open(filepath.Join(corpusDir, name))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	out := map[string]string{}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 32<<20)
	for lines.Scan() {
		var c struct {
			ID, Title, RFC string
			Raw            string `json:"raw_b64"`
			Alt            []string
		}
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		raw, err := base64.StdEncoding.DecodeString(c.Raw)
		if err != nil {
			t.Fatal(err)
		}
		out[c.ID] = fmt.Sprintf("%s, RFC %s, also good: %v: %.300q", c.Title, c.RFC, c.Alt, raw)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

const (
	requestCorpus = "h1-requests.jsonl"
	answerCorpus  = "h1-responses.jsonl"
	leastPass     = 0.97
)

// Raw requests over plain TCP: nothing ambiguous is forwarded, nothing legal refused.
func TestCorpusPlain(t *testing.T) {
	t.Parallel()
	c := startCorpus(t)
	c.judge(c.run("-corpus", filepath.Join(corpusDir, requestCorpus), "-target", c.n.http), requestCorpus, leastPass)
}

// The same over TLS, with the server name of the site that a case must reach.
func TestCorpusTLS(t *testing.T) {
	t.Parallel()
	c := startCorpus(t)
	c.judge(c.run("-corpus", filepath.Join(corpusDir, requestCorpus), "-target", c.n.https, "-tls", "-sni", "edge.test"), requestCorpus, leastPass)
}

// Hostile answers of a backend, each with three canaries that show whether the
// next client is poisoned.
func TestCorpusAnswers(t *testing.T) {
	t.Parallel()
	c := startCorpus(t)
	c.judge(c.run("-resp", filepath.Join(corpusDir, answerCorpus), "-wait", "2500ms", "-target", c.n.http), answerCorpus, 1)
}
