package edgetest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// faults are the paths on which a Backend does something else than describe
// the request. Numbers come from the query.
//
//	/bytes?n=N[&chunked=1]        N bytes of Pattern, with Content-Length or chunked
//	/drip?n=N&every=DURATION      N bytes, one at a time
//	/slow?for=DURATION            a pause before the head
//	/stall?n=N                    the head, N bytes, then silence until the peer leaves
//	/reset?n=N                    announces 1 MiB, sends N bytes, resets the connection
//	/cut?n=N                      announces 1 MiB, sends N bytes, closes
//	/close                        closes without a byte
//	/garbage                      answers with something that is not HTTP
//	/raw                          sends the request's body back as the raw answer, then closes
//	/status?code=N                that status
//	/respond?Name=value&body=…    these response fields, and a counter in X-Count
//	/sink                         reads the body and says how long it was, with its SHA-256
//	/early?code=N                 answers without reading the body
//	/continue                     103 Early Hints first
//	/ws                           a WebSocket echo of frames, as they come
var faults = map[string]func(*Backend, http.ResponseWriter, *http.Request){
	"/bytes": sendBytes, "/drip": drip, "/slow": slow, "/stall": stall, "/reset": cutWith(true), "/cut": cutWith(false),
	"/close": hangUp, "/garbage": garbage, "/raw": sendRaw, "/status": status, "/respond": respond, "/sink": sink,
	"/early": early, "/continue": earlyHints, "/ws": echoFrames,
}

// Pattern fills p with the bytes that a Backend's /bytes sends from offset on:
// they differ from place to place, so a lost or doubled piece shows.
func Pattern(p []byte, offset int64) {
	for i := range p {
		at := offset + int64(i)
		p[i] = byte(at ^ at>>8 ^ at>>16)
	}
}

// PatternSum is the hex SHA-256 of the first n bytes of Pattern.
func PatternSum(n int64) string {
	hash := sha256.New()
	_, _ = io.Copy(hash, PatternReader(n))
	return hex.EncodeToString(hash.Sum(nil))
}

// PatternReader reads the first n bytes of Pattern.
func PatternReader(n int64) io.Reader { return io.LimitReader(&pattern{}, n) }

type pattern struct{ at int64 }

func (r *pattern) Read(p []byte) (int, error) {
	Pattern(p, r.at)
	r.at += int64(len(p))
	return len(p), nil
}

func number(r *http.Request, name string, fallback int64) int64 {
	n, err := strconv.ParseInt(r.URL.Query().Get(name), 10, 64)
	if err != nil {
		return fallback
	}
	return n
}

func duration(r *http.Request, name string, fallback time.Duration) time.Duration {
	d, err := time.ParseDuration(r.URL.Query().Get(name))
	if err != nil {
		return fallback
	}
	return d
}

// pause waits, but not for a client that has left.
func pause(r *http.Request, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-r.Context().Done():
		return false
	}
}

func sendBytes(_ *Backend, w http.ResponseWriter, r *http.Request) {
	n := number(r, "n", 1<<20)
	w.Header().Set("Content-Type", "application/octet-stream")
	if r.URL.Query().Get("chunked") == "" {
		w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	}
	if r.Method != http.MethodHead {
		_, _ = io.Copy(w, PatternReader(n))
	}
}

func drip(_ *Backend, w http.ResponseWriter, r *http.Request) {
	n, every := number(r, "n", 10), duration(r, "every", 10*time.Millisecond)
	w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	flush := http.NewResponseController(w)
	one := make([]byte, 1)
	for i := range n {
		Pattern(one, i)
		if _, err := w.Write(one); err != nil || flush.Flush() != nil || !pause(r, every) {
			return
		}
	}
}

func slow(_ *Backend, w http.ResponseWriter, r *http.Request) {
	if pause(r, duration(r, "for", time.Second)) {
		_, _ = io.WriteString(w, "late\n")
	}
}

func stall(_ *Backend, w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Length", "1048576")
	_, _ = io.CopyN(w, &pattern{}, number(r, "n", 10))
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

// hijack takes the connection from net/http; it is closed when use returns.
func hijack(w http.ResponseWriter, use func(net.Conn, io.Reader)) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer conn.Close()
	use(conn, rw)
}

func cutWith(reset bool) func(*Backend, http.ResponseWriter, *http.Request) {
	return func(_ *Backend, w http.ResponseWriter, r *http.Request) {
		n := number(r, "n", 10)
		hijack(w, func(conn net.Conn, _ io.Reader) {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n")
			_, _ = io.CopyN(conn, &pattern{}, n)
			if reset {
				Reset(conn)
			}
		})
	}
}

// Reset makes the coming Close of conn send RST instead of FIN.
func Reset(conn net.Conn) {
	if c, ok := conn.(*countingConn); ok {
		conn = c.Conn
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
}

func hangUp(_ *Backend, w http.ResponseWriter, _ *http.Request) {
	hijack(w, func(net.Conn, io.Reader) {})
}

func garbage(_ *Backend, w http.ResponseWriter, _ *http.Request) {
	hijack(w, func(conn net.Conn, _ io.Reader) {
		_, _ = io.WriteString(conn, "\x00\x01 this is not HTTP\r\n\r\n")
	})
}

func sendRaw(_ *Backend, w http.ResponseWriter, r *http.Request) {
	answer, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	hijack(w, func(conn net.Conn, _ io.Reader) { _, _ = conn.Write(answer) })
}

func status(_ *Backend, w http.ResponseWriter, r *http.Request) {
	w.WriteHeader(int(number(r, "code", 200)))
}

func respond(b *Backend, w http.ResponseWriter, r *http.Request) {
	body := "hello\n"
	for name, values := range r.URL.Query() {
		switch name {
		case "body":
			body = strings.Join(values, "")
			continue
		case "code":
			continue
		}
		w.Header()[http.CanonicalHeaderKey(name)] = values
	}
	w.Header().Set("X-Count", strconv.Itoa(b.Deliveries("")))
	w.WriteHeader(int(number(r, "code", 200)))
	_, _ = io.WriteString(w, body)
}

func sink(_ *Backend, w http.ResponseWriter, r *http.Request) {
	hash := sha256.New()
	n, err := io.Copy(hash, r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"bytes": n, "sha256": hex.EncodeToString(hash.Sum(nil))})
}

func early(_ *Backend, w http.ResponseWriter, r *http.Request) {
	code := number(r, "code", http.StatusRequestEntityTooLarge)
	hijack(w, func(conn net.Conn, _ io.Reader) {
		_, _ = io.WriteString(conn, "HTTP/1.1 "+strconv.FormatInt(code, 10)+" Early\r\nContent-Length: 6\r\nConnection: close\r\n\r\nearly\n")
		// A close with unread bytes would send RST and could take the answer with it.
		if half, ok := conn.(*countingConn); ok {
			if tcp, ok := half.Conn.(*net.TCPConn); ok {
				_ = tcp.CloseWrite()
			}
		}
		_ = conn.SetReadDeadline(time.Now().Add(Patience))
		_, _ = io.Copy(io.Discard, conn)
	})
}

func earlyHints(_ *Backend, w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Link", "</style.css>; rel=preload")
	w.WriteHeader(http.StatusEarlyHints)
	_, _ = io.WriteString(w, "after the hints\n")
}
