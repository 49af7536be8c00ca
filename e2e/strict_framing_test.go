package e2e

import (
	"fmt"
	"strings"
)

// request is a head for edge.test and what follows it.
func request(method, target, body string, fields ...string) string {
	return method + " " + target + " HTTP/1.1\r\nHost: edge.test\r\n" + strings.Join(append(fields, ""), "\r\n") + "\r\n" + body
}

func ask(target string, fields ...string) string { return request("GET", target, "", fields...) }

// hidden is a request that must never be seen: it is inside of another one.
const hidden = "GET /hidden HTTP/1.1\r\nHost: edge.test\r\n\r\n"

// refused makes cases that get a refusal, the connection's end, and no backend.
func refused(statuses string, rows ...[2]string) []strictCase {
	var out []strictCase
	for _, r := range rows {
		out = append(out, strictCase{name: r[0], raw: r[1], answers: statuses})
	}
	return out
}

func lengthCases() []strictCase {
	var out []strictCase
	for _, v := range []struct{ name, value string }{
		{"five in letters", "five"},
		{"empty", ""},
		{"minus five", "-5"},
		{"plus zero", "+0"},
		{"two numbers", "5 5"},
		{"a list of two", "5, 6"},
		{"a semicolon", "5;"},
		{"VT before", "\v5"},
		{"VT behind", "5\v"},
		{"FF before", "\f5"},
		{"NUL before", "\x005"},
		{"DEL behind", "5\x7f"},
		{"exponent", "5e0"},
		{"octal prefix", "0o5"},
		{"2^64 + 5", "18446744073709551621"},
		{"2^32 + 5 would wrap", "4294967301junk"},
		{"a thousand digits", strings.Repeat("9", 1000)},
		{"thousands separator", "1'0"},
		{"percent-encoded", "%35"},
		{"an Arabic digit", "\u0665"},
		{"a comment", "5 (five)"},
		{"three in a list", "5,5,5"},
		{"slash", "5/5"},
		{"NEL behind", "5\xc2\x85"},
	} {
		out = append(out, refused("400", [2]string{"Content-Length: " + v.name, request("POST", "/x", "hello"+hidden, "Content-Length: "+v.value)})...)
	}
	out = append(out, refused("400",
		[2]string{"Content-Length three times", request("POST", "/x", "hello", "Content-Length: 5", "Content-Length: 5", "Content-Length: 5")},
		[2]string{"Content-Length twice, in other case", request("POST", "/x", "hello"+hidden, "Content-Length: 5", "CONTENT-LENGTH: 50")},
		[2]string{"Content-Length twice, the second empty", request("POST", "/x", "hello"+hidden, "Content-Length: 5", "Content-Length:")},
		[2]string{"Content-Length twice, around the Host", "POST /x HTTP/1.1\r\nContent-Length: 0\r\nHost: edge.test\r\nContent-Length: 5\r\n\r\nhello"},
		[2]string{"Content-Length with a tab before the colon", request("POST", "/x", "hello"+hidden, "Content-Length\t: 5")},
		[2]string{"Content-Length after a bare LF", request("POST", "/x", hidden, "X-A: b\nContent-Length: 44")},
		[2]string{"Content-Length after a bare CR", request("POST", "/x", hidden, "X-A: b\rContent-Length: 44")},
		[2]string{"Content-Length folded under another field", request("POST", "/x", hidden, "X-A: b", " Content-Length: 44")},
		[2]string{"Content-Length with a NUL in its name", request("POST", "/x", "hello", "Content\x00-Length: 5")},
		[2]string{"Content-Length twice on a GET", request("GET", "/x", hidden, "Content-Length: 0", "Content-Length: 44")},
	)...)
	out = append(out, refused("413",
		[2]string{"Content-Length beyond the limit, refused before the body", request("POST", "/x", "", "Content-Length: 104857601")},
		[2]string{"Content-Length of nearly 2^63", request("POST", "/x", "hello", "Content-Length: 9223372036854775807")},
	)...)
	return append(out,
		strictCase{name: "Content-Length with blanks around", raw: request("POST", "/x", "hello", "Content-Length: \t 5 \t "), answers: "200", seen: "A POST /x hello"},
		strictCase{name: "Content-Length without a blank", raw: request("POST", "/x", "hello", "content-length:5"), answers: "200", seen: "A POST /x hello"},
		strictCase{name: "Content-Length with leading zeros by the hundred", raw: request("POST", "/x", "hello", "Content-Length: "+strings.Repeat("0", 100)+"5"), answers: "200", seen: "A POST /x hello", open: true},
		strictCase{name: "Content-Length: 00", raw: request("POST", "/x", "", "Content-Length: 00"), answers: "200", seen: "A POST /x", open: true},
		strictCase{name: "a body that looks like a request stays a body", raw: request("POST", "/x", hidden, fmt.Sprintf("Content-Length: %d", len(hidden))), answers: "200", seen: "A POST /x " + hidden},
		strictCase{name: "X-Content-Length is data", raw: request("POST", "/x", "hello", "X-Content-Length: 50", "Content-Length: 5"), answers: "200", seen: "A POST /x hello", has: []string{"X-Content-Length: 50"}},
		strictCase{name: "a body cut by the client never counts as whole", raw: request("POST", "/x", "hel", "Content-Length: 5"), answers: "400|408", end: true},
	)
}

const chunkedHello = "5\r\nhello\r\n0\r\n\r\n"

func encodingCases() []strictCase {
	var out []strictCase
	for _, v := range []struct{ name, value string }{
		{"gzip", "gzip"},
		{"gzip, chunked", "gzip, chunked"},
		{"deflate,chunked", "deflate,chunked"},
		{"identity", "identity"},
		{"identity, chunked", "identity, chunked"},
		{"chunked twice", "chunked, chunked"},
		{"chunked, x", "chunked, x"},
		{"a short word", "chunke"},
		{"a long word", "chunkedd"},
		{"two words", "chunked chunked"},
		{"VT behind", "chunked\v"},
		{"FF before", "\fchunked"},
		{"FF behind", "chunked\f"},
		{"NUL before", "\x00chunked"},
		{"DEL behind", "chunked\x7f"},
		{"BS behind", "chunkedx\b"},
		{"a semicolon", "chunked;"},
		{"a parameter", "chunked; q=0.5"},
		{"Kelvin sign for k", "chun\u212aed"},
		{"a long s", "chunked\u017f"},
		{"a slash", "chunked/1"},
		{"cow", "cow"},
		{"empty", ""},
		{"only commas", ",,"},
		{"parenthesis", "(chunked)"},
		{"trailers", "trailers"},
		{"a colon", ": chunked"},
		{"an equals sign", "=chunked"},
		{"soft hyphen", "chun\u00adked"},
	} {
		out = append(out, refused("400|501",
			[2]string{"Transfer-Encoding: " + v.name, request("POST", "/x", chunkedHello+hidden, "Transfer-Encoding: "+v.value)},
			[2]string{"Transfer-Encoding: " + v.name + ", and a length", request("POST", "/x", chunkedHello+hidden, "Transfer-Encoding: "+v.value, "Content-Length: 5")},
		)...)
	}
	te := "Transfer-Encoding: chunked"
	out = append(out, refused("400|501",
		[2]string{"Transfer-Encoding, then Content-Length: 0", request("POST", "/x", chunkedHello, te, "Content-Length: 0")},
		[2]string{"Content-Length: 0, then Transfer-Encoding", request("POST", "/x", chunkedHello, "Content-Length: 0", te)},
		[2]string{"Transfer-Encoding twice, identity second", request("POST", "/x", chunkedHello+hidden, te, "Transfer-Encoding: identity")},
		[2]string{"Transfer-Encoding twice, identity first", request("POST", "/x", chunkedHello+hidden, "Transfer-Encoding: identity", te)},
		[2]string{"Transfer-Encoding twice, in other case", request("POST", "/x", chunkedHello, te, "transfer-encoding: chunked")},
		[2]string{"Transfer-Encoding twice, the second empty", request("POST", "/x", chunkedHello, te, "Transfer-Encoding:")},
		[2]string{"Transfer-Encoding with a space before the colon", request("POST", "/x", chunkedHello+hidden, "Transfer-Encoding : chunked")},
		[2]string{"Transfer-Encoding with a space before the colon, and a length", request("POST", "/x", chunkedHello+hidden, "Transfer-Encoding : chunked", "Content-Length: 15")},
		[2]string{"Transfer-Encoding with a tab before the colon", request("POST", "/x", chunkedHello+hidden, "Transfer-Encoding\t: chunked")},
		[2]string{"Transfer-Encoding with its colon on the next line", request("POST", "/x", chunkedHello, "Transfer-Encoding", ": chunked")},
		[2]string{"Transfer Encoding with a space for the hyphen", request("POST", "/x", chunkedHello, "Transfer Encoding: chunked")},
		[2]string{"Transfer-Encoding with a NUL behind its name", request("POST", "/x", chunkedHello, "Transfer-Encoding\x00: chunked")},
		[2]string{"Transfer-Encoding folded behind another value", request("POST", "/x", chunkedHello, "X-A: b", " Transfer-Encoding: chunked")},
		[2]string{"Transfer-Encoding with a fold after the value", request("POST", "/x", chunkedHello, te, " , identity")},
		[2]string{"Transfer-Encoding behind CR LF CR in a value", request("POST", "/x", chunkedHello, "X-A: b\r\n\rTransfer-Encoding: chunked")},
		[2]string{"Transfer-Encoding in HTTP/1.0 with a length", "POST /x HTTP/1.0\r\nHost: edge.test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + chunkedHello},
		[2]string{"Transfer-Encoding in HTTP/1.0 kept alive", "POST /x HTTP/1.0\r\nHost: edge.test\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n" + chunkedHello},
		[2]string{"Transfer-Encoding: identity on a GET", request("GET", "/x", hidden, "Transfer-Encoding: identity")},
	)...)
	return append(out,
		strictCase{name: "Transfer-Encoding and length on a HEAD", raw: request("HEAD", "/x", hidden, te, "Content-Length: 44"), answers: "400|501", methods: "HEAD"},
		strictCase{name: "Transfer-Encoding without a blank", raw: request("POST", "/x", chunkedHello, "Transfer-Encoding:chunked"), answers: "200", seen: "A POST /x hello"},
		strictCase{name: "Transfer-Encoding with tabs around", raw: request("POST", "/x", chunkedHello, "Transfer-Encoding:\tchunked\t "), answers: "200", seen: "A POST /x hello"},
		strictCase{name: "Transfer-Encoding in odd case", raw: request("POST", "/x", chunkedHello, "tRANSFER-eNCODING: ChUnKeD"), answers: "200", seen: "A POST /x hello"},
		strictCase{name: "Transfer-Encoding on a GET frames its body", raw: request("GET", "/x", chunkedHello+ask("/y"), te), answers: "200 200", seen: "A GET /x hello; A GET /y", open: true},
		strictCase{name: "Transfer-Encoding on a DELETE", raw: request("DELETE", "/x", chunkedHello, te), answers: "200", seen: "A DELETE /x hello"},
		strictCase{name: "TE: chunked is no framing", raw: ask("/x", "TE: chunked"), answers: "200", seen: "A GET /x", lacks: []string{"\r\nte: chunked"}},
		strictCase{name: "Content-Transfer-Encoding is data", raw: request("POST", "/x", "hello", "Content-Transfer-Encoding: chunked", "Content-Length: 5"), answers: "200", seen: "A POST /x hello"},
	)
}

// inChunks is a chunked POST with this body as it stands, and a request behind it.
func inChunks(body string) string {
	return request("POST", "/x", body, "Transfer-Encoding: chunked")
}

func chunkCases() []strictCase {
	var out []strictCase
	for _, v := range []struct{ name, size string }{
		{"plus", "+5"},
		{"a minus before zero", "-0"},
		{"a blank behind", "5 x"},
		{"a dot", "5.0"},
		{"a comma", "5,"},
		{"x5", "x5"},
		{"0x alone", "0x"},
		{"h behind", "5h"},
		{"NUL behind", "5\x00"},
		{"NUL before", "\x005"},
		{"FF behind", "5\f"},
		{"DEL", "5\x7f"},
		{"a full-width digit", "\uff15"},
		{"quoted", "\"5\""},
		{"2^63", "8000000000000000"},
		{"2^64 wraps to 5", "10000000000000005"},
		{"2^32 + 5 in 33 digits", strings.Repeat("0", 24) + "100000005x"},
		{"twenty digits", "11111111111111111115"},
		{"a comment", "5 (five)"},
		{"an equals sign", "=5"},
		{"a blank line first", "\r\n5"},
		{"a colon", "5: x"},
	} {
		out = append(out, refused("400|413", [2]string{"chunk size: " + v.name, inChunks(v.size + "\r\nhello\r\n0\r\n\r\n" + hidden)})...)
	}
	out = append(out, refused("400",
		[2]string{"chunk data, then one junk byte and CRLF", inChunks("5\r\nhelloX\r\n0\r\n\r\n")},
		[2]string{"chunk data, then one junk byte and the next size", inChunks("5\r\nhelloX0\r\n\r\n")},
		[2]string{"chunk data, then CR and junk", inChunks("5\r\nhello\rX0\r\n\r\n")},
		[2]string{"chunk data, then CR CR LF", inChunks("5\r\nhello\r\r\n0\r\n\r\n")},
		[2]string{"chunk data, then LF CR", inChunks("5\r\nhello\n\r0\r\n\r\n")},
		[2]string{"chunk data, then two CRLF", inChunks("5\r\nhello\r\n\r\n0\r\n\r\n")},
		[2]string{"bare LF in all of the chunk framing", inChunks("5\nhello\n0\n\n" + hidden)},
		[2]string{"bare LF after the last chunk", inChunks("5\r\nhello\r\n0\n\r\n" + hidden)},
		[2]string{"bare LF at the end of the trailers", inChunks("5\r\nhello\r\n0\r\n\n" + hidden)},
		[2]string{"bare CR after the last chunk", inChunks("5\r\nhello\r\n0\r\r\n" + hidden)},
		[2]string{"chunk extension with a bare LF", inChunks("5;a=b\nhello\r\n0\r\n\r\n")},
		[2]string{"chunk extension with a CR inside", inChunks("5;a=\rb\r\nhello\r\n0\r\n\r\n")},
		[2]string{"chunk extension with NUL", inChunks("5;a=\x00\r\nhello\r\n0\r\n\r\n")},
		[2]string{"chunk extension with ESC", inChunks("5;a=\x1b[31m\r\nhello\r\n0\r\n\r\n")},
		[2]string{"last chunk's extension with a LF that hides a request", inChunks("5\r\nhello\r\n0;a\n\r\n" + hidden + "0\r\n\r\n")},
		[2]string{"chunk extension of 4 KiB", inChunks("5;a=" + strings.Repeat("b", 4096) + "\r\nhello\r\n0\r\n\r\n")},
		[2]string{"chunk extension of 300 bytes on the last chunk", inChunks("5\r\nhello\r\n0;a=" + strings.Repeat("b", 300) + "\r\n\r\n")},
		[2]string{"a size line that never ends", inChunks(strings.Repeat("0", 70_000))},
		[2]string{"a size line of blanks", inChunks("5" + strings.Repeat(" ", 70_000) + "\r\nhello\r\n0\r\n\r\n")},
		[2]string{"no size where one must be", inChunks("\r\nhello\r\n0\r\n\r\n")},
		[2]string{"an unframed body under chunked", inChunks("hello world, this is no chunk\r\n\r\n")},
		[2]string{"a second chunk with a bad size", inChunks("5\r\nhello\r\nzz\r\nworld\r\n0\r\n\r\n")},
	)...)
	return append(out,
		strictCase{name: "chunk size with a blank behind", raw: inChunks("5 \r\nhello\r\n0\r\n\r\n"), answers: "200", seen: "A POST /x hello", open: true},
		strictCase{name: "chunk size with a tab behind", raw: inChunks("5\t\r\nhello\r\n0\r\n\r\n"), answers: "200", seen: "A POST /x hello", open: true},
		strictCase{name: "chunk extension without a value", raw: inChunks("5;a\r\nhello\r\n0\r\n\r\n"), answers: "200", seen: "A POST /x hello", lacks: []string{";a"}},
		strictCase{name: "chunk extension with a quoted value", raw: inChunks("5;a=\"b;c\"\r\nhello\r\n0;d=\"e\"\r\n\r\n"), answers: "200", seen: "A POST /x hello"},
		strictCase{name: "chunk extension with a quoted CRLF is two lines", raw: inChunks("5;a=\"\r\nhello\r\n0\r\n\r\n"), answers: "200", seen: "A POST /x hello", open: true},
		strictCase{name: "chunk extension of 200 bytes", raw: inChunks("5;a=" + strings.Repeat("b", 196) + "\r\nhello\r\n0\r\n\r\n"), answers: "200", seen: "A POST /x hello"},
		strictCase{name: "only the last chunk", raw: inChunks("0\r\n\r\n") + ask("/y"), answers: "200 200", seen: "A POST /x; A GET /y"},
		strictCase{name: "chunks of one byte", raw: inChunks("1\r\nh\r\n1\r\ne\r\n1\r\nl\r\n1\r\nl\r\n1\r\no\r\n0\r\n\r\n"), answers: "200", seen: "A POST /x hello"},
		strictCase{name: "chunk data that looks like framing", raw: inChunks("b\r\n\r\n0\r\n\r\nGET \r\n0\r\n\r\n"), answers: "200", seen: "A POST /x \r\n0\r\n\r\nGET "},
		strictCase{name: "a chunked body that looks like a request stays a body", raw: inChunks(fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(hidden), hidden)), answers: "200", seen: "A POST /x " + hidden},
		strictCase{name: "junk behind the last chunk is the next request", raw: inChunks(chunkedHello) + "X", answers: "200 400", seen: "A POST /x hello", end: true, closes: true},
		strictCase{name: "cut between two chunks, half closed", raw: inChunks("5\r\nhello\r\n"), answers: "400|408", end: true},
		strictCase{name: "cut inside a size", raw: inChunks("5\r\nhello\r\n1"), answers: "400|408", end: true},
		strictCase{name: "cut behind the last chunk's CR", raw: inChunks("5\r\nhello\r\n0\r"), answers: "400|408", end: true},
		strictCase{name: "cut in the trailers", raw: inChunks("5\r\nhello\r\n0\r\nX-A: b\r\n"), answers: "400|408", end: true},
	)
}

func trailerCases() []strictCase {
	var out []strictCase
	// A trailer is dropped, or refused with the request: it never reaches a backend.
	for _, v := range []struct{ name, line string }{
		{"undeclared", "X-Sum: 1"},
		{"Content-Length", "Content-Length: 50"},
		{"Authorization", "Authorization: Basic eDp5"},
		{"X-Forwarded-For", "X-Forwarded-For: 6.6.6.6"},
		{"Connection", "Connection: x-real-ip"},
		{"X-Request-Id", "X-Request-Id: forged"},
		{"Cache-Control", "Cache-Control: no-store"},
		{"Upgrade", "Upgrade: websocket"},
		{"Expect", "Expect: 100-continue"},
		{"Content-Type", "Content-Type: text/html"},
		{"two of them", "X-Sum: 1\r\nX-Sum: 2"},
	} {
		out = append(out, strictCase{
			name: "trailer: " + v.name, raw: inChunks("5\r\nhello\r\n0\r\n" + v.line + "\r\n\r\n"), answers: "200",
			seen: "A POST /x hello", open: true, lacks: []string{"\r\n" + v.line},
		})
	}
	out = append(out, refused("400|431",
		[2]string{"trailer with a bare LF", inChunks("5\r\nhello\r\n0\r\nX-A: b\n\r\n")},
		[2]string{"trailers ended by LF LF", inChunks("5\r\nhello\r\n0\r\nX-A: b\n\n" + hidden)},
		[2]string{"trailer with a bare CR", inChunks("5\r\nhello\r\n0\r\nX-A: b\rc\r\n\r\n")},
		[2]string{"trailer with NUL", inChunks("5\r\nhello\r\n0\r\nX-A: \x00\r\n\r\n")},
		[2]string{"trailer folded", inChunks("5\r\nhello\r\n0\r\nX-A: b\r\n c\r\n\r\n")},
		[2]string{"trailer with a space before the colon", inChunks("5\r\nhello\r\n0\r\nX-A : b\r\n\r\n")},
		[2]string{"trailer with an empty name", inChunks("5\r\nhello\r\n0\r\n: b\r\n\r\n")},
		[2]string{"a request where trailers must be", inChunks("5\r\nhello\r\n0\r\n" + hidden)},
		[2]string{"trailers without end", inChunks("5\r\nhello\r\n0\r\n" + strings.Repeat("X-A: b\r\n", 8000))},
		[2]string{"a trailer of 64 KiB", inChunks("5\r\nhello\r\n0\r\nX-A: " + strings.Repeat("b", 65_536) + "\r\n\r\n")},
		[2]string{"two hundred trailers", inChunks("5\r\nhello\r\n0\r\n" + strings.Repeat("X-A: b\r\n", 200) + "\r\n")},
	)...)
	return append(out, strictCase{
		name: "a request behind trailers", raw: inChunks("5\r\nhello\r\n0\r\nX-A: b\r\n\r\n") + ask("/y"), answers: "200 200",
		seen: "A POST /x hello; A GET /y", open: true,
	})
}
