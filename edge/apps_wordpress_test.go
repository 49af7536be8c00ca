package edge

import "testing"

func TestAppWordPress(t *testing.T) {
	override := [][2]string{{"X-HTTP-Method-Override", "PUT"}, {"X-WP-Nonce", "0123456789"}}
	testApp(t, "wordpress", []appAsk{
		{
			name: "block editor saves a post", request: "POST /wp-json/wp/v2/posts/12?_locale=user", kind: jsonType, header: override,
			body: `{"id":12,"title":"Backups; ls -la","content":` + quoted("<!-- wp:html -->"+markup+"<!-- /wp:html --><!-- wp:code -->"+code+"<!-- /wp:code -->") + `,"excerpt":` + quoted(markup) + `}`,
		},
		{name: "attributes of blocks", request: "POST /wp-json/wp/v2/posts/12", kind: jsonType, body: `{"content":"<!-- wp:x {\"label\":\"\u003cb\u003eNew\u003c/b\u003e\"} /-->"}`},
		{
			name: "block editor in a folder", request: "POST /blog/wp-json/wp/v2/posts/12/autosaves?_locale=user", kind: jsonType,
			body: `{"id":12,"content":` + quoted(markup+code) + `}`,
		},
		{name: "block editor deletes", request: "DELETE /wp-json/wp/v2/posts/12?force=true"},
		{
			name: "block editor at level 2", level: 2, request: "POST /wp-json/wp/v2/posts/12?_locale=user", kind: jsonType, header: override,
			body: `{"id":12,"content":` + quoted(markup+code) + `}`,
		},
		{
			name: "global styles", request: "POST /wp-json/wp/v2/global-styles/5?_locale=user", kind: jsonType, header: override,
			body: `{"id":5,"styles":{"css":"a{background:url('data:image/svg+xml;<svg onload=1>')}","blocks":{"core/code":{"css":"<style>"}}}}`,
		},
		{
			name: "widget of blocks", request: "POST /wp-json/wp/v2/widgets/block-2?_locale=user", kind: jsonType, header: override,
			body: `{"id":"block-2","instance":{"raw":{"content":` + quoted(markup) + `}}}`,
		},
		{
			name: "batch of the widgets page", request: "POST /wp-json/batch/v1?_locale=user", kind: jsonType,
			body: `{"requests":[{"path":"/wp/v2/widgets/block-2","method":"PUT","body":{"instance":{"raw":{"content":` + quoted(markup) + `}}}}]}`,
		},
		{
			name: "preview of a block", request: "POST /wp-json/wp/v2/block-renderer/core/latest-posts?context=edit", kind: jsonType,
			body: `{"attributes":{"content":` + quoted(markup) + `}}`,
		},
		{
			name: "picture by REST", request: "POST /wp-json/wp/v2/media", kind: "image/png", body: "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00&;=<?php %00",
			header: [][2]string{{"Content-Disposition", `attachment; filename="cat.png"`}},
		},
		{
			name: "application password", request: "POST /wp-json/wp/v2/users/me/application-passwords?_locale=user", kind: jsonType,
			body: `{"name":"phone; ls -la /home"}`,
		},
		{name: "profile by REST", request: "POST /wp-json/wp/v2/users/3?_locale=user", kind: jsonType, body: `{"password":` + quoted(password) + `,"description":` + quoted(markup) + `}`},
		{name: "classic editor", request: "POST /wp-admin/post.php", body: formOf("_wpnonce", "0123456789", "_wp_http_referer", "/wp-admin/post.php?post=12&action=edit",
			"action", "editpost", "post_ID", "12", "post_title", "Backups; ls -la", "content", markup+code, "excerpt", markup, "metavalue", code, "tax_input[post_tag]", "a,b")},
		{name: "classic editor at level 2", level: 2, request: "POST /wp-admin/post.php", body: formOf("_wp_http_referer", "/wp-admin/post.php?post=12&action=edit", "content", markup+code)},
		{name: "classic editor in a folder", request: "POST /blog/wp-admin/post.php", body: formOf("content", markup+code)},
		{name: "fields of a form builder", request: "POST /wp-admin/post.php", body: formOf("action", "editpost", "acf[field_5f3]", markup)},
		{name: "autosave by heartbeat", request: "POST /wp-admin/admin-ajax.php", body: formOf("action", "heartbeat", "data[wp_autosave][post_title]", "a; ls -la", "data[wp_autosave][content]", markup+code, "data[wp_autosave][excerpt]", markup)},
		{name: "customizer", request: "POST /wp-admin/admin-ajax.php", body: formOf("action", "customize_save", "wp_customize", "on", "customized", `{"custom_css[x]":{"value":"a{}</style>"},"widget_text":{"value":`+quoted(markup)+`}}`)},
		{name: "classic widget", request: "POST /wp-admin/admin-ajax.php", body: formOf("action", "save-widget", "widget-text[2][text]", markup, "widget-custom_html[3][content]", markup)},
		{name: "file editor of plugins", request: "POST /wp-admin/admin-ajax.php", body: formOf("action", "edit-theme-plugin-file", "plugin", "hello.php", "file", "hello.php", "newcontent", code)},
		{name: "file editor of themes, without script", request: "POST /wp-admin/theme-editor.php", body: formOf("action", "update", "file", "functions.php", "theme", "x", "newcontent", code)},
		{name: "settings", request: "POST /wp-admin/options.php", body: formOf("option_page", "general", "blogdescription", markup, "mailserver_pass", password, "ping_sites", "http://192.0.2.9/ping?x=1")},
		{name: "settings of a plugin", request: "POST /wp-admin/admin.php?page=ads", body: formOf("header_code", markup)},
		{name: "category", request: "POST /wp-admin/edit-tags.php", body: formOf("action", "editedtag", "description", markup)},
		{name: "an editor answers a comment", request: "POST /wp-admin/admin-ajax.php", body: formOf("action", "replyto-comment", "content", "<b>Try</b> cat /etc/hosts; ls -la", "comment_post_ID", "1")},
		{name: "an editor changes a comment", request: "POST /wp-admin/comment.php", body: formOf("action", "editedcomment", "content", markup, "newcomment_author", "Ann")},
		{name: "import", request: "POST /wp-admin/admin.php?import=wordpress&step=1", kind: appMultipart, body: multipart("import_notes", markup)},
		{name: "own profile", request: "POST /wp-admin/profile.php", body: formOf("pass1", password, "pass2", password, "description", markup)},
		{name: "new user", request: "POST /wp-admin/user-new.php", body: formOf("user_login", "ann", "pass1", password, "pass2", password)},
		{name: "log in", request: "POST /wp-login.php", body: formOf("log", "ann", "pwd", password, "wp-submit", "Log In", "redirect_to", "https://shop.test/wp-admin/", "testcookie", "1")},
		{name: "log in at level 2", level: 2, request: "POST /wp-login.php", body: formOf("log", "ann", "pwd", password, "redirect_to", "https://shop.test/wp-admin/")},
		{name: "log in for a page", level: 2, request: "GET /wp-login.php?redirect_to=https%3A%2F%2Fshop.test%2Fwp-admin%2F&reauth=1"},
		{name: "new password", request: "POST /wp-login.php?action=resetpass", body: formOf("pass1", password, "pass1-text", password, "pass2", password, "rp_key", "0123456789")},
		{name: "password of a page", request: "POST /wp-login.php?action=postpass", body: formOf("post_password", password, "Submit", "Enter")},
		{name: "set up", request: "POST /wp-admin/install.php?step=2", body: formOf("weblog_title", "Shop", "admin_password", password, "admin_password2", password)},
		{name: "reader comments on code", request: "POST /wp-comments-post.php", body: formOf("author", "Ann", "email", "ann@test.test", "url", "", "comment", "I ran `cat /etc/hosts; ls -la` and <?php phpinfo(); ?> says otherwise", "comment_post_ID", "1")},
		{name: "program posts by XML-RPC", request: "POST /xmlrpc.php", kind: xmlType, body: `<?xml version="1.0"?><methodCall><methodName>metaWeblog.newPost</methodName><params><param><value><string>ann</string></value></param><param><value><struct><member><name>description</name><value><string>` + escaped(markup+code) + `</string></value></member></struct></value></param></params></methodCall>`},
		{name: "scripts joined", level: 2, request: "GET /wp-admin/load-scripts.php?c=1&load%5Bchunk_0%5D=jquery-core,jquery-migrate,utils,moxiejs,plupload&load%5Bchunk_1%5D=a,b,c,d&ver=6.5"},
	}, wordpressAttacks())
}

func wordpressAttacks() []appAsk {
	list := []appAsk{
		{name: "behind another program's name", request: "POST /vulnerable.php/wp-admin/post.php", body: formOf("s", attacks["SQL injection"])},
		{name: "enumeration of users by REST search", request: "GET /wp-json/wp/v2/users?search=admin%27+OR+%271%27%3D%271"},
		{name: "plugin's file by path", request: "GET /wp-content/plugins/x/download.php?file=../../../wp-config.php"},
		{name: "theme's file by path", request: "GET /wp-content/themes/x/css.php?path=../../../../etc/passwd"},
		{name: "admin-ajax of a slider", request: "GET /wp-admin/admin-ajax.php?action=revslider_show_image&img=../wp-config.php"},
		{name: "wp-config's copy", request: "GET /wp-config.php.bak"},
		{name: "PUT elsewhere", request: "PUT /wp-content/uploads/x.php", body: "a=b"},
		{name: "upload of a program", request: "POST /wp-admin/async-upload.php", kind: appMultipart, body: "--b\r\nContent-Disposition: form-data; name=\"async-upload\"; filename=\"x.php\"\r\nContent-Type: image/png\r\n\r\nx\r\n--b--\r\n"},
		{name: "scanner", request: "GET /wp-login.php", header: [][2]string{{"User-Agent", "sqlmap/1.7"}}},
		{name: "in a cookie of the editor", request: "POST /wp-admin/post.php", body: formOf("content", "a"), header: [][2]string{{"Cookie", "x=1' UNION SELECT user_pass FROM wp_users-- -"}}},
		{name: "path that goes back from the editor", request: "POST /wp-admin/post.php/../../x", body: formOf("content", code)},
	}
	for name, payload := range attacks {
		list = append(list,
			appAsk{name: name + " in the search", request: "GET /?" + formOf("s", payload)},
			appAsk{name: name + " in a comment's author", request: "POST /wp-comments-post.php", body: formOf("author", payload, "comment", "hello")},
			appAsk{name: name + " in the name at login", request: "POST /wp-login.php", body: formOf("log", payload, "pwd", "x")},
			appAsk{name: name + " in the editor's field of another page", request: "POST /contact/", body: formOf("content", payload)},
			appAsk{name: name + " in a plugin's public AJAX", request: "POST /wp-admin/admin-ajax.php", body: formOf("action", "nopriv_form", "message", payload)},
			appAsk{name: name + " in a plugin's REST", request: "POST /wp-json/shop/v1/order", kind: jsonType, body: `{"content":` + quoted(payload) + `}`},
			appAsk{name: name + " in the id of a post by REST", request: "GET /wp-json/wp/v2/posts?" + formOf("categories", payload)},
			appAsk{name: name + " in the name at registration", request: "POST /wp-login.php?action=register", body: formOf("user_login", payload, "user_email", "a@test.test")},
		)
	}
	return list
}
