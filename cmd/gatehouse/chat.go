package main

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"io"
	"net/http"
	"strings"
)

// The frame types of RFC 6455 §5.2 that chat knows.
const (
	frameClose = 8
	framePing  = 9
	framePong  = 10
)

// maxChatFrame bounds what a toy keeps of one frame.
const maxChatFrame = 64 << 10

// chat is a WebSocket that sends every text or binary frame back, answers pings
// and leaves with a close frame.
func chat(w http.ResponseWriter, r *http.Request) {
	key := r.Header.Get("Sec-WebSocket-Key")
	if key == "" || !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		w.Header().Set("Upgrade", "websocket")
		http.Error(w, "this is a WebSocket", http.StatusUpgradeRequired)
		return
	}
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "no upgrade over this protocol", http.StatusNotImplemented)
		return
	}
	defer conn.Close()
	defer context.AfterFunc(r.Context(), func() { _ = conn.Close() })()
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) // RFC 6455 §1.3
	_, err = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Accept: "+base64.StdEncoding.EncodeToString(sum[:])+"\r\n\r\n")
	for err == nil {
		var head byte
		var payload []byte
		if head, payload, err = readChatFrame(rw.Reader); err != nil {
			return
		}
		kind := head & 0x0f
		if kind == framePing {
			head = head&0xf0 | framePong
		}
		if kind == framePong {
			continue
		}
		_, err = conn.Write(chatFrame(head, payload))
		if kind == frameClose {
			return
		}
	}
}

// readChatFrame reads one masked frame. The first byte is the frame's own, so
// that a fragmented message is echoed in the same fragments.
func readChatFrame(r *bufio.Reader) (head byte, payload []byte, err error) {
	var b [8]byte
	if _, err = io.ReadFull(r, b[:2]); err != nil {
		return 0, nil, err
	}
	head = b[0]
	masked, length := b[1]&0x80 != 0, uint64(b[1]&0x7f)
	switch length {
	case 126:
		_, err = io.ReadFull(r, b[:2])
		length = uint64(binary.BigEndian.Uint16(b[:2]))
	case 127:
		_, err = io.ReadFull(r, b[:8])
		length = binary.BigEndian.Uint64(b[:8])
	}
	// A client masks every frame (§5.1); one that does not gets no answer.
	if err != nil || !masked || length > maxChatFrame {
		return 0, nil, io.ErrUnexpectedEOF
	}
	var mask [4]byte
	if _, err = io.ReadFull(r, mask[:]); err != nil {
		return 0, nil, err
	}
	payload = make([]byte, length)
	if _, err = io.ReadFull(r, payload); err != nil {
		return 0, nil, err
	}
	for i := range payload {
		payload[i] ^= mask[i%4]
	}
	return head, payload, nil
}

// chatFrame is an unmasked frame with the given first byte.
func chatFrame(head byte, payload []byte) []byte {
	out := []byte{head}
	switch n := len(payload); {
	case n < 126:
		out = append(out, byte(n))
	case n < 1<<16:
		out = binary.BigEndian.AppendUint16(append(out, 126), uint16(n))
	default:
		out = binary.BigEndian.AppendUint64(append(out, 127), uint64(n))
	}
	return append(out, payload...)
}
