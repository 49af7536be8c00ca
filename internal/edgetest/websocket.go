package edgetest

import (
	"bufio"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// websocketGUID is appended to the client's key (RFC 6455 §1.3).
const websocketGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + websocketGUID))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// echoFrames answers an upgrade and sends every frame back, unmasked, until a
// close frame has been echoed or the peer leaves.
func echoFrames(_ *Backend, w http.ResponseWriter, r *http.Request) {
	key := r.Header.Get("Sec-WebSocket-Key")
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") || key == "" {
		http.Error(w, "no WebSocket upgrade", http.StatusBadRequest)
		return
	}
	hijack(w, func(conn net.Conn, from io.Reader) {
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", acceptKey(key))
		br := bufio.NewReader(from)
		for {
			op, payload, err := readFrame(br)
			if err != nil || writeFrame(conn, op, payload, false) != nil || op == opClose {
				return
			}
		}
	})
}

const (
	opText  = 1
	opClose = 8
)

// readFrame reads one frame of at most 1 MiB (RFC 6455 §5.2).
func readFrame(r io.Reader) (op byte, payload []byte, err error) {
	var head [8]byte
	if _, err = io.ReadFull(r, head[:2]); err != nil {
		return 0, nil, err
	}
	op, masked, length := head[0]&0x0f, head[1]&0x80 != 0, uint64(head[1]&0x7f)
	switch length {
	case 126:
		if _, err = io.ReadFull(r, head[:2]); err != nil {
			return 0, nil, err
		}
		length = uint64(binary.BigEndian.Uint16(head[:2]))
	case 127:
		if _, err = io.ReadFull(r, head[:8]); err != nil {
			return 0, nil, err
		}
		length = binary.BigEndian.Uint64(head[:8])
	}
	if length > 1<<20 {
		return 0, nil, fmt.Errorf("a frame of %d bytes", length)
	}
	var mask [4]byte
	if masked {
		if _, err = io.ReadFull(r, mask[:]); err != nil {
			return 0, nil, err
		}
	}
	payload = make([]byte, length)
	if _, err = io.ReadFull(r, payload); err != nil {
		return 0, nil, err
	}
	for i := range payload {
		payload[i] ^= mask[i%4]
	}
	return op, payload, nil
}

func writeFrame(w io.Writer, op byte, payload []byte, mask bool) error {
	frame := []byte{0x80 | op}
	bit := byte(0)
	if mask {
		bit = 0x80
	}
	switch n := len(payload); {
	case n < 126:
		frame = append(frame, bit|byte(n))
	case n < 1<<16:
		frame = binary.BigEndian.AppendUint16(append(frame, bit|126), uint16(n))
	default:
		frame = binary.BigEndian.AppendUint64(append(frame, bit|127), uint64(n))
	}
	if !mask {
		frame = append(frame, payload...)
	} else {
		var key [4]byte
		_, _ = rand.Read(key[:])
		frame = append(frame, key[:]...)
		for i, b := range payload {
			frame = append(frame, b^key[i%4])
		}
	}
	_, err := w.Write(frame)
	return err
}

// UpgradeWebSocket asks for path on host, wants 101 and leaves the connection
// ready for WebSocketEcho.
func (c *RawConn) UpgradeWebSocket(host, path string) {
	c.t.Helper()
	key := base64.StdEncoding.EncodeToString([]byte("edgetest-16bytes"))
	a := c.Do(http.MethodGet, "GET "+path+" HTTP/1.1\r\nHost: "+host+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "+key+"\r\n\r\n")
	if a.Status != http.StatusSwitchingProtocols {
		c.t.Fatalf("edgetest: the upgrade was answered with %d %q", a.Status, a.Body)
	}
	if got := a.Header.Get("Sec-WebSocket-Accept"); got != acceptKey(key) {
		c.t.Fatalf("edgetest: Sec-WebSocket-Accept is %q", got)
	}
}

// WebSocketEcho sends a text frame and wants the same text back.
func (c *RawConn) WebSocketEcho(text string) {
	c.t.Helper()
	c.deadline()
	must(c.t, "send a frame", writeFrame(c.Conn, opText, []byte(text), true))
	op, payload, err := readFrame(c.r)
	must(c.t, "read a frame", err)
	if op != opText || string(payload) != text {
		c.t.Fatalf("edgetest: sent the frame %q, got frame type %d %q", text, op, payload)
	}
}

// CloseWebSocket sends a close frame and wants it answered.
func (c *RawConn) CloseWebSocket() {
	c.t.Helper()
	c.deadline()
	must(c.t, "send a close frame", writeFrame(c.Conn, opClose, []byte{0x03, 0xe8}, true))
	op, _, err := readFrame(c.r)
	must(c.t, "read a close frame", err)
	if op != opClose {
		c.t.Fatalf("edgetest: a close frame was answered with frame type %d", op)
	}
}
