package loadtest

import (
	"errors"
	"io"
	"strings"
	"testing"
)

// read feeds text in pieces of n octets, as a connection would, and its end.
func read(a *answer, text string, n int) (rest string, err error) {
	var held []byte
	for len(text) > 0 && a.phase != complete {
		piece := text[:min(n, len(text))]
		text = text[len(piece):]
		held = append(held, piece...)
		used, err := a.feed(held)
		held = held[used:]
		if err != nil {
			return string(held) + text, err
		}
	}
	if a.phase != complete {
		return string(held) + text, a.eof()
	}
	return string(held) + text, nil
}

func TestAnswersEndWhereTheyShould(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	tests := []struct {
		name, text string
		head       bool
		status     int
		keep       bool
		rest       string
	}{
		{"a length", ok + "Content-Length: 3\r\n\r\nabcHTTP", false, 200, true, "HTTP"},
		{"no body", ok + "content-length: 0\r\n\r\n", false, 200, true, ""},
		{"no reason", "HTTP/1.1 200\r\nContent-Length: 1\r\n\r\na", false, 200, true, ""},
		{"the length twice, equal", ok + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", false, 200, true, ""},
		{"closed by the server", ok + "Content-Length: 3\r\nConnection: close\r\n\r\nabc", false, 200, false, ""},
		{"closed among other options", ok + "Content-Length: 0\r\nConnection: foo , Close\r\n\r\n", false, 200, false, ""},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", false, 200, false, ""},
		{"HTTP/1.0 that stays", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na", false, 200, true, ""},
		{"until the end", ok + "\r\nabc", false, 200, false, ""},
		{"chunked", ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1a;x=\"y\"\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\n\r\nrest", false, 200, true, "rest"},
		{"a trailer", ok + "Transfer-Encoding: Chunked\r\n\r\n1\r\na\r\n0\r\nX-A: b\r\nX-C: d\r\n\r\n", false, 200, true, ""},
		{"HEAD", ok + "Content-Length: 300\r\n\r\n", true, 200, true, ""},
		{"204", "HTTP/1.1 204 No Content\r\n\r\nrest", false, 204, true, "rest"},
		{"304 with a length", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", false, 304, true, ""},
		{"interim answers", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" + ok + "Content-Length: 1\r\n\r\na", false, 200, true, ""},
		{"fields that look similar", ok + "Content-Length: 1\r\nTransfer-Encodings: x\r\nContent-Lengthy: 9\r\n\r\na", false, 200, true, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for n := 1; n <= len(tt.text); n++ {
				var a answer
				a.reset(tt.head)
				rest, err := read(&a, tt.text, n)
				if err != nil || a.phase != complete || a.status != tt.status || a.keep != tt.keep || rest != tt.rest {
					t.Fatalf("in pieces of %d: status %d, keep %v, phase %d, rest %q, error %v", n, a.status, a.keep, a.phase, rest, err)
				}
			}
		})
	}
}

func TestWhatIsNoAnswerIsRefused(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	tests := []struct {
		name, text string
		cut        bool // not wrong, but not whole
	}{
		{"other protocol", "SSH-2.0-OpenSSH_9\r\n", false},
		{"other version", "HTTP/2.0 200 OK\r\n\r\n", false},
		{"status of two digits", "HTTP/1.1 20 OK\r\n\r\n", false},
		{"status with letters", "HTTP/1.1 2x0 OK\r\n\r\n", false},
		{"status 099", "HTTP/1.1 099 OK\r\n\r\n", false},
		{"an upgrade", "HTTP/1.1 101 Switching Protocols\r\n\r\n", false},
		{"a negative length", ok + "Content-Length: -1\r\n\r\n", false},
		{"an empty length", ok + "Content-Length:\r\n\r\n", false},
		{"two lengths", ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", false},
		{"a length of 30 digits", ok + "Content-Length: 123456789012345678901234567890\r\n\r\n", false},
		{"a length beside chunks", ok + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false},
		{"another coding", ok + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", false},
		{"no chunk size", ok + "Transfer-Encoding: chunked\r\n\r\n\r\n", false},
		{"a chunk size with letters", ok + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n", false},
		{"a chunk size without end", ok + "Transfer-Encoding: chunked\r\n\r\n1;" + strings.Repeat("a", maxLine+1), false},
		{"a chunk that is too large", ok + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", false},
		{"a chunk longer than its size", ok + "Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n", false},
		{"a trailer without end", ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("a", maxLine+1), false},
		{"cut before it began", "", true},
		{"cut in the head", ok + "Content-Le", true},
		{"cut in the body", ok + "Content-Length: 3\r\n\r\nab", true},
		{"cut in a chunk", ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nab", true},
		{"cut before the last chunk", ok + "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, n := range []int{1, 7, 1 << 20} {
				var a answer
				_, err := read(&a, tt.text, n)
				if tt.cut && err != io.ErrUnexpectedEOF || !tt.cut && !errors.Is(err, errProtocol) {
					t.Errorf("in pieces of %d: error %v", n, err)
				}
			}
		})
	}
}

// FuzzAnswer: an answer reads the same however the network cuts it, and no answer
// takes more than there is.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 404 Not Found\r\nConnection: keep-alive, close\r\n\r\nbody",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n",
		"HTTP/1.1 200\r\n\r\n",
	} {
		f.Add(seed, uint8(1), false)
		f.Add(seed, uint8(5), true)
	}
	f.Fuzz(func(t *testing.T, text string, n uint8, head bool) {
		var whole, pieces answer
		whole.reset(head)
		pieces.reset(head)
		restWhole, errWhole := read(&whole, text, len(text)+1)
		restPieces, errPieces := read(&pieces, text, int(n)+1)
		if (errWhole == nil) != (errPieces == nil) {
			t.Fatalf("whole: %v; in pieces of %d: %v", errWhole, int(n)+1, errPieces)
		}
		if errWhole == nil && (whole.status != pieces.status || whole.keep != pieces.keep || restWhole != restPieces) {
			t.Fatalf("whole: %+v, rest %q; in pieces of %d: %+v, rest %q", whole, restWhole, int(n)+1, pieces, restPieces)
		}
		if errWhole == nil && (whole.status < 200 || whole.status > 999) {
			t.Fatalf("status %d", whole.status)
		}
	})
}
