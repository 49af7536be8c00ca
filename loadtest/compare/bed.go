package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// A bed is what peers are measured on: a run folder, the backend, addresses, and
// names that resolve. One goroutine uses it.
type bed struct {
	dir      string
	settings settings
	backend  *process
	prefix   []string // see named
	seeds    int64    // loads so far: each gets unique values of its own
	asked    int64    // how often we asked the backend for its counter
	keep     bool
}

// newBed makes the run folder and starts the backend. Close it.
func newBed(ctx context.Context, keep bool) (*bed, error) {
	dir, err := os.MkdirTemp("", "gatehouse-bench-")
	if err != nil {
		return nil, err
	}
	b := &bed{dir: dir, keep: keep}
	if err := b.make(ctx); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

func (b *bed) make(ctx context.Context) error {
	// Servers that give up root read their files here.
	if err := os.Chmod(b.dir, 0o755); err != nil {
		return err
	}
	s := settings{Dir: b.dir, Log: filepath.Join(b.dir, "access.log"), Root: os.Geteuid() == 0, Descriptors: descriptors() - 500}
	if err := freePorts(&s.Backend, &s.Counter, &s.HTTPS, &s.Plain, &s.Admin); err != nil {
		return err
	}
	if err := makeCertificate(&s); err != nil {
		return err
	}
	b.settings = s
	if err := b.writeFiles(); err != nil {
		return err
	}
	if err := b.resolveNames(ctx); err != nil {
		return err
	}
	conf, err := b.configure("backend.nginx.conf", s)
	if err != nil {
		return err
	}
	if b.backend, err = b.start(ctx, "backend", loadCPU, nil, "nginx", "-p", b.dir, "-c", conf); err != nil {
		return err
	}
	return b.backend.listening(ctx, s.Backend)
}

// close ends the backend and removes the run folder, unless it is to be kept.
func (b *bed) close() error {
	if b.backend != nil {
		b.backend.stop()
	}
	if b.keep {
		return nil
	}
	return os.RemoveAll(b.dir)
}

// remove deletes files and folders of the run folder; those that are not there are none.
func (b *bed) remove(names ...string) error {
	for _, name := range names {
		if err := os.RemoveAll(filepath.Join(b.dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// writeFiles makes what the backend serves: text that no compression would make nothing of.
func (b *bed) writeFiles() error {
	dir := filepath.Join(b.dir, "files")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	for name, size := range sizes {
		var text strings.Builder
		for i := 0; text.Len() < size; i++ {
			fmt.Fprintf(&text, "<p>Paragraph %d: a chair of ash wood, oiled by hand, for the garden.</p>\n", i)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text.String()[:size]), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// freePorts finds as many free ports of 127.0.0.1. Somebody may take one before it is
// used: the peer then says so.
func freePorts(out ...*netip.AddrPort) error {
	for _, at := range out {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return fmt.Errorf("find a free port: %w", err)
		}
		defer ln.Close() // when all are found, so that all differ
		*at = netip.MustParseAddrPort(ln.Addr().String())
	}
	return nil
}

// answered returns how many requests the backend has answered. Asking is one more,
// which is taken off.
func (b *bed) answered(ctx context.Context) (int64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.settings.Counter.String()+"/", nil)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, fmt.Errorf("ask the backend how much it did: %w", err)
	}
	defer response.Body.Close()
	b.asked++
	n, err := parseCounter(bufio.NewScanner(response.Body))
	return n - b.asked, err
}

// parseCounter reads nginx's stub_status, whose third line is accepted connections,
// handled connections and requests.
func parseCounter(lines *bufio.Scanner) (int64, error) {
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) != 3 || f[0] == "Active" {
			continue
		}
		n, err := strconv.ParseInt(f[2], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("the backend's counter: %w", err)
		}
		return n, nil
	}
	return 0, errors.Join(errors.New("the backend's counter has another form"), lines.Err())
}
