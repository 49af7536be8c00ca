package edge

import (
	"io"
	"strings"
	"testing"
)

// An abortable is a connection that counts how often its reads were ended.
type abortable struct {
	clientConn
	ended int
}

func (a *abortable) AbortRead() error { a.ended++; return nil }

// Ending the reads of a connection whose body is whole would lose the next request.
func TestAbortLeavesTheConnectionOfAWholeBodyAlone(t *testing.T) {
	for whole, want := range map[bool]int{true: 0, false: 1} {
		conn := &abortable{}
		b := &requestBody{}
		b.reset(strings.NewReader("some text"), 9, 0, conn)
		most := int64(4)
		if whole {
			most = 100
		}
		if _, _, err := b.peek(most); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Read(make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
		if whole { // the end is told by the read behind the last byte
			if _, err := io.ReadAll(b); err != nil {
				t.Fatal(err)
			}
		}
		if b.Abort(); conn.ended != want {
			t.Errorf("whole %v: reads ended %d times, want %d", whole, conn.ended, want)
		}
	}
}
