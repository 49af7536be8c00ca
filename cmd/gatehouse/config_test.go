package main

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/routes"
)

// load writes text as gatehouse.yaml into a folder of its own and loads it.
func load(t *testing.T, text string, environ []string, flags map[string]string) (*Config, routes.Problems) {
	t.Helper()
	file := filepath.Join(t.TempDir(), configFile)
	write(t, file, text)
	return loadConfig(file, true, environ, flags)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func want[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func contains(t *testing.T, what, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%s: %q is not in\n%s", what, part, text)
		}
	}
}

func TestDefaultsAreGoodAndThoseOfTheDesign(t *testing.T) {
	t.Chdir(t.TempDir())
	cfg, problems := loadConfig(configFile, false, nil, nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want(t, "node", cfg.Node, hostName())
	want(t, "socket", cfg.Socket(), "data/gatehouse.sock")
	dir, ok := cfg.RoutesDir()
	want(t, "routes", dir, "conf.d")
	want(t, "in files", ok, true)
	var got []string
	for _, s := range settings {
		if text := cfg.text(s.path); text != "" && s.path != "node" {
			got = append(got, s.path+"="+text)
		}
	}
	want(t, "defaults", strings.Join(got, "\n"), strings.TrimSpace(`
listen.http=:8080
listen.https=:8443
listen.admin=127.0.0.1:9180
listen.public_https=443
data=./data
routes=file:conf.d
certificates.issuer=internal
certificates.acme.directory=https://acme-v02.api.letsencrypt.org/directory
certificates.acme.challenge=auto
certificates.acme.dns_update.ttl=1m
certificates.acme.dns_update.timeout=2m
certificates.acme.orders_per_tenant=100
tls.ech.rotate=30d
defaults.waf.mode=detect
addresses.refresh=1h
cache.memory=256MiB
cache.snapshot=true
waf.crs=embedded
waf.gate=on
waf.shadow=1000
compat=none
log.access.format=combined
log.access.to=stdout
log.level=info
limits.header_bytes=32KiB
limits.target_bytes=8KiB
limits.header_fields=100
limits.body_bytes=100MiB
limits.connections_per_ip=256
limits.keepalive_requests=1000
limits.connection_age=1h
limits.idle_timeout=1m15s
limits.handshake_timeout=10s
limits.header_timeout=10s
limits.stall_timeout=30s
limits.min_rate=1KiB
limits.tenant_concurrency=256
limits.tenant_queue=256
limits.queue_timeout=5s
limits.response_header_bytes=64KiB
limits.response_header_fields=200
limits.drain_accept=5s
limits.drain_grace=30s`))
}

func TestEverySettingIsReadFromTheFile(t *testing.T) {
	cfg, problems := load(t, `
listen: {http: "", https: "[::1]:8443", admin: "localhost:0", public_https: 8443}
node: edge-1
data: /srv/data
routes: redis://127.0.0.1:6379/2#gh
certificates: {issuer: acme, acme: {directory: "https://ca.test/dir", email: ops@example.com, trust: ca.pem, eab: {kid: k1, hmac: c2VjcmV0}}, webhook: "https://hooks.test/x"}
tls: {ech: {public_name: Front.example.com, rotate: 7d}}
seal_keys: ["0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f"]
trusted_proxies: [10.0.0.0/8, 192.0.2.1]
proxy_protocol: true
defaults: {waf: {mode: block, paranoia: 2}}
cache: {memory: 1GiB}
waf: {gate: off, shadow: 0}
log: {access: {format: json, to: access.log}, level: debug}
limits:
  {header_bytes: 16KiB, target_bytes: 4KiB, header_fields: 50, body_bytes: 0, connections: 5000, connections_per_ip: 0, keepalive_requests: 0,
   connection_age: 0s, idle_timeout: 60s, handshake_timeout: 5s, header_timeout: 6s, stall_timeout: 1m, min_rate: 0,
   tenant_concurrency: 0, tenant_queue: 0, queue_timeout: 1s,
   response_header_bytes: 32KiB, response_header_fields: 100, drain_accept: 0s, drain_grace: 20s}
`, nil, nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	folder := filepath.Dir(cfg.File)
	want(t, "http off", cfg.Listen.HTTP, "")
	want(t, "https", cfg.Listen.HTTPS, "[::1]:8443")
	want(t, "port", cfg.Listen.PublicHTTPS, 8443)
	want(t, "data", cfg.Data, "/srv/data")
	want(t, "public name", cfg.TLS.ECH.PublicName, "front.example.com")
	want(t, "rotation", time.Duration(cfg.TLS.ECH.Rotate), 7*24*time.Hour)
	_, inFiles := cfg.RoutesDir()
	want(t, "routes in Redis", inFiles, false)
	want(t, "trust beside the file", cfg.Certificates.ACME.Trust, filepath.Join(folder, "ca.pem"))
	want(t, "eab", cfg.Certificates.ACME.EAB, EAB{"k1", "c2VjcmV0"})
	want(t, "webhook", cfg.Certificates.Webhook, "https://hooks.test/x")
	want(t, "networks", len(cfg.Trusted()), 2)
	want(t, "one address", cfg.Trusted()[1].String(), "192.0.2.1/32")
	want(t, "defaults", cfg.Defaults.WAF.Mode, "block")
	want(t, "cache", cfg.Cache.Memory, 1<<30)
	want(t, "gate", cfg.WAF, WAFConfig{CRS: embeddedCRS, Gate: "off"})
	want(t, "log file beside the file", cfg.Log.Access.To, filepath.Join(folder, "access.log"))
	want(t, "PROXY protocol", cfg.ProxyProtocol, true)
	second := routes.Duration(time.Second)
	want(t, "limits", cfg.Limits, Limits{
		HeaderBytes: 16 << 10, TargetBytes: 4 << 10, HeaderFields: 50, Connections: 5000,
		IdleTimeout: 60 * second, HandshakeTimeout: 5 * second, HeaderTimeout: 6 * second, StallTimeout: 60 * second,
		QueueTimeout: second, ResponseHeaderBytes: 32 << 10, ResponseHeaderFields: 100, DrainGrace: 20 * second,
	})
}

func TestEnvironmentOverridesTheFileAndFlagsOverrideBoth(t *testing.T) {
	text := "listen: {https: ':1', http: ':2', admin: ':3'}\n"
	cfg, problems := load(t, text,
		[]string{"PATH=/bin", "GATEHOUSE_LISTEN_HTTP=:22", "GATEHOUSE_LISTEN_ADMIN=:33", "GATEHOUSE_TRUSTED_PROXIES=10.0.0.0/8, 192.0.2.1", "GATEHOUSE_DEFAULTS_WAF_PARANOIA=3", "GATEHOUSE_CACHE_MEMORY=2MiB"},
		map[string]string{"listen.admin": "", "defaults.waf.responses": "true"})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want(t, "file", cfg.Listen.HTTPS, ":1")
	want(t, "environment", cfg.Listen.HTTP, ":22")
	want(t, "flag", cfg.Listen.Admin, "")
	want(t, "list", len(cfg.TrustedProxies), 2)
	want(t, "number below a pointer", cfg.Defaults.WAF.Paranoia, 3)
	want(t, "switch below a pointer", *cfg.Defaults.WAF.Responses, true)
	want(t, "default beside it kept", cfg.Defaults.WAF.Mode, "detect")
	want(t, "size", cfg.Cache.Memory, 2<<20)
}

func TestEveryVariableIsNamedAfterItsPath(t *testing.T) {
	names := map[string]string{}
	for _, s := range settings {
		if other, twice := names[s.env()]; twice {
			t.Errorf("%s and %s have the same variable", s.path, other)
		}
		names[s.env()] = s.path
	}
	want(t, "nested", names["GATEHOUSE_CERTIFICATES_ACME_EAB_HMAC"], "certificates.acme.eab.hmac")
	want(t, "underscore", names["GATEHOUSE_LISTEN_PUBLIC_HTTPS"], "listen.public_https")
}

func TestVariableWithFILEReadsAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hmac")
	write(t, file, "c2VjcmV0\n")
	cfg, problems := load(t, "", []string{"GATEHOUSE_CERTIFICATES_ACME_EAB_HMAC_FILE=" + file, "GATEHOUSE_CERTIFICATES_ACME_EAB_KID=k"}, nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want(t, "hmac", cfg.Certificates.ACME.EAB.HMAC, "c2VjcmV0")
	_, problems = load(t, "", []string{"GATEHOUSE_NODE=a", "GATEHOUSE_NODE_FILE=" + file}, nil)
	contains(t, "both", problems.Error(), "GATEHOUSE_NODE_FILE: set by GATEHOUSE_NODE too")
	_, problems = load(t, "", []string{"GATEHOUSE_NODE_FILE=" + file + "x"}, nil)
	contains(t, "absent", problems.Error(), "GATEHOUSE_NODE_FILE: ", "no such file")
}

func TestUnknownVariableIsAnErrorWithAGuess(t *testing.T) {
	_, problems := load(t, "", []string{"GATEHOUSE_LISTEN_HTPS=:1", "GATEHOUSE_FOO=1"}, nil)
	contains(t, "guess", problems.Error(), `GATEHOUSE_LISTEN_HTPS: no setting has this name (did you mean "GATEHOUSE_LISTEN_HTTPS"?)`,
		"GATEHOUSE_FOO: no setting has this name")
}

// Kubernetes puts these into every container of a namespace with a service
// "gatehouse", and Docker links put theirs.
func TestVariablesOfContainerEnginesAreNoSettings(t *testing.T) {
	_, problems := load(t, "", []string{
		"GATEHOUSE_SERVICE_HOST=10.0.0.1", "GATEHOUSE_SERVICE_PORT=443", "GATEHOUSE_SERVICE_PORT_HTTPS=443",
		"GATEHOUSE_PORT=tcp://10.0.0.1:443", "GATEHOUSE_PORT_443_TCP=tcp://10.0.0.1:443", "GATEHOUSE_PORT_443_TCP_ADDR=10.0.0.1",
		"GATEHOUSE_NAME=/app/gatehouse",
	}, nil)
	if len(problems) > 0 {
		t.Error(problems)
	}
}

func TestBadValuesNameWhereTheyWereGiven(t *testing.T) {
	_, problems := load(t, "listen: {http: ':1'}\n", []string{"GATEHOUSE_LISTEN_HTTPS=8443", "GATEHOUSE_PROXY_PROTOCOL=yes"},
		map[string]string{"limits.header_fields": "many", "waf.gate": "onn", "waf.shadow": "-1", "trusted_proxies": "10.0.0.0/33"})
	contains(t, "problems", problems.Error(),
		`GATEHOUSE_LISTEN_HTTPS: bad address "8443": want host:port or :port, such as ":8443" (did you mean ":8443"?)`,
		`GATEHOUSE_PROXY_PROTOCOL: want true or false, not "yes"`,
		`--limits.header_fields: want a whole number, not "many"`,
		`--waf.gate: bad value "onn": want on, shadow, off (did you mean "on"?)`,
		`--waf.shadow: bad number "-1": want 0 (none) or more (one of so many requests)`,
		`--trusted_proxies: bad network "10.0.0.0/33"`)
	want(t, "number", len(problems), 6)
}

// There is no tenant's document that would have to be changed to open the sites again.
func TestDefaultsSuspendNobody(t *testing.T) {
	for _, value := range []string{"true", "false"} {
		_, problems := load(t, "defaults:\n  suspended: "+value+"\n", nil, nil)
		contains(t, value, problems.Error(), ":2:14: defaults.suspended: only a tenant's or a vhost's document can say that")
	}
	for _, s := range settings {
		if s.path == "defaults.suspended" {
			t.Error("it is a setting that always fails")
		}
	}
}

// To many readers of YAML the words on and off without quotes are switches.
func TestGateIsSetByWords(t *testing.T) {
	for text, mode := range map[string]string{
		"{gate: on}": "on", "{gate: off}": "off", "{gate: shadow}": "shadow", `{gate: "on"}`: "on", "{gate: 'off'}": "off", "{}": "on",
	} {
		cfg, problems := load(t, "waf: "+text+"\n", nil, nil)
		if len(problems) > 0 {
			t.Error(text, problems)
		}
		want(t, text, cfg.WAF.Gate, mode)
	}
	for text, message := range map[string]string{
		"{gate: true}":    `1:13: waf.gate: bad value "true": want on, shadow, off (did you mean "on"?)`,
		"{gate: no}":      `waf.gate: bad value "no": want on, shadow, off (did you mean "off"?)`,
		"{gate: shadwo}":  `waf.gate: bad value "shadwo": want on, shadow, off (did you mean "shadow"?)`,
		"{gate: ''}":      `waf.gate: bad value "": want on, shadow, off`,
		"{shadow: -5}":    `1:15: waf.shadow: bad number "-5": want 0 (none) or more (one of so many requests)`,
		"{shadow: often}": `waf.shadow: want a whole number, not "often"`,
		"{shadows: 5}":    `unknown key "shadows" in waf (did you mean "shadow"?)`,
	} {
		_, problems := load(t, "waf: "+text+"\n", nil, nil)
		contains(t, text, problems.Error(), message)
	}
	cfg, problems := load(t, "waf: {gate: on, shadow: 7}\n", []string{"GATEHOUSE_WAF_GATE=off"}, map[string]string{"waf.shadow": "0"})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want(t, "by variable and flag", cfg.WAF, WAFConfig{CRS: embeddedCRS, Gate: "off"})
}

func TestPathsBelongToTheFileThatNamesThem(t *testing.T) {
	cfg, problems := load(t, "data: state\n", []string{"GATEHOUSE_ROUTES=file:sites"}, map[string]string{"certificates.acme.trust": "ca.pem"})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	folder := filepath.Dir(cfg.File)
	want(t, "data of the file", cfg.Data, filepath.Join(folder, "state"))
	want(t, "routes of the environment", cfg.Routes, "file:sites")
	want(t, "trust of a flag", cfg.Certificates.ACME.Trust, "ca.pem")
	cfg, _ = load(t, "", nil, nil)
	want(t, "default", cfg.Routes, "file:"+filepath.Join(filepath.Dir(cfg.File), "conf.d"))
}

func TestListenersMustDiffer(t *testing.T) {
	_, problems := load(t, "listen: {http: ':80', https: ':80', admin: ''}\n", nil, nil)
	contains(t, "same", problems.Error(), "listen.https: listen.http has the address :80 already")
	_, problems = load(t, "listen: {http: '', https: ''}\n", nil, nil)
	contains(t, "none", problems.Error(), "listen: both http and https are off")
	_, problems = load(t, "listen: {http: ':0', https: ':0', admin: ':0'}\n", nil, nil)
	want(t, "any free port", len(problems), 0)
	for _, bad := range []string{"1.2.3:80", "300.1.1.1:80", "a b:80", ":http", "[::1]", "host:"} {
		_, problems = load(t, "listen: {http: '"+bad+"'}\n", nil, nil)
		want(t, bad, len(problems), 1)
	}
}

func TestRoutesMustBeAFolderOrRedis(t *testing.T) {
	for routes, good := range map[string]bool{
		"file:conf.d": true, "redis://h:1": true, "rediss://h": true, "redis+sentinel://a,b/m": true,
		"redis+cluster://a,b": true,
		"file:":               false, "conf.d": false, "http://h": false, "redis://": false, "": false,
	} {
		_, problems := load(t, "routes: '"+routes+"'\n", nil, nil)
		want(t, routes, len(problems) == 0, good)
	}
}

func TestFileThatIsNamedMustBeThere(t *testing.T) {
	cfg, problems := loadConfig(filepath.Join(t.TempDir(), "x.yaml"), true, nil, nil)
	want(t, "config", cfg, nil)
	contains(t, "problem", problems.Error(), "x.yaml: cannot be read: no such file or directory")
	cfg, problems = load(t, "listen: [\n", nil, nil)
	want(t, "not YAML", cfg, nil)
	contains(t, "problem", problems.Error(), "not YAML")
}

func TestSecretsStayOutOfExcerpts(t *testing.T) {
	for _, text := range []string{
		"redis: http://user:hunter2@h:1\n",
		"certificates: {acme: {eab: {kid: k, hmac: '!hunter2!'}}}\n",
		"seal_keys: [hunter2]\n",
		"certificates: {webhook: 'http://hooks.test/hunter2'}\n",
		"certificates: {webhook: hunter2}\n",
		"certificates: {acme: {dns_update: {server: ns1.test, key_name: k, key: 'hunter2!'}}}\n",
		"certificates:\n  acme:\n    dns_update:\n      server: ns1.test\n      key_name: k\n      key: 'hunter2!'\n",
	} {
		_, problems := load(t, text, nil, nil)
		want(t, text, len(problems), 1)
		if p := problems[0]; strings.Contains(p.Error()+p.Excerpt, "hunter2") {
			t.Errorf("the secret is shown: %v\n%s", p, p.Excerpt)
		}
	}
}

// A setting that cannot be given as text would have no flag and no variable.
func TestEverySettingCanBeGivenAsText(t *testing.T) {
	for _, s := range settings {
		text := map[reflect.Kind]string{reflect.Bool: "true", reflect.Int: "1", reflect.Int64: "1MiB"}[s.kind.Kind()]
		switch {
		case s.kind == reflect.TypeFor[[]routes.Exclusion]():
			text = `[{rules: [942100], target: "ARGS:q"}]`
		case s.kind == reflect.TypeFor[routes.Rates]():
			text = `{requests: 100, per: 1m, key: "header:X-Api-Key"}`
		case s.kind.Kind() == reflect.Slice:
			text = "192.0.2.1"
		case s.kind == reflect.TypeFor[routes.Duration]():
			text = "1m"
		}
		err := defaultConfig().assign(s.path, text)
		if err != nil {
			t.Errorf("%s: %v", s.path, err)
		}
	}
	if slices.IndexFunc(settings, func(s setting) bool { return s.help == "" }) >= 0 {
		t.Error("a setting has no help text")
	}
}

func FuzzLoadConfig(f *testing.F) {
	for _, seed := range []string{"listen: {http: ':1'}", "routes: [", "trusted_proxies: [::/0]", "limits: {body_bytes: 1GiB}", "defaults:\n  waf: {mode: off}", "? a", "&a [*a]"} {
		f.Add([]byte(seed))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, source []byte) {
		file := filepath.Join(dir, configFile)
		if err := os.WriteFile(file, source, 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, problems := loadConfig(file, true, nil, nil)
		if cfg == nil && len(problems) == 0 {
			t.Error("neither settings nor a problem")
		}
		for _, p := range problems {
			if p.Reason == "" {
				t.Errorf("a problem without a reason: %+v", p)
			}
		}
		holdsSettings(source)
	})
}
