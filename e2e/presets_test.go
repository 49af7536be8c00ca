package e2e

import (
	"net/url"
	"strings"
	"testing"

	"gatehouse/internal/edgetest"
)

// A tenant that names its program can save with the editor, and one that lowers its profile gets what
// the profile leaves; each by one verb, live, for that tenant only; with files and with Redis.
func TestProfileAndAppsOfATenantActLive(t *testing.T) {
	t.Parallel()
	onBothStores(t, func(t *testing.T, n *node) {
		b := edgetest.NewBackend(t)
		for _, name := range []string{"shop", "blog"} {
			n.must("vhost", "add", name+".test", b.URL, "--tenant", name)
			n.must("tenant", "set", name, "waf.mode=block")
		}
		body := "content=" + url.QueryEscape(`<script src="https://player.test/x.js"></script><?php phpinfo(); ?>`)
		want := func(when, host, target string, status int) {
			t.Helper()
			got := n.postForm(host, target, body).Status
			if got != status {
				t.Errorf("%s: %s%s: %d, want %d", when, host, target, got, status)
			}
		}
		const editor = "/wp-admin/post.php"
		want("at first", "shop.test", editor, 403)

		n.must("tenant", "set", "shop", "waf.apps=wordpress,nextcloud")
		want("with the app", "shop.test", editor, 200)
		want("with the app", "shop.test", "/contact", 403)
		want("of another tenant", "blog.test", editor, 403)
		if out := n.must("vhost", "show", "shop.test", "--effective"); !strings.Contains(out, "wordpress, nextcloud") {
			t.Errorf("vhost show --effective:\n%s", out)
		}
		n.must("vhost", "set", "shop.test", "waf.apps=,")
		want("without apps for the vhost", "shop.test", editor, 403)

		n.must("tenant", "set", "shop", "waf.profile=basic")
		want("with basic", "shop.test", "/contact", 200)
		if got := n.get("shop.test", "/?q=a%0d%0aSet-Cookie:%20a=b").Status; got != 403 {
			t.Errorf("an attack on the protocol with basic: %d", got)
		}
		n.must("tenant", "set", "shop", "waf.profile=none")
		if got := n.get("shop.test", "/?q=a%0d%0aSet-Cookie:%20a=b").Status; got != 200 {
			t.Errorf("the same with none: %d", got)
		}
		want("of another tenant", "blog.test", "/contact", 403)
		if out, code := n.run("tenant", "set", "shop", "waf.profile=wordpress"); code != 1 || !strings.Contains(out, "apps: [wordpress]") {
			t.Errorf("a program as a profile: exit %d\n%s", code, out)
		}
	})
}
