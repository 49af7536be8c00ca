package edge

import "testing"

func TestAppDokuWiki(t *testing.T) {
	const wikitext = "====== Backups ======\n  * **tar** and ''rsync''\n<code bash>\ncd /var/www; tar czf /tmp/a.tgz . && cat /etc/passwd | wc -l\n</code>\n" +
		"<code sql>SELECT id FROM users WHERE id = 1 OR 1=1 UNION SELECT pass FROM admins;</code>\n<code php><?php system($_GET['cmd']); ?></code>\n<html><script>alert(1)</script></html>\n{{wiki:dokuwiki.png|x}}"
	usual := []appAsk{
		{name: "save a page", request: "POST /doku.php?id=wiki:backups", body: formOf("sectok", "0123456789", "id", "wiki:backups", "rev", "0", "date", "1700000000", "prefix", ".", "suffix", "", "wikitext", wikitext, "summary", "more; cat /etc/hosts", "do[save]", "Save")},
		{name: "save a section", request: "POST /wiki/doku.php?id=wiki:backups", body: formOf("prefix", wikitext, "suffix", wikitext, "wikitext", "a", "do[save]", "Save")},
		{name: "save a page, path in the path", request: "POST /doku.php/wiki:backups", body: formOf("wikitext", wikitext, "summary", "a", "do[save]", "Save")},
		{name: "save a page, rewritten", request: "POST /wiki/backups", body: formOf("prefix", ".", "wikitext", wikitext, "do[save]", "Save")},
		{name: "preview at level 2", level: 2, request: "POST /doku.php?id=backups", body: formOf("wikitext", wikitext, "do[preview]", "Preview")},
		{name: "draft", request: "POST /lib/exe/ajax.php", body: formOf("call", "draft", "id", "wiki:backups", "prefix", wikitext, "wikitext", wikitext, "suffix", wikitext)},
		{name: "settings", request: "POST /doku.php?id=start&do=admin&page=config", body: formOf("config[title]", "Wiki", "config[mailfrom]", "a@b.test", "config[htmlok]", "1", "config[plugin____x____head]", `<script src="https://stats.test/x.js"></script>`, "save", "1")},
		{name: "log in", request: "POST /doku.php?id=start", body: formOf("do", "login", "u", "ann", "p", password, "r", "1")},
		{name: "log in at level 2", level: 2, request: "POST /doku.php?id=start", body: formOf("do", "login", "u", "ann", "p", password)},
		{name: "own password", request: "POST /doku.php?id=start&do=profile", body: formOf("fullname", "Ann", "newpass", password, "passchk", password, "oldpass", password)},
		{name: "new user", request: "POST /doku.php?id=start&do=admin&page=usermanager", body: formOf("userid", "ann", "userpass", password, "userpass2", password, "fn[add]", "Add")},
	}
	hostile := []appAsk{
		{name: "behind another program's name", request: "POST /vulnerable.php/doku.php", body: formOf("summary", attacks["SQL injection"])},
		{name: "settings of the wiki by path", request: "GET /conf/users.auth.php.bak"},
		{name: "fetch by path", request: "GET /lib/exe/fetch.php?media=../../../../etc/passwd"},
		{name: "program as a medium", request: "POST /lib/exe/ajax.php?call=mediaupload", kind: appMultipart, body: "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x.php\"\r\n\r\nx\r\n--b--\r\n"},
		{name: "text of a page by GET", request: "GET /doku.php?" + formOf("wikitext", code)},
		{name: "before and behind, of another page", request: "POST /other.php", body: formOf("prefix", attacks["SQL injection"])},
		{name: "settings of another page", request: "POST /other.php", body: formOf("config[title]", attacks["script"])},
		{name: "in a cookie", request: "POST /doku.php", body: formOf("wikitext", "a"), header: [][2]string{{"Cookie", "DW=1' UNION SELECT pass FROM users-- -"}}},
	}
	for name, payload := range attacks {
		hostile = append(hostile,
			appAsk{name: name + " in the search", request: "GET /doku.php?" + formOf("do", "search", "q", payload)},
			appAsk{name: name + " in the id", request: "POST /doku.php", body: formOf("id", payload, "wikitext", "a")},
			appAsk{name: name + " in the name at login", request: "POST /doku.php", body: formOf("do", "login", "u", payload, "p", "x")},
			appAsk{name: name + " in a plugin's field", request: "POST /doku.php", body: formOf("do", "show", "comment_text", payload)},
			appAsk{name: name + " in AJAX", request: "POST /lib/exe/ajax.php", body: formOf("call", "linkwiz", "q", payload)},
		)
	}
	testApp(t, "dokuwiki", usual, hostile)
}
