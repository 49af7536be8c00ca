package main

import (
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gatehouse/admin"
	"gatehouse/admin/admintest"
	"gatehouse/routes"
)

// routeOf is the route of vhost a.test in a table of these documents.
func routeOf(t *testing.T, yaml string) *routes.Route {
	t.Helper()
	docs, problems := routes.ParseFile("a.yaml", []byte(yaml))
	var changes []routes.Change
	for i := range docs {
		problems = append(problems, docs[i].Problems...)
		changes = append(changes, docs[i].Change())
	}
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	table, _ := (&routes.Table{}).With(changes)
	return table.Vhost("a.test")
}

// What check says of files is said of a vhost wherever it stands, Redis too.
func TestNodesWarnOfWhatCheckWarnsOf(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	settings := func(yaml string) *node {
		cfg, problems := load(t, yaml, nil, nil)
		if err := problems.Err(); err != nil {
			t.Fatal(err)
		}
		return &node{cfg: cfg, http: ln}
	}
	open, closed := settings("node: n1\n"), settings("backends: {deny: [loopback, private, unix], allow: [127.0.0.2]}\n")
	for name, c := range map[string]struct {
		node  *node
		vhost string
		says  []string // parts of the problems, in their order
	}{
		"nothing":               {open, "backends: ['http://127.0.0.1:1', 'http://10.9.9.9', 'unix:/run/app.sock']", nil},
		"a name, not looked up": {closed, "backends: ['http://localhost:1']", nil},
		"denied": {closed, "backends: ['http://127.0.0.2', 'http://127.0.0.1:9', 'http://10.9.9.9', 'unix:/run/app.sock']", []string{
			"backends[1]: backends.deny has loopback: requests that come here are answered 502", "backends[2]: backends.deny has private", "backends[3]: backends.deny has unix",
		}},
		"the node itself":    {open, "backends: ['http://" + ln.Addr().String() + "']", []string{"backends[0]: it is this node's own listener, socket or Redis: requests that come here are answered 502"}},
		"verified by nobody": {open, "backends: [{url: 'https://10.9.9.9', tls: {verify: false}}]", []string{"backends[0].tls.verify: any certificate is taken"}},
		"header fields": {open, "backends: ['http://10.9.9.9'], headers: {request: {set: {X-A: $host}}, response: {add: {X-B: '{host}'}}}", []string{
			"headers.request.set.X-A: sent as it stands, $host", "headers.response.add.X-B: sent as it stands, {host}",
		}},
		"redirect":    {open, "redirect: {to: 'https://www.rd.test/{path}'}", []string{"redirect.to: sent as it stands, https://www.rd.test/{path}: there are no variables"}},
		"allow alone": {open, "backends: ['http://10.9.9.9'], addresses: {allow: [192.0.2.1]}", []string{"addresses.allow: keeps nobody out"}},
	} {
		var got []string
		for _, p := range c.node.vhostProblems(routeOf(t, "vhosts: {a.test: {"+c.vhost+"}}")) {
			got = append(got, p.Error())
		}
		if !slices.EqualFunc(got, c.says, strings.HasPrefix) {
			t.Errorf("%s: %q, want %q", name, got, c.says)
		}
	}
}

// An allow keeps all others out where everybody is denied behind it, and says more of somebody where he is.
func TestAllowWithoutDenyIsWarnedOfWhereNobodyElseClosesTheSite(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		settings, tenant, vhost string
		warned                  bool
	}{
		"alone":                            {"", "", "allow: [127.0.0.8]", true},
		"all denied beside it":             {"", "", "allow: [127.0.0.8], deny: [all]", false},
		"an exception beside it":           {"", "", "allow: [127.0.0.8], deny: [127.0.0.0/8]", false},
		"no allow":                         {"", "", "deny: [127.0.0.8]", false},
		"all allowed":                      {"addresses: {deny: [192.0.2.0/24]}", "", "allow: [all]", false},
		"a drop list of the process":       {"addresses: {deny: ['file:drop.txt']}", "", "allow: [127.0.0.8]", true},
		"networks of the process":          {"addresses: {deny: [192.0.2.0/24]}", "", "allow: [127.0.0.8]", true},
		"an exception to the process":      {"addresses: {deny: [192.0.2.0/24]}", "", "allow: [192.0.2.7]", false},
		"closed by the process":            {"addresses: {deny: [all]}", "", "allow: ['file:drop.txt']", false},
		"closed for both families":         {"addresses: {deny: [0.0.0.0/0, '::/0']}", "", "allow: ['file:drop.txt']", false},
		"a drop list of the tenant":        {"", "deny: ['file:drop.txt']", "allow: [127.0.0.8]", true},
		"an exception to the tenant":       {"", "deny: [127.0.0.0/8]", "allow: [127.0.0.8]", false},
		"closed by the tenant":             {"", "deny: [all]", "allow: [127.0.0.8]", false},
		"opened by the tenant":             {"addresses: {deny: [all]}", "allow: [all]", "allow: [127.0.0.8]", true},
		"closed by the defaults":           {"defaults: {addresses: {deny: [all]}}", "", "allow: [127.0.0.8]", false},
		"defaults in a tenant's place":     {"defaults: {addresses: {deny: [all]}}", "deny: [192.0.2.0/24]", "allow: [127.0.0.8]", true},
		"the tenant's, beside the process": {"addresses: {deny: ['file:drop.txt']}", "deny: [all]", "allow: [127.0.0.8]", false},
	} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "drop.txt"), "203.0.113.0/24\n")
		write(t, filepath.Join(dir, configFile), c.settings+"\nnode: n1\n")
		vhost, yaml := "backends: ['http://10.9.9.9'], addresses: {"+strings.ReplaceAll(c.vhost, "drop.txt", "../drop.txt")+"}", ""
		if c.tenant != "" {
			yaml, vhost = "tenants: {shop: {addresses: {"+strings.ReplaceAll(c.tenant, "drop.txt", "../drop.txt")+"}}}\n", "tenant: shop, "+vhost
		}
		yaml += "vhosts: {a.test: {" + vhost + "}}\n"
		write(t, filepath.Join(dir, "conf.d", "a.yaml"), yaml)
		code, out, _ := invoke(t, "check", filepath.Join(dir, configFile), filepath.Join(dir, "conf.d"))
		if code != exitOK || strings.Contains(out, "addresses.allow: keeps nobody out") != c.warned {
			t.Errorf("check, %s: exit %d:\n%s", name, code, out)
		}
		cfg, _ := load(t, c.settings, nil, nil)
		if got := (&node{cfg: cfg}).vhostProblems(routeOf(t, yaml)); (len(got) == 1) != c.warned {
			t.Errorf("node, %s: %v", name, got)
		}
	}
}

// A suspended vhost is shown as such, whatever else could be said of it.
func TestSuspendedVhostsWithWarningsAreShownAsSuspended(t *testing.T) {
	n := admintest.Start(t, "vhosts: {a.test: {suspended: true, backends: ['http://10.9.9.9']}}\n", admin.Options{
		VhostProblems: func(*routes.Route) routes.Problems { return routes.Problems{{Field: "backends[0]", Reason: "denied"}} },
	})
	t.Chdir(n.Dir)
	_, out, _ := invoke(t, "vhost", "list")
	contains(t, "list", squeezed(out), "off suspended")
	_, out, _ = invoke(t, "vhost", "show", "a.test")
	contains(t, "show", out, "# problem: backends[0]: denied\n")
	_, _, errOut := invoke(t, "vhost", "set", "a.test", "suspended=")
	want(t, "set", errOut, "warning: vhost a.test: backends[0]: denied\n")
	_, out, _ = invoke(t, "vhost", "list")
	contains(t, "list", squeezed(out), "off warning: backends[0]: denied")
}
