package admin_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"gatehouse/admin"
	"gatehouse/admin/admintest"
)

func TestCertificatesAreAskedForStrictly(t *testing.T) {
	now := time.Now()
	held := map[string]admin.Certificate{
		"a.test":        {Name: "a.test", Issuer: "Big CA", Source: admin.SourceACME, NotAfter: now.Add(time.Hour), Fingerprint: "f1"},
		"*.shop.test":   {Name: "*.shop.test", Issuer: "StartCom", Source: admin.SourceFile, NotAfter: now.Add(100 * time.Hour)},
		"internal.test": {Name: "internal.test", Issuer: "Gatehouse", Source: admin.SourceInternal, NotAfter: now.Add(time.Hour)},
		"*":             {Name: "*", Issuer: "Gatehouse", Source: admin.SourceInternal},
	}
	var key string
	n := admintest.Start(t, twoTenants, admin.Options{Node: "n1", Certificates: admin.Certificates{
		List: func(names ...string) (out []admin.Certificate) {
			for name, c := range held {
				if len(names) == 0 || names[0] == name {
					out = append(out, c)
				}
			}
			return out
		},
		Renew: func(name string) (bool, error) {
			if held[name].Source != admin.SourceACME {
				return false, errors.New("not ordered here")
			}
			return true, nil
		},
		Import: func(_ context.Context, _, k []byte, _ ...string) ([]string, []string, error) {
			key = string(k)
			return nil, nil, errors.New("key does not match")
		},
		Remove: func(_ context.Context, names ...string) error { return nil },
	}})
	c := onSocket(t, n)
	var list admin.CertificateList
	for query, names := range map[string]string{
		"": "* *.shop.test a.test internal.test", "?issuer=START": "*.shop.test", "?expiring=2h": "a.test", "?expiring=30d": "*.shop.test a.test",
		"?name=x.shop.test": "*.shop.test", "?name=a.test&name=A.test.": "a.test", "?name=other.test": "*", "?name=*.shop.test&issuer=big": "",
	} {
		list = admin.CertificateList{}
		want(t, query, c.call("GET", "/certs"+query, "", &list), 200)
		var got []string
		for _, l := range list.Certificates {
			got = append(got, l.Name)
		}
		want(t, query, strings.Join(got, " "), names)
	}
	var text string
	for query, says := range map[string]string{"?expiring=10": "bad duration", "?expiring=0s": "more than nothing", "?isuer=x": "unknown parameter"} {
		want(t, query, c.call("GET", "/certs"+query, "", &text), 400)
		contains(t, query, text, says)
	}
	want(t, "no name", c.call("GET", "/certs?name=a..b", "", &text), 404)

	var r admin.RenewResult
	want(t, "renew", c.call("POST", "/certs/renew", `{"expiring": "30d", "by": "ops"}`, &r), 200)
	want(t, "renewed", len(r.Names), 2)
	want(t, "files", r.Names[0], admin.RenewAnswer{Name: "*.shop.test", Error: "not ordered here"})
	want(t, "ordered", r.Names[1], admin.RenewAnswer{Name: "a.test", Ordered: true, Before: "f1"})
	for path, bodies := range map[string]map[string]string{
		"/certs/renew": {
			`{}`: "by names, or by expiring", `{"names": ["a.test"], "expiring": "1d"}`: "by names, or by expiring",
			`{"expiring": "0s"}`: "by names, or by expiring", `{"names": ["a b"]}`: "bad name",
		},
		"/certs/import": {`{"cert": "x"}`: "both its chain (cert) and its private key (key)", `{"cert": "x", "key": "y", "names": [":"]}`: "bad name"},
		"/certs/remove": {`{}`: "say of which names", `{"names": [""]}`: "bad name"},
	} {
		for body, says := range bodies {
			want(t, path+body, c.call("POST", path, body, &text), 400)
			contains(t, path+body, text, says)
		}
	}
	want(t, "import", c.call("POST", "/certs/import", `{"cert": "x", "key": "hunter2"}`, &text), 422)
	contains(t, "import", text, "key does not match")
	want(t, "key", key, "hunter2")
	want(t, "on the operations listener", onTCP(t, n.Public).call("GET", "/certs", "", &text), 404)
	want(t, "import on the operations listener", onTCP(t, n.Public).call("POST", "/certs/import", "{}", &text), 404)
}

// A row that no vhost has the name of is shown for a host one label below it that somebody answers for, and needs no record of DNS.
func TestImportedWildcardThatNoVhostHasIsFoundByItsHosts(t *testing.T) {
	t.Parallel()
	const pattern = "*.shop.test"
	n := admintest.Start(t, twoTenants+"  \"*.my.shop.test\": {tenant: shop, backends: [http://127.0.0.1:9000]}\n", admin.Options{Certificates: admin.Certificates{
		List: func(names ...string) []admin.Certificate {
			if len(names) == 0 || names[0] == pattern {
				return []admin.Certificate{{Name: pattern, Source: admin.SourceImported, NoVhost: true}}
			}
			return nil
		},
	}})
	c := onSocket(t, n)
	for name, status := range map[string]int{pattern: 200, "www.shop.test": 200, "nobody.shop.test": 404, "x.my.shop.test": 404} {
		want(t, name, c.call("GET", "/certs?name="+name, "", nil), status)
	}
}

// A path vhost has no certificate of its own: who names one is told of its host.
func TestCertVerbsHintAtTheHostOfAPathVhost(t *testing.T) {
	t.Parallel()
	n := admintest.Start(t, twoTenants, admin.Options{Certificates: admin.Certificates{
		List:  func(...string) []admin.Certificate { return nil },
		Renew: func(string) (bool, error) { return true, nil },
	}})
	c := onSocket(t, n)
	var f admin.Failure
	want(t, "renew", c.call("POST", "/certs/renew", `{"names": ["www.shop.test/blog"]}`, &f), 400)
	want(t, "renew", f.Error, "a path vhost has its host's certificate: say www.shop.test")
	f = admin.Failure{}
	want(t, "list", c.call("GET", "/certs?name=www.shop.test/blog", "", &f), 400)
	want(t, "list", f.Error, "a path vhost has its host's certificate: say www.shop.test")
}
