package wire

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pair returns a client's end and ours. Both live in the test's bubble.
func pair(t *testing.T) (client net.Conn, ours *Conn) {
	t.Helper()
	client, raw := net.Pipe()
	t.Cleanup(func() { client.Close(); raw.Close() })
	return client, &Conn{Conn: raw, raw: raw}
}

// A head that comes a byte at a time ends at HeadTimeout, however lively it is.
func TestSlowHeadEndsAtHeadTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, ours := pair(t)
		begin := time.Now()
		var sender sync.WaitGroup
		defer sender.Wait()
		defer client.Close()
		sender.Go(func() {
			for range 100 {
				if _, err := client.Write([]byte("a")); err != nil {
					return
				}
				time.Sleep(3 * time.Second)
			}
		})
		for {
			if _, err := ours.Read(make([]byte, 100)); err != nil {
				if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) != HeadTimeout {
					t.Errorf("%v after %v", err, time.Since(begin))
				}
				return
			}
		}
	})
}

// A body may take as long as it likes while it moves, and one that does not is
// given up after StallTimeout.
func TestBodyMayBeSlowButNotStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, ours := pair(t)
		ours.HeadDone()
		go func() {
			for range 20 {
				_, _ = client.Write([]byte("a"))
				time.Sleep(StallTimeout - time.Second)
			}
		}()
		read := 0
		for {
			begin := time.Now()
			n, err := ours.Read(make([]byte, 100))
			read += n
			if err == nil {
				continue
			}
			if read != 20 || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) != StallTimeout {
				t.Errorf("%v after %d bytes and %v", err, read, time.Since(begin))
			}
			return
		}
	})
}

// A large answer to a client that takes it slowly is not cut: each piece has its
// own StallTimeout.
func TestLargeWriteToASlowReaderIsNotCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, ours := pair(t)
		want := bytes.Repeat([]byte("gatehouse"), 30<<10)
		done := make(chan error, 1)
		go func() {
			_, err := ours.Write(want)
			done <- err
			ours.Close()
		}()
		var got bytes.Buffer
		for {
			if _, err := io.CopyN(&got, client, 16<<10); err != nil {
				break
			}
			time.Sleep(StallTimeout / 3)
		}
		if err := <-done; err != nil || !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%v after %d of %d bytes", err, got.Len(), len(want))
		}
	})
}

// A tunnel may be silent for ever.
func TestTunnelHasNoStallTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, ours := pair(t)
		ours.Unhurried()
		go func() {
			time.Sleep(100 * StallTimeout)
			_, _ = client.Write([]byte("a"))
		}()
		if _, err := ours.Read(make([]byte, 1)); err != nil {
			t.Error(err)
		}
	})
}

func TestAbortReadWakesAReader(t *testing.T) {
	_, ours := pair(t)
	ours.HeadDone()
	failed := make(chan error, 1)
	go func() {
		_, err := ours.Read(make([]byte, 1))
		failed <- err
	}()
	if err := ours.AbortRead(); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v", err)
	}
}
