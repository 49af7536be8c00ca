package edge

import "testing"

func TestAppDrupal(t *testing.T) {
	const ids = "form_build_id"
	usual := []appAsk{
		{name: "add an article", request: "POST /node/add/article", body: formOf("title[0][value]", "Backups; cat /etc/hosts", ids, "form-0a--b1", "form_token", "x", "form_id", "node_article_form", "body[0][summary]", markup, "body[0][value]", markup+code, "body[0][format]", "full_html")},
		{name: "change an article, with a language", request: "POST /de/node/12/edit?destination=/admin/content", body: formOf("body[0][value]", markup+code)},
		{name: "change an article, in a folder", request: "POST /site/node/12/edit", body: formOf("field_text[0][value]", markup+code)},
		{name: "change an article at level 2", level: 2, request: "POST /node/12/edit", body: formOf(ids, "form-0a--b1-_xYz--0a1b2c3d4e5f60718293", "body[0][value]", markup+code)},
		{name: "article by multipart", request: "POST /node/12/edit", kind: appMultipart, body: multipart("body[0][value]", markup+code, "form_id", "node_article_edit_form")},
		{name: "paragraph", request: "POST /node/12/edit", body: formOf("field_par[0][subform][field_text][0][value]", markup)},
		{name: "part of a form by AJAX", request: "POST /node/12/edit?ajax_form=1&_wrapper_format=drupal_ajax", body: formOf("body[0][value]", markup, "_drupal_ajax", "1", "ajax_page_state[libraries]", "core/a,core/b")},
		{name: "link in a field", request: "POST /node/12/edit", body: formOf("field_link[0][uri]", "http://192.0.2.9/a?x=1", "field_link[0][title]", markup)},
		{name: "block", request: "POST /block/add/basic", body: formOf("info[0][value]", "x", "body[0][value]", markup)},
		{name: "settings of statistics", request: "POST /admin/config/system/matomo", body: formOf("matomo_codesnippet_before", "<script>var a = document.cookie;</script>")},
		{name: "templates of mails", request: "POST /admin/config/people/accounts", body: formOf("user_mail_register_body", "Hello; cat /etc/motd <b>x</b>")},
		{name: "view", request: "POST /admin/structure/views/nojs/handler/content/page_1/header/area", body: formOf("options[content][value]", markup)},
		{name: "new user", request: "POST /admin/people/create", body: formOf("name", "ann", "pass[pass1]", password, "pass[pass2]", password)},
		{name: "editor makes a text harmless", request: "POST /editor/filter_xss/full_html", body: formOf("value", markup, "original_format_id", "")},
		{name: "reader comments on code", request: "POST /comment/reply/node/12/comment", body: formOf("subject[0][value]", "x", "comment_body[0][value]", "I ran `cat /etc/hosts; ls -la` and <?php phpinfo(); ?> says otherwise")},
		{name: "log in", request: "POST /user/login", body: formOf("name", "ann", "pass", password, ids, "form-a", "form_id", "user_login_form", "op", "Log in")},
		{name: "log in at level 2", level: 2, request: "POST /user/login?destination=/node/1", body: formOf("name", "ann", "pass", password, "form_id", "user_login_form")},
		{name: "own password", request: "POST /user/3/edit", body: formOf("current_pass", password, "pass[pass1]", password, "pass[pass2]", password)},
		{name: "set up", request: "POST /core/install.php?langcode=en&profile=standard", body: formOf("account[name]", "admin", "account[pass][pass1]", password, "account[pass][pass2]", password)},
		{name: "view by AJAX", level: 2, request: "GET /views/ajax?" + formOf("view_name", "content", "view_display_id", "page_1", "ajax_page_state[libraries]", "classy/base,classy/messages,core/drupal.ajax,core/html5shiv,core/jquery.form,olivero/global-styling,system/base,views/views.ajax,views/views.module")},
	}
	hostile := []appAsk{
		{name: "behind another program's name", request: "POST /vulnerable.php/admin/config/x", body: formOf("plugin", attacks["SQL injection"])},
		{name: "SQL in the name of a parameter (CVE-2014-3704)", request: "POST /user/login", body: "name[0%20;update+users+set+name%3D'x'+where+uid%3D1;;%23%20%20]=a&name[0]=b&pass=x&form_id=user_login_block"},
		{name: "render array (CVE-2018-7600)", request: "POST /user/register?element_parents=account/mail/%23value&ajax_form=1&_wrapper_format=drupal_ajax", body: formOf("form_id", "user_register_form", "_drupal_ajax", "1", "mail[#post_render][]", "exec", "mail[#type]", "markup", "mail[#markup]", "cat /etc/passwd; id")},
		{name: "settings by path", request: "GET /sites/default/settings.php.bak"},
		{name: "file by path", request: "GET /system/files?file=../../../../etc/passwd"},
		{name: "script in a link to a page for administrators", request: "GET /admin/content?" + formOf("title", attacks["script"])},
		{name: "script in a comment", request: "POST /comment/reply/node/12/comment", body: formOf("comment_body[0][value]", attacks["script"])},
		{name: "SQL in a comment", request: "POST /comment/reply/node/12/comment", body: formOf("comment_body[0][value]", attacks["SQL injection"])},
		{name: "in a cookie", request: "POST /node/12/edit", body: formOf("body[0][value]", "a"), header: [][2]string{{"Cookie", "x=1' UNION SELECT pass FROM users-- -"}}},
	}
	for name, payload := range attacks {
		hostile = append(hostile,
			appAsk{name: name + " in the search", request: "GET /search/node?" + formOf("keys", payload)},
			appAsk{name: name + " in the form for messages", request: "POST /contact/feedback", body: formOf("message[0][value]", payload)},
			appAsk{name: name + " in an editor's field of another page", request: "POST /contact", body: formOf("body[0][value]", payload)},
			appAsk{name: name + " in a comment's subject", request: "POST /comment/reply/node/12/comment", body: formOf("subject[0][value]", payload)},
			appAsk{name: name + " in the name at login", request: "POST /user/login", body: formOf("name", payload, "pass", "x")},
			appAsk{name: name + " in a field that no editor has", request: "POST /node/12/edit", body: formOf("plugin", payload)},
			appAsk{name: name + " in a filter of a view", request: "POST /views/ajax", body: formOf("view_name", "a", "title", payload)},
		)
	}
	testApp(t, "drupal", usual, hostile)
}
