package wire

// furtherSeeds are requests of the kinds with which the black-box tests attack the
// door, small ones of each, so that the fuzzer has their parts, too.
var furtherSeeds = func() (out []string) {
	const hidden = "GET /hidden HTTP/1.1\r\nHost: a.test\r\n\r\n"
	const chunked = "5\r\nhello\r\n0\r\n\r\n"
	post := func(body string, fields ...string) {
		raw := "POST /x HTTP/1.1\r\nHost: a.test\r\n"
		for _, f := range fields {
			raw += f + "\r\n"
		}
		out = append(out, raw+"\r\n"+body)
	}
	line := func(requestLine string) { out = append(out, requestLine+"\r\nHost: a.test\r\n\r\n"+hidden) }
	host := func(fields string) { out = append(out, "GET /x HTTP/1.1\r\n"+fields+"\r\n\r\n") }

	post("hello"+hidden, "Content-Length: +5")
	post("hello"+hidden, "Content-Length: 5, 5")
	post("hello"+hidden, "Content-Length: 0x5")
	post("hello"+hidden, "Content-Length: 5", "Content-Length: 50")
	post("hello"+hidden, "Content-Length: 18446744073709551621")
	post("hello"+hidden, "Content-Length : 5")
	post("hello"+hidden, "content-length:\t 00005 \t")
	post(hidden, "X-A: b\nContent-Length: 38")
	post(hidden, "X-A: b\rContent-Length: 38")
	post(hidden, "X-A: b", " Content-Length: 38")
	post(hidden, "Content-Length: 38")

	post(chunked+hidden, "Transfer-Encoding: gzip, chunked")
	post(chunked+hidden, "Transfer-Encoding: chunked, chunked")
	post(chunked+hidden, "Transfer-Encoding: \x0bchunked")
	post(chunked+hidden, "Transfer-Encoding: chunked", "Transfer-Encoding: identity")
	post(chunked+hidden, "tRANSFER-eNCODING:\tChUnKeD\t ")
	post(chunked+hidden, "Transfer_Encoding: chunked", "Content_Length: 38")
	post(chunked+hidden, "Content-Length: 0", "Transfer-Encoding: chunked")
	out = append(out, "POST /x HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n"+chunked)

	te := "Transfer-Encoding: chunked"
	for _, body := range []string{
		"0x5\r\nhello\r\n0\r\n\r\n", "5 \r\nhello\r\n0\r\n\r\n", "05;a=\"b\\\"\r\"\r\nhello\r\n0\r\n\r\n", "5;a\r\nhello\r\n0\r\n\r\n",
		"-5\r\nhello\r\n0\r\n\r\n", "10000000000000005\r\nhello\r\n0\r\n\r\n", "5\r\nhello\n0\r\n\r\n", "5\r\nhello\r0\r\n\r\n", "5\r\nhello0\r\n\r\n",
		"5\r\nhello\r\n0\r\nHost: b.test\r\n\r\n", "5\r\nhello\r\n0\r\nX-A: b\r\n c\r\n\r\n", "5\r\nhello\r\n0\r\nX-A: b\nX-C: d\r\n\r\n",
		"5\r\nhello\r\n000\r\nX-A: b\r\nX-C: d\r\n\r\n", "1\r\na\r\n2\r\nbc\r\nA\r\n0123456789\r\n0\r\n\r\n", "\r\n5\r\nhello\r\n0\r\n\r\n", "5\r\nhel",
	} {
		post(body+hidden, te)
	}

	line("GET  /x HTTP/1.1")
	line("GET /x HTTP/1.1 ")
	line("GET\t/x\tHTTP/1.1")
	line("GET /x HTTP/1.01")
	line("GET /x HTTP/2.0")
	line("GET /x y HTTP/1.1")
	line("GET /x%00\x00 HTTP/1.1")
	line("GET https://A.TEST:443/x#y HTTP/1.1")
	line("GET http://b.test@a.test/x HTTP/1.1")
	line("CONNECT a.test:443 HTTP/1.1")
	line("M-SEARCH * HTTP/1.1")

	host("Host: a.test\r\nHost: b.test")
	host("Host: a.test\r\nHost\x00: b.test")
	host(" Host: a.test")
	host("Host:\r\n a.test")
	host("Host: A.Test.:080")
	host("Host: [::1]:80")
	host("X-A: b")
	host("host:a.test\r\nX-A:\r\nX-B: \t b\x85c \t\r\nCookie: a=1\r\nCookie: b=2")
	host("Host: a.test\r\nConnection: close, Keep-Alive\r\nConnection: X-A\r\nExpect: 100-Continue")
	return out
}()
