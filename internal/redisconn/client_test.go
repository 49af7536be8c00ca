package redisconn

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gatehouse/internal/edgetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func client(t *testing.T, url string) *Client {
	t.Helper()
	o, err := Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func TestCallsToAHungServerAreBounded(t *testing.T) {
	server := edgetest.Redis(t)
	c := client(t, server.URL())
	if err := c.Ping(context.Background()).Err(); err != nil {
		t.Fatal(err)
	}
	server.Suspend()
	begin := time.Now()
	if err := c.Get(context.Background(), "x").Err(); err == nil {
		t.Error("an answer from a hung server")
	}
	// The defaults of go-redis take 5 s and retry three times.
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("the call took %v, want about %v", took, CallTimeout)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := c.Get(ctx, "x").Err(); err == nil {
		t.Error("an answer from a hung server")
	}
	server.Resume()
	for c.Ping(context.Background()).Err() != nil { // until it is found again; the test's own limit bounds it
		continue
	}
}

func TestNothingIsDialledBeforeItIsNeeded(t *testing.T) {
	c := client(t, "redis://127.0.0.1:1")
	begin := time.Now()
	if err := c.Ping(context.Background()).Err(); err == nil {
		t.Error("an answer from a closed port")
	}
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("a refused connection took %v", took)
	}
	if _, err := c.Dial(context.Background()); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("got %v", err)
	}
}

func TestLoginsAndDatabases(t *testing.T) {
	server := edgetest.Redis(t, "--requirepass", "s3cret")
	for url, want := range map[string]string{
		"redis://" + server.Addr():                       "give user and password",
		"redis://:wr0ng@" + server.Addr():                "give user and password",
		"redis://:s3cret@" + server.Addr() + "/5":        "",
		"redis://default:s3cret@" + server.Addr() + "/1": "",
		"redis://:s3cret@" + server.Addr() + "/500":      "DB index",
	} {
		c := client(t, url)
		conn, err := c.Dial(context.Background())
		if err == nil {
			err = conn.Close()
		}
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", c, err, want)
		}
		if err != nil && (strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "wr0ng")) {
			t.Errorf("the password is in the error: %v", err)
		}
	}
	server.CLI("-a", "s3cret", "--no-auth-warning", "ACL", "LIST")
}

func TestPushesAndRepliesAreInOrder(t *testing.T) {
	server := edgetest.Redis(t)
	conn, err := client(t, server.URL()).Dial(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Must([]string{"CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "a:"}); err != nil {
		t.Fatal(err)
	}
	// Our own write pushes before or after its reply: both are kept apart.
	replies, err := conn.Must([]string{"SET", "a:1", "x"}, []string{"GET", "a:1"}, []string{"SET", "b:1", "x"})
	if err != nil || len(replies) != 3 || replies[1].Text != "x" {
		t.Fatalf("got %+v, %v", replies, err)
	}
	server.CLI("FLUSHALL")
	var seen []string
	for len(seen) < 2 {
		pushes, err := conn.Pushes(20*time.Second, 50*time.Millisecond)
		if err != nil || len(pushes) == 0 {
			t.Fatalf("%v after %v", err, seen)
		}
		for i := range pushes {
			kind, arg := pushes[i].Kind()
			if kind != "invalidate" {
				t.Errorf("a push of %q", kind)
			}
			if arg.Null {
				seen = append(seen, "flush")
			}
			for _, key := range arg.Items {
				seen = append(seen, key.Text)
			}
		}
	}
	if seen[0] != "a:1" || seen[1] != "flush" {
		t.Errorf("got %v", seen)
	}
	if pushes, err := conn.Pushes(time.Millisecond, time.Millisecond); err != nil || len(pushes) != 0 {
		t.Errorf("out of nothing: %v, %v", pushes, err)
	}
	if _, err := conn.Must([]string{"NOSUCH"}); err == nil {
		t.Error("a refusal is no error")
	}
	if err := conn.Ping(); err != nil {
		t.Errorf("a refusal ended the connection: %v", err)
	}
}

func TestConnEndsWithItsContext(t *testing.T) {
	server := edgetest.Redis(t)
	ctx, cancel := context.WithCancel(context.Background())
	conn, err := client(t, server.URL()).Dial(ctx)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := conn.Pushes(time.Hour, time.Second)
		done <- err
	}()
	cancel()
	select {
	case err := <-done:
		if err == nil {
			t.Error("no error")
		}
	case <-time.After(30 * time.Second):
		t.Fatal("it goes on waiting")
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
}

func TestServerThatIsNoRedisIsRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("SSH-2.0-x\r\n")) // the client may hang up first
			_ = conn.Close()
		}
	}()
	if _, err := client(t, "redis://"+l.Addr().String()).Dial(context.Background()); !errors.Is(err, errProtocol) {
		t.Errorf("got %v", err)
	}
}

func TestTLSVerifiesTheServer(t *testing.T) {
	leaf := edgetest.NewCA(t).Issue(t, "127.0.0.1", "localhost")
	certFile, keyFile := leaf.Write(t, t.TempDir(), "redis")
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("+PONG\r\n")) // the handshake fails here
			_ = conn.Close()
		}
	}()
	c := client(t, "rediss://"+l.Addr().String())
	_, dialErr := c.Dial(context.Background())
	for name, err := range map[string]error{"dial": dialErr, "ping": c.Ping(context.Background()).Err()} {
		var unknown x509.UnknownAuthorityError
		if !errors.As(err, &unknown) {
			t.Errorf("%s: a server that nobody vouches for: %v", name, err)
		}
	}
}
