package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"gatehouse/admin"
	"gatehouse/admin/admintest"
	"gatehouse/routes"
)

const sites = `
tenants:
  shop: {waf: {mode: block}}
vhosts:
  www.shop.test: {tenant: shop, aliases: [shop.test], backends: [http://127.0.0.1:9000]}
  blog.test: {tenant: blog, backends: [http://127.0.0.1:9001]}
`

func TestUsageMistakesExitWith2AndSayWhatWasMeant(t *testing.T) {
	t.Chdir(t.TempDir())
	for args, says := range map[string]string{
		"srve":             `unknown command "srve"`,
		"vhost":            "say which: list, show, add, set, rm",
		"vhost shwo":       `did you mean "show"?`,
		"vhost frobnicate": "want list, show, add, set, rm",
		"vhost show":       "accepts 1 arg(s), received 0",
		"vhost add a.test": "give URLs of backends, or --redirect URL",
		"vhost add a.test http://10.0.0.1 --redirect https://b.test": "give URLs of backends, or --redirect URL",
		"vhost set a.test waf.mode":                                  `bad argument "waf.mode": want PATH=VALUE`,
		"vhost set a.test a=1 a=2":                                   "a is given twice",
		"vhost list -o yaml":                                         "want table or json",
		"serve --listen.htps :1":                                     `did you mean "--listen.https"?`,
		"serve now":                                                  "unknown command",
		"waf test":                                                   "accepts 1 arg(s)",
		"waf test a.test b.test":                                     "accepts 1 arg(s)",
		"waf test --raw= http://a.test":                              "want a FILE, or - for standard input",
		"waf test --raw a --har b":                                   "name one",
		"waf test --raw a -d b":                                      "--data describes a request, and --raw has its own",
		"waf test -o /dev/null --har a b":                            "--har takes no URL",
		"waf test --har a http://a.test":                             "--har takes no URL",
		"waf test --only-refused http://a.test":                      "is for --har",
		"waf test --raw a http://a.test/path":                        "want https://HOST",
		"waf test -T a http://a.test":                                "--upload-file is not supported: use -X PUT --data-binary @FILE",
		"waf test -d a -F b=c http://a.test":                         "use one",
		"waf test -u me http://a.test":                               "want user:password",
		"waf test -b jar http://a.test":                              "files of cookies are not read",
		"waf test -F a http://a.test":                                "want name=value",
		"waf test /path":                                             "bad URL",
		"waf test -H nonsense http://a.test":                         "bad header",
		"waf test --client me http://a.test":                         "want an address",
		"vhost list --admin http://":                                 "the host is missing",
		"vhost list --admin tcp://127.0.0.1:80":                      "want the path of a socket",
	} {
		code, _, errOut := invoke(t, strings.Fields(args)...)
		want(t, args, code, exitUsage)
		contains(t, args, errOut, says, "--help")
	}
}

func TestNodeThatDoesNotRunIsSaidSo(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, args := range []string{"vhost list", "tenant list", "health", "waf test http://a.test/"} {
		code, out, errOut := invoke(t, strings.Fields(args)...)
		want(t, args, code, exitFailed)
		want(t, args, out, "")
		contains(t, args, errOut, "no node answers on data/gatehouse.sock: is gatehouse serve running?")
	}
	_, _, errOut := invokeWith(t, []string{"GATEHOUSE_DATA=/nowhere"}, "health")
	contains(t, "data of the environment", errOut, "/nowhere/gatehouse.sock")
	_, _, errOut = invoke(t, "health", "-c", "absent.yaml")
	contains(t, "settings that are absent", errOut, "absent.yaml: cannot be read")
}

func TestVhostVerbsOnARunningNode(t *testing.T) {
	n := admintest.Start(t, sites, admin.Options{})
	t.Chdir(n.Dir)
	code, out, _ := invoke(t, "vhost", "list")
	want(t, "list", code, exitOK)
	want(t, "table", out, strings.TrimLeft(`
NAME           ALIASES    TENANT  BACKENDS               WAF     CACHE  STATUS
blog.test      -          blog    http://127.0.0.1:9001  detect  off    ok
www.shop.test  shop.test  shop    http://127.0.0.1:9000  block   off    ok
`, "\n"))

	code, out, errOut := invoke(t, "vhost", "add", "New.test", "http://10.0.0.1:80", "http://10.0.0.2:80", "--tenant", "shop", "--alias", "n.test", "--waf", "off", "--cache", "60s")
	want(t, "add", code, exitOK)
	want(t, "add", out+errOut, "vhost new.test added (memory:vhost:new.test)\n")
	code, _, errOut = invoke(t, "vhost", "add", "new.test", "http://10.0.0.1:80")
	want(t, "add again", code, exitFailed)
	contains(t, "add again", errOut, "vhost new.test is there already (memory:vhost:new.test)")

	code, out, errOut = invoke(t, "vhost", "add", "new.test/api", "http://10.0.0.1:80", "--tenant", "shop", "--strip")
	want(t, "add a path", out+errOut, "vhost new.test/api added (memory:vhost:new.test/api)\n")
	want(t, "add a path", code, exitOK)
	code, out, errOut = invoke(t, "vhost", "add", "old.test", "--redirect", "https://new.test")
	want(t, "add a redirect", out+errOut, "vhost old.test added (memory:vhost:old.test)\n")
	want(t, "add a redirect", code, exitOK)
	_, out, _ = invoke(t, "vhost", "list")
	contains(t, "a redirect", out, "redirect to https://new.test")

	code, out, _ = invoke(t, "vhost", "set", "new.test", "waf.mode=block", "cache.ttl=2m", "aliases=", "backends=http://10.0.0.3")
	want(t, "set", code, exitOK)
	contains(t, "set", out, "vhost new.test changed")
	_, out, _ = invoke(t, "vhost", "show", "new.test")
	want(t, "show", out, strings.TrimLeft(`
# memory:vhost:new.test
vhosts:
  new.test:
    tenant: shop
    backends:
      - http://10.0.0.3
    cache:
      enabled: true
      ttl: 2m
    waf:
      mode: block
`, "\n"))
	_, out, _ = invoke(t, "vhost", "show", "new.test", "--effective")
	contains(t, "effective", squeezed(out), "cache.ttl 2m vhost", "balance p2c built in")

	code, _, errOut = invoke(t, "vhost", "set", "new.test", "waf.mod=block", "cache.ttl=fast")
	want(t, "bad set", code, exitFailed)
	contains(t, "bad set", errOut, `unknown key "mod" in waf (did you mean "mode"?)`, `cache.ttl: bad duration "fast"`)

	code, out, _ = invoke(t, "vhost", "rm", "new.test", "--yes") // it has a path vhost
	want(t, "rm", code, exitOK)
	contains(t, "rm", out, "vhost new.test removed")
	code, _, errOut = invoke(t, "vhost", "show", "new.test")
	want(t, "show what is gone", code, exitFailed)
	contains(t, "show what is gone", errOut, "gatehouse: there is no vhost new.test")
}

func TestShownDocumentIsAFileOfRoutes(t *testing.T) {
	n := admintest.Start(t, `
vhosts:
  "*.a.test":
    backends: [http://10.0.0.1, unix:/run/a.sock]
    tls: {min_version: "1.2", redirect_http: true, hsts: 180d}
    waf: {paranoia: 2, inspect_body: 64KiB, responses: false, allowed_methods: [GET]}
    timeouts: {connect: 500ms}
`, admin.Options{})
	t.Chdir(n.Dir)
	_, out, _ := invoke(t, "vhost", "show", "*.a.test")
	docs, problems := routes.ParseFile("shown.yaml", []byte(out))
	if len(problems) > 0 || len(docs) != 1 || len(docs[0].Problems) > 0 {
		t.Fatalf("%v %v\n%s", problems, docs, out)
	}
	stored, _ := n.Store.Document(docs[0].Key)
	shown, err := json.Marshal(docs[0].Vhost)
	if err != nil {
		t.Fatal(err)
	}
	held, err := json.Marshal(stored.Vhost)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "document", string(shown), string(held))
}

func TestTenantVerbsOnARunningNode(t *testing.T) {
	n := admintest.Start(t, sites, admin.Options{})
	t.Chdir(n.Dir)
	_, out, _ := invoke(t, "tenant", "list")
	want(t, "table", out, strings.TrimLeft(`
NAME  VHOSTS  WAF     WHERE                  STATUS
blog  1       detect  no document: defaults  ok
shop  1       block   memory:tenant:shop     ok
`, "\n"))
	code, out, _ := invoke(t, "tenant", "set", "blog", "waf.mode=off", "waf.paranoia=2")
	want(t, "set makes a tenant", code, exitOK)
	contains(t, "set", out, "tenant blog changed (memory:tenant:blog)")
	_, out, _ = invoke(t, "tenant", "show", "blog")
	contains(t, "show", out, "tenants:\n  blog:\n    waf:\n      mode: \"off\"\n      paranoia: 2\n")
	_, out, _ = invoke(t, "vhost", "list", "-o", "json")
	var list admin.VhostList
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatal(err)
	}
	want(t, "the vhost follows", list.Vhosts[0].WAF, "off")
}

// Who opens a vhost of a suspended tenant learns that it stays closed.
func TestSuspensionOfATenantIsSetAndToldOf(t *testing.T) {
	n := admintest.Start(t, sites, admin.Options{})
	t.Chdir(n.Dir)
	code, out, errOut := invoke(t, "tenant", "set", "shop", "suspended=true")
	want(t, "set"+errOut, code, exitOK)
	want(t, "out", out, "tenant shop changed (memory:tenant:shop)\n")
	_, out, _ = invoke(t, "tenant", "list")
	contains(t, "tenants", squeezed(out), "memory:tenant:shop suspended")
	_, out, _ = invoke(t, "vhost", "list")
	contains(t, "vhosts", squeezed(out), "suspended: by tenant shop")
	for setting, says := range map[string]string{
		"suspended=false": "warning: vhost www.shop.test: suspended by tenant shop\n",
		"suspended=":      "warning: vhost www.shop.test: suspended by tenant shop\n",
		"compress=on":     "",
	} {
		code, _, errOut = invoke(t, "vhost", "set", "www.shop.test", setting)
		want(t, setting, code, exitOK)
		want(t, setting, errOut, says)
	}
	invoke(t, "tenant", "set", "shop", "suspended=")
	_, _, errOut = invoke(t, "vhost", "set", "www.shop.test", "suspended=false")
	want(t, "open", errOut, "")
}

func TestTenantSetWarnsOfExclusionsWithoutEffect(t *testing.T) {
	n := admintest.Start(t, sites, admin.Options{ExclusionProblems: func(list []routes.Exclusion) (out routes.Problems) {
		for i := range list {
			out = append(out, &routes.Problem{Field: "[" + strconv.Itoa(i) + "].rules", Reason: "without effect"})
		}
		return out
	}})
	t.Chdir(n.Dir)
	code, out, errOut := invoke(t, "tenant", "set", "shop", `waf.exclusions=[{"rules": [1]}, {"rules": [2]}, {"rules": [3]}]`)
	want(t, "set", code, exitOK)
	want(t, "out", out, "tenant shop changed (memory:tenant:shop)\n")
	want(t, "warnings", errOut, "warning: tenant shop: waf.exclusions[0].rules: without effect\n"+
		"warning: tenant shop: waf.exclusions[1].rules: without effect\nwarning: tenant shop: waf.exclusions[2].rules: without effect\n")
	_, out, _ = invoke(t, "tenant", "list")
	contains(t, "list", out, "warning: waf.exclusions[0].rules: without effect (and 2 more)")
	_, _, errOut = invoke(t, "tenant", "set", "shop", "waf.exclusions=")
	want(t, "no warnings", errOut, "")
}

// Each list has its own problem: a line that holds two has an escape between them.
func TestProblemsOfListsAreToldOneByOne(t *testing.T) {
	n := admintest.Start(t, sites, admin.Options{AddressProblems: func(name string) []error {
		if name != "blog.test" {
			return nil
		}
		return []error{errors.New("a.txt is not in force"), errors.New("b.txt is not in force")}
	}})
	t.Chdir(n.Dir)
	_, out, _ := invoke(t, "vhost", "list")
	contains(t, "list", out, "warning: addresses: a.txt is not in force (and 1 more)\n")
	_, out, _ = invoke(t, "vhost", "show", "blog.test")
	contains(t, "show", out, "# problem: addresses: a.txt is not in force\n# problem: addresses: b.txt is not in force\n")
}

func TestBrokenDocumentIsShownAsWhatIsInForce(t *testing.T) {
	for _, broken := range []bool{false, true} {
		var out bytes.Buffer
		s := &session{terminal: &terminal{Out: &out}}
		problems := routes.Problems{{Field: "waf.mode", Reason: "bad value"}}
		if err := s.printDocument("tenants", "shop", "shop.yaml:3", &routes.Tenant{WAF: &routes.WAF{Mode: "block"}}, problems, broken); err != nil {
			t.Fatal(err)
		}
		contains(t, "document", out.String(), "# shop.yaml:3\n# problem: waf.mode: bad value\n", "      mode: block\n")
		want(t, "says so", strings.Contains(out.String(), "# what follows is in force, the last good form: it is not what stands there\ntenants:"), broken)
	}
}

func TestProfileAndAppsOfATenantAreSetAndShown(t *testing.T) {
	n := admintest.Start(t, sites, admin.Options{})
	t.Chdir(n.Dir)
	code, _, errOut := invoke(t, "tenant", "set", "shop", "waf.profile=strong", "waf.apps=wordpress,nextcloud")
	want(t, "set"+errOut, code, exitOK)
	_, out, _ := invoke(t, "tenant", "show", "shop")
	contains(t, "show", out, "profile: strong\n", "apps:\n        - wordpress\n        - nextcloud\n")
	_, out, _ = invoke(t, "vhost", "show", "www.shop.test", "--effective")
	contains(t, "by the tenant", squeezed(out), "waf.profile strong tenant shop", "waf.apps wordpress, nextcloud tenant shop")
	code, _, errOut = invoke(t, "tenant", "set", "shop", `waf.apps=["wordpress", "nextcloud"]`)
	want(t, "set as JSON"+errOut, code, exitOK)
	_, out, _ = invoke(t, "tenant", "show", "shop")
	contains(t, "set as JSON", out, "apps:\n        - wordpress\n        - nextcloud\n")
	code, _, errOut = invoke(t, "vhost", "set", "www.shop.test", "waf.apps=,", "waf.profile=complete")
	want(t, "no apps"+errOut, code, exitOK)
	_, out, _ = invoke(t, "vhost", "show", "www.shop.test", "--effective")
	contains(t, "by the vhost", squeezed(out), "waf.profile complete vhost", "waf.apps none vhost")
	_, out, _ = invoke(t, "vhost", "show", "blog.test", "--effective")
	contains(t, "by default", squeezed(out), "waf.profile complete built in")
	if strings.Contains(out, "waf.apps") {
		t.Errorf("apps where there are none:\n%s", out)
	}
	for setting, says := range map[string]string{
		"waf.profile=Strong":     `did you mean "strong"?`,
		"waf.apps=wordpres":      `did you mean "wordpress"?`,
		"waf.apps=drupal,drupal": "a second time",
	} {
		code, _, errOut = invoke(t, "tenant", "set", "shop", setting)
		want(t, setting, code, exitFailed)
		contains(t, setting, errOut, says)
	}
}

// squeezed has one space where there are several.
func squeezed(text string) string {
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return strings.Join(lines, "\n")
}

func TestAdminFlagNamesTheNode(t *testing.T) {
	n := admintest.Start(t, sites, admin.Options{})
	t.Chdir(t.TempDir())
	for _, place := range []string{n.Socket, "unix:" + n.Socket, "unix://" + n.Socket} {
		code, out, errOut := invoke(t, "vhost", "list", "--admin", place)
		want(t, place+errOut, code, exitOK)
		contains(t, place, out, "blog.test")
	}
	write(t, filepath.Join(n.Dir, "gatehouse.yaml"), "data: data\nlisten: {http: nonsense}\n")
	code, _, errOut := invoke(t, "vhost", "list", "-c", filepath.Join(n.Dir, "gatehouse.yaml"))
	want(t, "settings that would not serve"+errOut, code, exitOK)
	code, out, _ := invoke(t, "health", "--admin", n.Public)
	want(t, "health over TCP", code, exitOK)
	want(t, "health over TCP", out, "ready\n")
	code, _, errOut = invoke(t, "vhost", "list", "--admin", n.Public)
	want(t, "the operations listener", code, exitFailed)
	contains(t, "the operations listener", errOut, "only has metrics and health")
}

func TestHealthExitsWith1WhileNotReady(t *testing.T) {
	n := admintest.Start(t, sites, admin.Options{NotReady: func() []string { return []string{"no routes yet", "draining"} }})
	t.Chdir(n.Dir)
	code, out, errOut := invoke(t, "health")
	want(t, "code", code, exitFailed)
	want(t, "says", out+errOut, "not ready: no routes yet\nnot ready: draining\n")
	code, out, _ = invoke(t, "health", "-o", "json")
	want(t, "code", code, exitFailed)
	contains(t, "json", out, `"ready": false`, "draining")
}

func TestSocketOfAnotherUserIsSaidSo(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may open any socket")
	}
	n := admintest.Start(t, sites, admin.Options{})
	t.Chdir(n.Dir)
	if err := os.Chmod(n.Socket, 0); err != nil {
		t.Fatal(err)
	}
	_, _, errOut := invoke(t, "vhost", "list")
	contains(t, "advice", errOut, "may not be opened: run this as the user that gatehouse serve runs as")
}

// judge blocks what holds "attack", as a WAF would.
func judge(_ context.Context, r admin.InspectRequest) (admin.InspectResult, error) {
	out := admin.InspectResult{Vhost: "www.shop.test", Tenant: "shop", Mode: "block", Paranoia: 1, Verdict: admin.VerdictPass, Threshold: 5}
	if strings.Contains(r.URL+string(r.Body), "attack") {
		out.Verdict, out.Score, out.Status = admin.VerdictBlock, 5, 403
		out.Matches = []admin.Match{{ID: 942100, Message: "SQL injection", Severity: "critical", Target: "ARGS:q", Data: "attack\x1b[2J", Score: 5}}
	}
	return out, nil
}

func TestWAFTestExitsWith1WhenTheRequestWouldBeBlocked(t *testing.T) {
	n := admintest.Start(t, sites, admin.Options{Inspect: judge})
	t.Chdir(n.Dir)
	code, out, errOut := invoke(t, "waf", "test", "http://www.shop.test/fine")
	want(t, "pass"+errOut, code, exitOK)
	want(t, "pass", out, "vhost    www.shop.test\ntenant   shop\nmode     block, paranoia 1\nprofile  complete\nscore    0 of 5\npass\n")
	code, out, errOut = invoke(t, "waf", "test", "-d", "q=attack", "http://www.shop.test/")
	want(t, "block", code, exitFailed)
	want(t, "nothing beside the table", errOut, "")
	contains(t, "block", out, "score    5 of 5", "942100  +5     critical  ARGS:q  SQL injection  attack\\x1b[2J", "block: the client would get 403")
	code, out, _ = invoke(t, "waf", "test", "-o", "json", "http://www.shop.test/?attack")
	want(t, "json", code, exitFailed)
	contains(t, "json", out, `"verdict": "block"`, `"id": 942100`)
}

func TestWAFTestOfflineNeedsNoNode(t *testing.T) {
	t.Chdir(t.TempDir())
	was := offlineInspect
	t.Cleanup(func() { offlineInspect = was })
	offlineInspect = func(_ context.Context, cfg *Config) (*offlineWAF, error) {
		want(t, "routes", cfg.Routes, "file:conf.d")
		return &offlineWAF{inspect: judge, close: func() error { return nil }}, nil
	}
	code, out, errOut := invoke(t, "waf", "test", "--offline", "http://www.shop.test/attack")
	want(t, "code", code, exitFailed)
	contains(t, "says", out+errOut, "block: the client would get 403")
	write(t, "gatehouse.yaml", "waf: {gate: onn}\n")
	code, _, errOut = invoke(t, "waf", "test", "--offline", "http://www.shop.test/")
	want(t, "bad settings", code, exitFailed)
	contains(t, "bad settings", errOut, `gatehouse.yaml:1:13: waf.gate: bad value "onn": want on, shadow, off (did you mean "on"?)`)
}

func TestServeRefusesBadSettingsAndPassesGoodOnes(t *testing.T) {
	t.Chdir(t.TempDir())
	was := runServer
	t.Cleanup(func() { runServer = was })
	var got *Config
	runServer = func(_ context.Context, cfg *Config, _ io.Writer, _ *inheritance) error {
		got = cfg
		return errors.New("port 443 is taken")
	}
	code, _, errOut := invoke(t, "serve", "--limits.body_bytes", "1GiB", "--limits.handshakes_per_ip=-5")
	want(t, "refused", code, exitFailed)
	want(t, "refused", errOut, "--limits.handshakes_per_ip: bad number \"-5\": want 0 (no bound) to 1000000 (a second)\n")
	if got != nil {
		t.Fatal("it served with bad settings")
	}
	code, _, errOut = invokeWith(t, []string{"GATEHOUSE_LISTEN_HTTP=:1"}, "serve", "--listen.https", ":2", "--log.level=debug")
	want(t, "failed", code, exitFailed)
	want(t, "failed", errOut, "gatehouse: port 443 is taken\n")
	want(t, "environment", got.Listen.HTTP, ":1")
	want(t, "flag", got.Listen.HTTPS, ":2")
}

func TestCompletionKnowsLiveNamesAndPaths(t *testing.T) {
	n := admintest.Start(t, sites, admin.Options{})
	t.Chdir(n.Dir)
	_, out, _ := invoke(t, "__complete", "vhost", "show", "")
	contains(t, "vhosts", out, "blog.test\n", "www.shop.test\n")
	_, out, _ = invoke(t, "__complete", "tenant", "set", "")
	contains(t, "tenants", out, "blog\n", "shop\n")
	_, out, _ = invoke(t, "__complete", "vhost", "set", "blog.test", "")
	contains(t, "paths", out, "waf.mode=\n", "cache.ttl=\n", "rate=\n", "health.path=\n", "tls.certificate.cert=\n")
	t.Chdir(t.TempDir())
	code, _, _ := invoke(t, "__complete", "vhost", "show", "")
	want(t, "without a node", code, exitOK)
}

func TestVersionNamesWhatIsBuiltIn(t *testing.T) {
	code, out, _ := invoke(t, "version")
	want(t, "code", code, exitOK)
	contains(t, "table", out, "gatehouse", "commit", "go1.", "crs", "coraza", "tags")
	_, out, _ = invoke(t, "version", "-o", "json")
	var v versionInfo
	if err := json.Unmarshal([]byte(out), &v); err != nil || v.Version == "" || v.Go == "" {
		t.Errorf("%v: %s", err, out)
	}
}

func TestEveryVerbHasAnExampleAndHelp(t *testing.T) {
	root := newRootCommand(&terminal{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard})
	for _, cmd := range root.Commands() {
		for _, sub := range append(cmd.Commands(), cmd) {
			if sub.Short == "" {
				t.Errorf("%s has no help", sub.CommandPath())
			}
			if sub.Example == "" && !sub.HasSubCommands() && !sub.Hidden && cmd.Name() != "completion" {
				t.Errorf("%s has no example", sub.CommandPath())
			}
		}
	}
}

func TestCacheOfAVhostIsSetAndShown(t *testing.T) {
	n := admintest.Start(t, sites, admin.Options{})
	t.Chdir(n.Dir)
	code, _, errOut := invoke(t, "vhost", "set", "www.shop.test", "cache.stale_if_error=0s", "cache.query.ignore=utm_*,fbclid", "cache.key.device=true", "cache.bypass.paths=/wp-admin/*",
		`cache.rules=[{"paths": ["/static/*"], "status": [200], "ttl": "1h", "override": true}, {"status": [404, 503], "ttl": "10s"}, {"ttl": "0s"}]`)
	want(t, "set"+errOut, code, exitOK)
	_, out, _ := invoke(t, "vhost", "show", "www.shop.test")
	contains(t, "show", squeezed(out), "query:\nignore:\n- utm_*\n- fbclid\n", "stale_if_error: 0s\n")
	_, out, _ = invoke(t, "vhost", "show", "www.shop.test", "--effective")
	contains(t, "effective", squeezed(out), "cache.stale_if_error 0s vhost", "cache.stale_while_revalidate 0s built in", "cache.query.ignore utm_*, fbclid vhost",
		"cache.key.device true vhost", "cache.rules /static/* 200: 1h override; 404 503: 10s; all: 0s vhost")
	code, _, errOut = invoke(t, "vhost", "set", "www.shop.test", "cache.query.ignore=", "cache.query.only=,")
	want(t, "no parameters"+errOut, code, exitOK)
	_, out, _ = invoke(t, "vhost", "show", "www.shop.test", "--effective")
	contains(t, "no parameters", squeezed(out), "cache.query.only none vhost")
	_, out, _ = invoke(t, "vhost", "show", "blog.test", "--effective")
	contains(t, "by default", squeezed(out), "cache.stale_if_error 1h built in")
	for setting, says := range map[string]string{
		"cache.query.ignore=a":         "exclude each other",
		"cache.rules=/static/*":        `such as [{"paths": ["/static/*"], "ttl": "1h"}]`,
		`cache.rules=[{"ttl": "1 h"}]`: "bad duration",
		"cache.key.headers=Cookie":     "key.cookies",
		"cache.bypass.paths=admin":     `did you mean "/admin"?`,
		"cache.bypas.paths=/admin":     `did you mean "bypass"?`,
	} {
		code, _, errOut = invoke(t, "vhost", "set", "www.shop.test", setting)
		want(t, setting, code, exitFailed)
		contains(t, setting, errOut, says)
	}
}
