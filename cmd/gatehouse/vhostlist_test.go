package main

import (
	"strings"
	"testing"

	"gatehouse/admin"
	"gatehouse/admin/admintest"
)

func TestVhostListTakesNames(t *testing.T) {
	t.Parallel()
	n := admintest.Start(t, shopPaths+"  '*.blog.test': {aliases: [blog.test], backends: ['http://127.0.0.1:9003']}\n", admin.Options{})
	for names, listed := range map[string]string{
		"":                          "*.blog.test www.shop.test www.shop.test/a www.shop.test/b",
		"WWW.shop.test":             "www.shop.test www.shop.test/a www.shop.test/b",
		"www.shop.test/a":           "www.shop.test/a",
		"blog.test":                 "*.blog.test",
		"*.blog.test":               "*.blog.test",
		"*shop*/b blog.test":        "*.blog.test www.shop.test/b",
		"www.shop.test/a [ *.test":  "",
		"www.shop.test nobody.test": "",
	} {
		code, out, errOut := invoke(t, atNode(n, append([]string{"vhost", "list"}, strings.Fields(names)...)...)...)
		if listed == "" {
			want(t, names, code, exitFailed)
			contains(t, names, errOut, "there is no vhost ", "gatehouse vhost show ")
			continue
		}
		want(t, names+errOut, code, exitOK)
		var got []string
		for line := range strings.Lines(out) {
			got = append(got, strings.Fields(line)[0])
		}
		want(t, names, strings.Join(got[1:], " "), listed)
	}
}

// What is refused is called by what was wanted, and what is wrong with it.
func TestVhostAddSaysWhatIsWrongWithNamesAndRedirects(t *testing.T) {
	t.Parallel()
	n := admintest.Start(t, sites, admin.Options{})
	for args, says := range map[string]string{
		"http://www.b.test http://127.0.0.1:9":            `bad vhost name: it is a URL: write "www.b.test"`,
		"https://b.test/a/ http://127.0.0.1:9":            `bad vhost name: it is a URL: write "b.test/a"`,
		"b.test:80 http://127.0.0.1:9":                    "bad vhost name: a vhost has no port",
		"b.test http://127.0.0.1:9 --alias a:/":           "a vhost has no port",
		"b.test http://127.0.0.1:9 --alias http://a.test": `it is a URL: write "a.test"`,
		"b.test 127.0.0.1:9":                              "vhost b.test is not added: backends[0]",
		"b.test --redirect keep.test":                     `--redirect "keep.test": want a URL, such as https://keep.test`,
		"b.test --redirect ftp://keep.test":               "vhost b.test is not added: redirect.to: bad URL",
	} {
		code, _, errOut := invoke(t, atNode(n, append([]string{"vhost", "add"}, strings.Fields(args)...)...)...)
		want(t, args, code == exitOK, false)
		contains(t, args, errOut, says)
	}
	_, _, errOut := invoke(t, atNode(n, "vhost", "set", "blog.test", "balance=nonsense")...)
	contains(t, "set", errOut, "vhost blog.test is not changed: balance")
	_, _, errOut = invoke(t, atNode(n, "tenant", "set", "new", "waf.mode=nonsense")...)
	contains(t, "set", errOut, "tenant new is not added: waf.mode")
}

// What is written and not taken up has its reason in what the node shows of it, if anywhere.
func TestChangesThatDoNotComeBackLeadToTheirDocument(t *testing.T) {
	t.Parallel()
	n := admintest.Start(t, sites, admin.Options{})
	n.Store.Deafen()
	for _, kind := range []string{"vhost", "tenant"} {
		name := map[string]string{"vhost": "blog.test", "tenant": "shop"}[kind]
		_, out, _ := invoke(t, atNode(n, kind, "set", name, "waf.mode=detect")...)
		contains(t, kind, out, kind+" "+name+" changed", "the node has not taken it up yet: see gatehouse "+kind+" show "+name+"\n")
	}
}
