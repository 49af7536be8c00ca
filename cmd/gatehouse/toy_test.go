package main

import (
	"context"
	"encoding/json"
	"net"
	"regexp"
	"strings"
	"testing"

	"gatehouse/internal/edgetest"
)

func startToy(t *testing.T, name string) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- serveToy(ctx, ln, name) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the toy ended with %v", err)
		}
	})
	return ln.Addr().String()
}

func TestToyNamesItself(t *testing.T) {
	addr := startToy(t, "sh<op>")
	a := edgetest.Dial(t, addr).Do("GET", "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
	if a.Status != 200 || !strings.Contains(string(a.Body), "sh&lt;op&gt;") {
		t.Errorf("%d %q", a.Status, a.Body)
	}
}

// TestToyHelpNamesWhatItAnswers: each path in the help is one.
func TestToyHelpNamesWhatItAnswers(t *testing.T) {
	_, out, _ := invoke(t, "toy", "--help")
	conn := edgetest.Dial(t, startToy(t, "shop"))
	paths := regexp.MustCompile(`(?m)^  (/\S*)`).FindAllStringSubmatch(out, -1)
	want(t, "paths", len(paths), 8)
	for _, m := range paths {
		a := conn.Do("HEAD", "HEAD "+m[1]+" HTTP/1.1\r\nHost: a.test\r\n\r\n")
		if a.Status == 404 {
			t.Errorf("%s: 404", m[1])
		}
	}
}

func TestToyPriceIsCacheableAndNew(t *testing.T) {
	conn := edgetest.Dial(t, startToy(t, "shop"))
	var bodies []string
	for range 2 {
		a := conn.Do("GET", "GET /api/price HTTP/1.1\r\nHost: a.test\r\n\r\n")
		if a.Header.Get("Cache-Control") != "max-age=60" {
			t.Errorf("Cache-Control is %q", a.Header.Get("Cache-Control"))
		}
		bodies = append(bodies, string(a.Body))
	}
	if bodies[0] == bodies[1] {
		t.Errorf("two answers are the same, so a cached one could not be told: %q", bodies[0])
	}
}

func TestToyUploadAndEcho(t *testing.T) {
	conn := edgetest.Dial(t, startToy(t, "shop"))
	var upload struct {
		Bytes  int
		SHA256 string
	}
	a := conn.Do("POST", "POST /upload HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc")
	const abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" // FIPS 180-2, appendix B.1
	if err := json.Unmarshal(a.Body, &upload); err != nil || upload.Bytes != 3 || upload.SHA256 != abc {
		t.Errorf("/upload answered %q", a.Body)
	}
	var echo struct {
		Target string
		Header map[string][]string
	}
	a = conn.Do("GET", "GET /echo?x=%2F HTTP/1.1\r\nHost: a.test\r\nX-A: 1\r\n\r\n")
	if err := json.Unmarshal(a.Body, &echo); err != nil || echo.Target != "/echo?x=%2F" || echo.Header["X-A"][0] != "1" {
		t.Errorf("/echo answered %q", a.Body)
	}
}

func TestToyChatEchoesAndCloses(t *testing.T) {
	addr := startToy(t, "shop")
	conn := edgetest.Dial(t, addr)
	conn.UpgradeWebSocket("a.test", "/chat")
	for _, text := range []string{"hello", "", strings.Repeat("x", 60000)} {
		conn.WebSocketEcho(text)
	}
	conn.CloseWebSocket()
	conn.WantClosed()

	unmasked := edgetest.Dial(t, addr)
	unmasked.UpgradeWebSocket("a.test", "/chat")
	unmasked.Send("\x81\x02hi")
	unmasked.WantClosed()

	if a := edgetest.Dial(t, addr).Do("GET", "GET /chat HTTP/1.1\r\nHost: a.test\r\n\r\n"); a.Status != 426 {
		t.Errorf("without an upgrade: %d", a.Status)
	}
}
