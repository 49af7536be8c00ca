package e2e

import (
	"bufio"
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatehouse/admin"
	"gatehouse/internal/edgetest"
)

// kill -9 at any moment, while routes change, names are ordered from an ACME
// issuer and certificate files are replaced: no state file is ever half written,
// and the node starts again.
func TestKilledNodeLeavesNoCorruptState(t *testing.T) {
	t.Parallel()
	kills := rounds(t, "KILL_ROUNDS", 10, 50)
	b := edgetest.NewBackend(t)
	ca := edgetest.NewCA(t)
	n := prepare(t, "", map[string]string{"site.yaml": vhost("www.shop.test", b.URL, "waf: {mode: off}")})
	pebble := edgetest.Pebble(t, port(t, n.http), port(t, n.https))
	n.write("gatehouse.yaml", fmt.Sprintf("listen: {http: %q, https: %q, admin: %q}\n"+
		"certificates: {issuer: acme, acme: {directory: %q, trust: %q}}\n", n.http, n.https, n.admin, pebble.DirectoryURL, pebble.TrustFile))
	files := 0
	for round := range kills {
		n.start()
		begin := time.Now()
		life := time.Duration(rand.IntN(1000)) * time.Millisecond // its end is the attack
		for i := 0; time.Since(begin) < life; i++ {
			changeSomething(n, ca, b.URL, round, i)
		}
		n.kill()
		files = checkState(t, filepath.Join(n.dir, "data"))
	}
	n.start()
	if got := n.get("www.shop.test", "/"); got.Status != 200 && got.Status != 301 {
		t.Errorf("after %d kills: status %d", kills, got.Status)
	}
	n.stop()
	t.Logf("%d kills, %d state files in the end", kills, files)
}

func changeSomething(n *node, ca *edgetest.CA, backend string, round, i int) {
	name := fmt.Sprintf("s%d-%d.test", round, i%5)
	if i%5 == 4 { // one with certificate files
		ca.Issue(n.t, name).Write(n.t, n.dir, "own")
		n.write("conf.d/own.yaml", vhost(name, backend, "waf: {mode: off}", "tls: {certificate: {cert: ../own.pem, key: ../own.key}}"))
		return
	}
	n.write(fmt.Sprintf("conf.d/c%d.yaml", i%5), vhost(name, backend, "waf: {mode: off}"))
}

// checkState parses every file of a data folder and returns how many there are.
func checkState(t *testing.T, data string) (files int) {
	t.Helper()
	err := filepath.WalkDir(data, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || entry.Type() == fs.ModeSocket {
			return err
		}
		if strings.HasPrefix(entry.Name(), ".") { // what was not renamed is not state
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		if err := parseState(path, text); err != nil {
			t.Errorf("%s is corrupt: %v (%d bytes)", path, err, len(text))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func parseState(path string, text []byte) error {
	folder := filepath.Base(filepath.Dir(path))
	switch {
	case strings.HasPrefix(filepath.Base(path), "routes.last-good"):
		return parseLines(text)
	case strings.HasSuffix(path, ".json"), strings.HasSuffix(path, ".failed"), strings.HasSuffix(path, ".order"):
		if !json.Valid(text) {
			return errors.New("no JSON")
		}
		return nil
	case folder == "tickets":
		if len(text) != 32 {
			return errors.New("want 32 bytes")
		}
		return nil
	case folder == "ocsp":
		return errors.New("nobody here has a responder")
	}
	return parsePEM(text)
}

func parseLines(text []byte) error {
	if !bytes.HasSuffix(text, []byte("}\n")) {
		return errors.New("no whole last line")
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		if !json.Valid(lines.Bytes()) {
			return fmt.Errorf("no JSON: %q", lines.Text())
		}
	}
	return lines.Err()
}

// parsePEM wants whole blocks and nothing else, and each to be what it says.
func parsePEM(text []byte) error {
	for blocks := 0; ; blocks++ {
		block, rest := pem.Decode(text)
		if block == nil {
			if blocks == 0 || len(bytes.TrimSpace(rest)) > 0 {
				return fmt.Errorf("after %d blocks: %q", blocks, rest)
			}
			return nil
		}
		var err error
		switch block.Type {
		case "CERTIFICATE":
			_, err = x509.ParseCertificate(block.Bytes)
		case "EC PRIVATE KEY":
			_, err = x509.ParseECPrivateKey(block.Bytes)
		default:
			_, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		}
		if err != nil {
			return err
		}
		text = rest
	}
}

// The process before is killed while the new one starts: that goes on alone.
func TestKillBeforeTheNewProcessServesLeavesANodeThatServes(t *testing.T) {
	t.Parallel()
	redis := edgetest.Redis(t)
	b := edgetest.NewBackend(t)
	redis.CLI("rpush", "frontend:www.shop.test", "shop", b.URL)
	n := launch(t, "routes: "+redis.URL()+"\ndefaults: {waf: {mode: off}}\n", nil)
	n.within("www.shop.test", 200)
	s := succeed(n)
	redis.Suspend() // the new process waits a second for it
	defer redis.Resume()
	n.signal(syscall.SIGUSR2)
	edgetest.WaitFor(t, "the new process to start", func() bool {
		return strings.Count(n.stderr.String(), "waf rules compiled") == 2
	})
	n.signal(syscall.SIGKILL)
	n.within("www.shop.test", 200)
	redis.Resume()
	redis.CLI("rpush", "frontend:new.test", "shop", b.URL)
	n.within("new.test", 200)
	was := s.pid
	edgetest.WaitFor(t, "an upgrade to be possible", func() bool {
		out, code := n.run("upgrade", "-o", "json")
		var done admin.Upgraded
		if code != 0 || json.Unmarshal([]byte(out), &done) != nil {
			return false // it has to see first that the data folder is its own
		}
		if done.OldPID == was {
			t.Errorf("process %d was killed, and answers", was)
		}
		return true
	})
}

// The process before is killed while it drains.
func TestKillDuringAnUpgradeLeavesANodeThatServes(t *testing.T) {
	t.Parallel()
	redis := edgetest.Redis(t)
	b := edgetest.NewBackend(t)
	redis.CLI("rpush", "frontend:www.shop.test", "shop", b.URL)
	n := launch(t, "routes: "+redis.URL()+"\ndefaults: {waf: {mode: off}}\n", nil)
	n.within("www.shop.test", 200)
	s := succeed(n)
	was := s.pid
	s.upgrade()
	if err := syscall.Kill(was, syscall.SIGKILL); err != nil { // while it drains
		t.Fatal(err)
	}
	n.within("www.shop.test", 200)
	redis.CLI("rpush", "frontend:new.test", "shop", b.URL)
	n.within("new.test", 200)
	out := filepath.Join(n.dir, "data", "routes.last-good") // which is the new process' now
	edgetest.WaitFor(t, "the last good routes to be written", func() bool {
		text, err := os.ReadFile(out)
		return err == nil && has(string(text), "new.test")
	})
	s.upgrade()
	if got := n.get("www.shop.test", "/"); got.Status != 200 {
		t.Errorf("status %d", got.Status)
	}
}

// Out of habit, and by terminals that close, nodes get SIGHUP: it ends nothing, and the log says what there is in its place.
func TestHangupChangesNothing(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	n := prepare(t, "", map[string]string{"site.yaml": vhost("www.shop.test", b.URL)})
	n.start()
	if err := n.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if !signal.Ignored(syscall.SIGHUP) { // as under nohup: then it is for the node, too, and not even worth a line
		edgetest.WaitFor(t, "the log to say so", func() bool { return has(n.stderr.String(), "SIGHUP changes nothing", "gatehouse upgrade") })
	}
	if got := n.get("www.shop.test", "/"); got.Status != 200 {
		t.Errorf("status %d", got.Status)
	}
	n.stop()
}
