package loadtest

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// rawH2 starts a server whose connections are what serve does with them, after the
// client's preface; n counts them from 1.
func rawH2(t *testing.T, serve func(f *http2.Framer, n int64)) (url string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	var n int64
	conns.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			n++
			number := n
			conns.Go(func() {
				defer c.Close()
				if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err == nil {
					serve(http2.NewFramer(c, c), number)
				}
			})
		}
	})
	t.Cleanup(func() { ln.Close(); conns.Wait() })
	return "http://" + ln.Addr().String() + "/"
}

func head(fields ...string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for i := 0; i < len(fields); i += 2 {
		_ = e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}) // into memory
	}
	return b.Bytes()
}

// TestHTTP2BodiesHaveTheirLength: RFC 9113 §8.1.1.
func TestHTTP2BodiesHaveTheirLength(t *testing.T) {
	for name, tt := range map[string]struct {
		method string
		head   []string
		body   string // empty: END_STREAM stands with the head
		bad    string // what the cause says; empty: it is good
	}{
		"as said":             {head: []string{":status", "200", "content-length", "3"}, body: "abc"},
		"said twice":          {head: []string{":status", "200", "content-length", "3", "content-length", "3"}, body: "abc"},
		"not said":            {head: []string{":status", "200"}, body: "abc"},
		"none":                {head: []string{":status", "200", "content-length", "0"}},
		"of a HEAD":           {method: "HEAD", head: []string{":status", "200", "content-length", "3"}},
		"of a 304":            {head: []string{":status", "304", "content-length", "3"}},
		"shorter":             {head: []string{":status", "200", "content-length", "4"}, body: "abc", bad: "shorter than its content-length of 4"},
		"missing":             {head: []string{":status", "200", "content-length", "4"}, bad: "shorter"},
		"longer":              {head: []string{":status", "200", "content-length", "2"}, body: "abc", bad: "longer than its content-length of 2"},
		"two of them":         {head: []string{":status", "200", "content-length", "3", "content-length", "4"}, body: "abc", bad: `content-length "4"`},
		"negative":            {head: []string{":status", "200", "content-length", "-3"}, body: "abc", bad: `content-length "-3"`},
		"a body behind a 204": {head: []string{":status", "204"}, body: "abc", bad: "longer"},
		"a body behind HEAD":  {method: "HEAD", head: []string{":status", "200", "content-length", "3"}, body: "abc", bad: "longer"},
		"no status":           {head: []string{"x-a", "b"}, body: "abc", bad: "status"},
	} {
		t.Run(name, func(t *testing.T) {
			url := rawH2(t, func(f *http2.Framer, _ int64) {
				if f.WriteSettings() != nil {
					return
				}
				for {
					frame, err := f.ReadFrame()
					if err != nil {
						return
					}
					if h, ok := frame.(*http2.HeadersFrame); ok {
						err = f.WriteHeaders(http2.HeadersFrameParam{StreamID: h.StreamID, BlockFragment: head(tt.head...), EndHeaders: true, EndStream: tt.body == ""})
						if err == nil && tt.body != "" {
							err = f.WriteDataPadded(h.StreamID, true, []byte(tt.body), make([]byte, 7)) // padding is no body
						}
					}
					if err != nil {
						return
					}
				}
			})
			r := load(t, &Plan{Targets: []Target{{URL: url, Method: tt.method}}, HTTP: "2", Connections: 1, Requests: 5})
			if tt.bad == "" && (r.Requests != 5 || len(r.Errors) != 0) {
				t.Errorf("%d answers, errors %v, causes %v", r.Requests, r.Errors, r.Causes)
			}
			if tt.bad != "" && (r.Errors["protocol"] != 5 || !strings.Contains(r.Causes["protocol"], tt.bad)) {
				t.Errorf("%d answers, errors %v, causes %v, want %q", r.Requests, r.Errors, r.Causes, tt.bad)
			}
		})
	}
}

// TestStreamsWaitForTheServersSettings: until they are there nobody knows how many it takes.
func TestStreamsWaitForTheServersSettings(t *testing.T) {
	const most = 3
	var refused, together atomic.Int64
	url := rawH2(t, func(f *http2.Framer, n int64) {
		var mu sync.Mutex
		allowed, asked := 1, []uint32{}
		answer := func() {
			for _, id := range asked {
				_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: head(":status", "200"), EndHeaders: true, EndStream: true})
			}
			asked = asked[:0]
		}
		begin := func() {
			mu.Lock()
			defer mu.Unlock()
			_ = f.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: most})
			allowed = most
			answer()
		}
		if n == 1 { // the one that is tried
			begin()
		}
		later := time.AfterFunc(time.Hour, begin)
		defer later.Stop()
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			h, ok := frame.(*http2.HeadersFrame)
			if !ok {
				continue
			}
			mu.Lock()
			if allowed == 1 && len(asked) == 0 { // time for further requests to come, which must not
				later.Reset(30 * time.Millisecond)
			}
			if asked = append(asked, h.StreamID); len(asked) > allowed {
				refused.Add(1)
				_ = f.WriteRSTStream(h.StreamID, http2.ErrCodeRefusedStream)
				asked = asked[:len(asked)-1]
			} else if allowed == most && len(asked) == most {
				together.Add(1)
				answer()
			}
			mu.Unlock()
		}
	})
	r := load(t, &Plan{Targets: to(url), HTTP: "2", Connections: 1, Streams: 30, Requests: 1 + 20*most})
	if r.Requests != 1+20*most || len(r.Errors) != 0 || refused.Load() != 0 || together.Load() != 20 {
		t.Errorf("%d answers, errors %v, %d streams refused, %d times together", r.Requests, r.Errors, refused.Load(), together.Load())
	}
}

// TestAServerThatAllowsNoStreamsTimesOut: waiting for room is part of the time, too.
func TestAServerThatAllowsNoStreamsTimesOut(t *testing.T) {
	url := rawH2(t, func(f *http2.Framer, _ int64) {
		_ = f.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 0})
		for {
			if _, err := f.ReadFrame(); err != nil {
				return
			}
		}
	})
	r := load(t, &Plan{Targets: to(url), HTTP: "2", Connections: 1, Streams: 2, Requests: 4, Timeout: 100 * time.Millisecond})
	if r.Errors["timeout"] != 4 || r.Causes["timeout"] == "" {
		t.Errorf("%d answers, errors %v, causes %v", r.Requests, r.Errors, r.Causes)
	}
}

func TestStreamsWithoutAnAnswerAtTheEndAreCounted(t *testing.T) {
	stuck := make(chan struct{})
	address, ca, _ := secure(t, true, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-stuck:
		case <-r.Context().Done():
		}
	})
	defer close(stuck)
	r := load(t, &Plan{
		Targets: to("https://a.test/"), Connect: address, Roots: ca.Pool(), HTTP: "2", Connections: 2, Streams: 3,
		Duration: time.Duration(hangs) + time.Second,
	})
	if r.Errors["unfinished"] != 6 || r.Requests != 0 || r.Causes["unfinished"] == "" {
		t.Errorf("%d answers, errors %v, causes %v", r.Requests, r.Errors, r.Causes)
	}
}

// TestServersThatStopSpeakingHTTP2AreSaidSo: the reset says what is likely wrong.
func TestServersThatStopSpeakingHTTP2AreSaidSo(t *testing.T) {
	url := rawH2(t, func(f *http2.Framer, n int64) {
		if n > 1 {
			return
		}
		_ = f.WriteSettings()
		for {
			if _, err := f.ReadFrame(); err != nil {
				return
			}
		}
	})
	r := load(t, &Plan{Targets: to(url), HTTP: "2", Connections: 1, Requests: 2})
	if r.Errors["reset"] != 2 || !strings.Contains(r.Causes["reset"], "does not begin HTTP/2") {
		t.Errorf("%d answers, errors %v, causes %v", r.Requests, r.Errors, r.Causes)
	}
}

// TestAFrameLargerThanAllowedIsNotRead: 16 MiB of memory for each connection would be the
// server's to take.
func TestAFrameLargerThanAllowedIsNotRead(t *testing.T) {
	url := rawH2(t, func(f *http2.Framer, n int64) {
		_ = f.WriteSettings()
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			if h, ok := frame.(*http2.HeadersFrame); ok {
				_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: h.StreamID, BlockFragment: head(":status", "200"), EndHeaders: true})
				_ = f.WriteData(h.StreamID, true, make([]byte, firstFrame+1))
			}
		}
	})
	r := load(t, &Plan{Targets: to(url), HTTP: "2", Connections: 1, Streams: 1, Requests: 1})
	if r.Errors["protocol"] != 1 || !strings.Contains(r.Causes["protocol"], "frame too large") {
		t.Errorf("%d answers, errors %v, causes %v", r.Requests, r.Errors, r.Causes)
	}
}

// TestTheCauseAfterGOAWAYIsGOAWAY: whoever closes the connection then.
func TestTheCauseAfterGOAWAYIsGOAWAY(t *testing.T) {
	url := rawH2(t, func(f *http2.Framer, n int64) {
		_ = f.WriteSettings()
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			if _, ok := frame.(*http2.HeadersFrame); ok {
				_ = f.WriteGoAway(0, http2.ErrCodeEnhanceYourCalm, nil)
			}
		}
	})
	r := load(t, &Plan{Targets: to(url), HTTP: "2", Connections: 1, Streams: 1, Requests: 2})
	if r.Errors["reset"] != 2 || !strings.Contains(r.Causes["reset"], "GOAWAY, ENHANCE_YOUR_CALM") {
		t.Errorf("%d answers, errors %v, causes %v", r.Requests, r.Errors, r.Causes)
	}
}
