package edge

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"strconv"
	"sync"

	"github.com/valyala/fasthttp"
)

// serveHTTP1 is the door between fasthttp and the chain: it makes the request,
// runs the chain and hands over the response.
func (s *Server) serveHTTP1(ctx *fasthttp.RequestCtx) {
	var r *request
	defer func() { // observe recovers what happens in the chain; nobody above here would
		if v := recover(); v != nil {
			s.log.Error("panic around a request", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			_ = ctx.Conn().(http1Conn).Reset()
			if r != nil {
				r.done()
			}
		}
	}()
	r, err := s.newRequest(ctx)
	run := s.handle
	if err != nil {
		run, r.last = s.refusing(err), true
		r.conn.Linger()
	}
	// The outermost link answers every error, so none is left here.
	if err := run(r); err != nil {
		s.log.Error("error passed the chain", "id", r.ID, "err", err)
	}
	r.response.close = r.response.close || r.last || s.draining.Load()
	r.complete()
	s.send(ctx, r)
}

// refusing is the chain for a request that could not be read: it is observed,
// gets its error page, and goes no further.
func (s *Server) refusing(err error) handler {
	return s.observe(s.errorPages(func(*request) error { return err }))
}

// send hands the response to fasthttp, which writes it after the handler has
// returned. The done hook is called when the body is out.
func (s *Server) send(ctx *fasthttp.RequestCtx, r *request) {
	p := &r.response
	r.conn.Answering(!p.close && p.upgraded == nil)
	if s.draining.Load() && !p.close && p.upgraded == nil { // since it was last looked at: a promise made now would not be kept
		p.close = true
		r.conn.Answering(false)
	}
	if p.upgraded != nil {
		s.sendUpgrade(ctx, r)
		return
	}
	bodyless := r.Method == fasthttp.MethodHead || skipsBody(p.status)
	if p.stream != nil && p.length < 0 && r.Proto == "HTTP/1.0" && !bodyless {
		s.sendUntilClose(ctx, r)
		return
	}
	if err := writeHead(&ctx.Response.Header, p, bodyless); err != nil {
		r.record.Err = err
		p.discard()
		ctx.Response.Header.Reset()
		ctx.Response.Header.SetNoDefaultContentType(true)
		ctx.SetStatusCode(fasthttp.StatusBadGateway)
		p.status, p.close, bodyless = fasthttp.StatusBadGateway, true, true
	}
	switch {
	case p.close:
		ctx.SetConnectionClose()
	case r.Proto == "HTTP/1.0": // it has to be told (RFC 9112 §9.3)
		ctx.Response.Header.Set("Connection", "keep-alive")
	}
	switch {
	case bodyless:
		ctx.Response.SkipBody = true
		p.discard()
		r.done()
	case p.stream == nil:
		ctx.Response.SetBodyRaw(p.body)
		p.sent = int64(len(p.body))
		r.done()
	default:
		ctx.Response.ImmediateHeaderFlush = p.length < 0
		ctx.Response.SetBodyStream(&outbound{r: r}, int(p.length))
	}
}

// skipsBody reports whether a status has neither body nor length (RFC 9110 §8.6).
func skipsBody(status int) bool { return status < 200 || status == 204 || status == 304 }

var (
	headBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}
	headReaders = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, headLimit) }}
)

// headLimit holds the largest head that a backend may send by default, and what we add.
const headLimit = 80 << 10

// writeHead fills fasthttp's response header. The fields go in as a raw block:
// its setters drop a Date and change the order of fields.
func writeHead(h *fasthttp.ResponseHeader, p *response, bodyless bool) error {
	if p.template != nil {
		p.template.CopyTo(h)
		h.SetContentLength(int(p.length))
		for _, f := range p.fields {
			h.AddBytesKV(f.Name, f.Value)
		}
		return nil
	}
	block := headBuffers.Get().(*bytes.Buffer)
	defer headBuffers.Put(block)
	block.Reset()
	block.WriteString("HTTP/1.1 ")
	block.WriteString(strconv.Itoa(p.status))
	block.WriteString(" \r\n")
	for _, f := range p.fields {
		block.Write(f.Name)
		block.WriteString(": ")
		block.Write(f.Value)
		block.WriteString("\r\n")
	}
	switch {
	case skipsBody(p.status) || bodyless && p.length < 0:
	case bodyless:
		block.WriteString("Content-Length: ")
		block.WriteString(strconv.FormatInt(p.length, 10))
		block.WriteString("\r\n")
	default:
		block.WriteString("Content-Length: 0\r\n") // the true one is set with the body
	}
	block.WriteString("\r\n")
	reader := headReaders.Get().(*bufio.Reader)
	if block.Len() > reader.Size() { // limits.response_header_bytes is above its default
		headReaders.Put(reader)
		reader = bufio.NewReaderSize(nil, block.Len())
	}
	defer headReaders.Put(reader)
	reader.Reset(block)
	err := h.Read(reader)
	if !p.close {
		h.ResetConnectionClose() // the parser takes a head without length for one that ends with the connection
	}
	return err
}

// outbound is the body of a response as fasthttp reads it: it counts, and its
// Close is the end of the request.
type outbound struct {
	r      *request
	whole  bool // the stream has ended as it should
	closed bool
}

// Read implements io.Reader.
func (o *outbound) Read(b []byte) (n int, err error) {
	defer func() { // the library would swallow it
		if v := recover(); v != nil {
			o.r.log.Error("panic while sending a response", "id", o.r.ID, "panic", v, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", v)
			o.r.response.cut, o.r.record.Err = true, err
		}
	}()
	n, err = o.r.response.stream.Read(b)
	o.r.response.sent += int64(n)
	switch {
	case err == io.EOF:
		o.whole = true
	case err != nil:
		o.r.cut(bodyCut(err))
	}
	return n, err
}

// SupportsBodyWriteTo makes fasthttp use WriteTo for a body of known length.
func (o *outbound) SupportsBodyWriteTo() bool { return o.r.response.length >= 0 }

// copyBuffers hold what is between a backend's connection and a client's.
var copyBuffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// WriteTo copies the body and flushes whenever the backend has sent less than a
// buffer: a slow backend's bytes must not wait for more.
func (o *outbound) WriteTo(w io.Writer) (int64, error) {
	buffer := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buffer)
	flusher, _ := w.(interface{ Flush() error })
	var total int64
	for {
		n, err := o.Read(*buffer)
		if n > 0 {
			written, werr := w.Write((*buffer)[:n])
			total += int64(written)
			if werr == nil && flusher != nil && n < len(*buffer) {
				werr = flusher.Flush()
			}
			if werr != nil {
				o.r.cut(clientCut(werr))
				return total, werr
			}
		}
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// Close ends the request; fasthttp may call it more than once.
func (o *outbound) Close() error {
	if o.closed {
		return nil
	}
	o.closed = true
	if p := &o.r.response; !o.whole && p.sent != p.length {
		o.r.cut(clientCut(nil)) // nobody wanted more
	}
	err := o.r.response.stream.Close()
	o.r.done()
	return err
}

// sendUntilClose answers an HTTP/1.0 client with a body of unknown length: it
// does not know chunks, so the end of the connection is the end of the body
// (RFC 9112 §6.3).
func (s *Server) sendUntilClose(ctx *fasthttp.RequestCtx, r *request) {
	r.response.close = true
	s.take(ctx, r, &s.endless, func(client net.Conn) {
		defer r.response.stream.Close()
		body := &outbound{r: r}
		w := bufio.NewWriter(client)
		head, err := s.head(r)
		if err == nil {
			_, err = w.Write(head)
		}
		if err == nil {
			err = w.Flush() // the first byte of the body may be long in coming
		}
		if err == nil {
			_, err = body.WriteTo(w)
		}
		if err == nil {
			err = w.Flush()
		}
		if err == nil {
			return
		}
		r.cut(clientCut(err))          // unless the backend's body was
		_ = r.conn.(http1Conn).Reset() // an end would say that this was all
	})
}
