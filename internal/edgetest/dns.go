package edgetest

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// DNS starts a name server on loopback, over UDP and TCP, that answers every A
// question with 127.0.0.1 and every other question with an empty answer, and
// returns its address. Names that start with "nxdomain." do not exist.
func DNS(t testing.TB) string {
	t.Helper()
	return DNSWithTXT(t, "")
}

// DNSWithTXT is DNS with TXT records: those of a name are the lines of a file of that name, with its last dot, in a folder.
func DNSWithTXT(t testing.TB, folder string) string {
	t.Helper()
	ln, packets := listenDNS(t)
	var serving sync.WaitGroup
	serving.Go(func() { servePackets(t, packets, folder) })
	serving.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { serveStream(t, conn, folder) })
		}
	})
	t.Cleanup(func() {
		if err := errors.Join(ln.Close(), packets.Close()); err != nil {
			t.Errorf("edgetest: close DNS: %v", err)
		}
		serving.Wait()
	})
	return ln.Addr().String()
}

// listenDNS finds a port that is free for TCP and UDP.
func listenDNS(t testing.TB) (net.Listener, net.PacketConn) {
	t.Helper()
	var taken error
	for range 10 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, "listen for DNS over TCP", err)
		packets, err := net.ListenPacket("udp", ln.Addr().String())
		if err == nil {
			return ln, packets
		}
		taken = err
		must(t, "free a port", ln.Close())
	}
	t.Fatalf("edgetest: listen for DNS over UDP: %v", taken)
	return nil, nil
}

func servePackets(t testing.TB, conn net.PacketConn, folder string) {
	buf := make([]byte, 4096)
	for {
		n, peer, err := conn.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			t.Errorf("edgetest: read DNS question: %v", err)
			return
		}
		answer, err := answerDNS(buf[:n], folder)
		if err != nil {
			continue // not a question
		}
		if _, err := conn.WriteTo(answer, peer); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Errorf("edgetest: write DNS answer: %v", err)
		}
	}
}

// serveStream answers the questions of one connection, each with its length before
// it (RFC 1035 section 4.2.2).
func serveStream(t testing.TB, conn net.Conn, folder string) {
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Errorf("edgetest: set DNS deadline: %v", err)
		return
	}
	for {
		var length [2]byte
		if _, err := io.ReadFull(conn, length[:]); err != nil {
			return // the client has left
		}
		query := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(conn, query); err != nil {
			return
		}
		answer, err := answerDNS(query, folder)
		if err != nil {
			return // not a question
		}
		framed := binary.BigEndian.AppendUint16(nil, uint16(len(answer)))
		if _, err := conn.Write(append(framed, answer...)); err != nil {
			return
		}
	}
}

func answerDNS(query []byte, folder string) ([]byte, error) {
	var p dnsmessage.Parser
	header, err := p.Start(query)
	if err != nil {
		return nil, err
	}
	q, err := p.Question()
	if err != nil {
		return nil, err
	}
	m := dnsmessage.Message{
		Header: dnsmessage.Header{
			ID: header.ID, Response: true, RecursionDesired: header.RecursionDesired, RecursionAvailable: true,
		},
		Questions: []dnsmessage.Question{q},
	}
	switch {
	case strings.HasPrefix(q.Name.String(), "nxdomain."):
		m.RCode = dnsmessage.RCodeNameError
	case q.Type == dnsmessage.TypeA:
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 1},
			Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
		}}
	}
	if q.Type == dnsmessage.TypeTXT && folder != "" {
		text, _ := os.ReadFile(filepath.Join(folder, filepath.Base(strings.ToLower(q.Name.String())))) // none: no records
		for line := range strings.FieldsSeq(string(text)) {
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 1}, Body: &dnsmessage.TXTResource{TXT: []string{line}},
			})
		}
	}
	return m.Pack()
}
