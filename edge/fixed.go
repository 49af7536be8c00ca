package edge

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/routes"
)

// A fixed is the answer of a vhost without backends: a redirect, or one page.
type fixed struct {
	status int

	vhost *routes.Vhost // of a redirect: to find out where it leads
	to    string        // what Location begins with; empty: this is a page
	keep  bool          // the request's path and query follow

	contentType string
	page        *pageFile
}

// fixedOf returns a vhost's fixed answer; nil: it has backends.
func (s *Server) fixedOf(v *routes.Vhost) *fixed {
	switch {
	case v.Redirect != nil:
		f := &fixed{status: v.Redirect.Status, vhost: v, to: v.Redirect.To, keep: v.Redirect.Keeps()}
		if f.status == 0 {
			f.status = 301
		}
		if f.keep {
			f.to = strings.TrimSuffix(f.to, "/")
		}
		return f
	case v.Respond != nil:
		f := &fixed{status: v.Respond.Status, contentType: v.Respond.ContentType, page: newPage(v, s.log)}
		if f.status == 0 {
			f.status = 200
		}
		if f.contentType == "" {
			f.contentType = "text/html; charset=utf-8"
		}
		return f
	}
	return nil
}

// answer stands in the place of a backend: whatever else the vhost says acts as well.
func (f *fixed) answer(r *request) error {
	r.record.Answered = time.Now()
	r.response = response{status: f.status, received: r.record.Answered, asked: r.record.Answered}
	if f.to == "" {
		return f.answerPage(r)
	}
	if route := r.table.LeadsTo(f.vhost); route != nil && route.Name == r.site.name {
		return refuse(508, "this site leads back to itself") // a wildcard that covers where it leads to
	}
	location := f.to
	if target := r.site.stripped(r.Target); f.keep && target != "*" {
		location += target
	}
	r.response.set("Location", location)
	return nil
}

func (f *fixed) answerPage(r *request) error {
	if f.status == 204 {
		return nil
	}
	body, err := f.page.get()
	if err != nil {
		return fail(503, "the site is not available", err)
	}
	p := &r.response
	p.set("Content-Type", f.contentType)
	p.length = int64(len(body))
	p.stream = io.NopCloser(bytes.NewReader(body)) // as a backend's is: links read it
	return nil
}

// A pageFile is a body that may stand in a file. Safe for concurrent use.
type pageFile struct {
	from  routes.Respond
	vhost string
	log   *slog.Logger

	looked atomic.Int64 // when at the file, unix nanoseconds
	body   atomic.Pointer[[]byte]

	mu    sync.Mutex
	stamp os.FileInfo // of what body was read from
	err   error       // why there is no newer one
}

// pagePoll is how often a page's file is looked at, if anybody asks for it.
const pagePoll = 500 * time.Millisecond

func newPage(v *routes.Vhost, log *slog.Logger) *pageFile {
	return &pageFile{from: *v.Respond, vhost: v.Name, log: log}
}

// get returns the body as it was at most pagePoll ago. While the file cannot be read,
// the last good one stays; an error is why there never was one.
func (p *pageFile) get() ([]byte, error) {
	now := time.Now().UnixNano()
	if body := p.body.Load(); body != nil && (p.from.File == "" || now-p.looked.Load() < int64(pagePoll)) {
		return *body, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if now-p.looked.Load() >= int64(pagePoll) {
		p.read()
		p.looked.Store(time.Now().UnixNano())
	}
	if body := p.body.Load(); body != nil {
		return *body, nil
	}
	return nil, p.err
}

// read reads the file if it is another than before, with p.mu held.
func (p *pageFile) read() {
	stamp, err := os.Stat(p.from.File)
	if p.from.File == "" {
		stamp, err = nil, nil
	} else if err == nil && p.stamp != nil && os.SameFile(p.stamp, stamp) && p.stamp.ModTime().Equal(stamp.ModTime()) && p.stamp.Size() == stamp.Size() {
		return
	}
	var body []byte
	if err == nil {
		body, err = p.from.Page()
	}
	if err != nil {
		if p.err == nil || p.err.Error() != err.Error() {
			p.log.Warn("page cannot be read", "vhost", p.vhost, "field", "respond.file", "err", err, "last_good", strconv.FormatBool(p.body.Load() != nil))
		}
		p.err, p.stamp = err, nil
		return
	}
	p.err, p.stamp = nil, stamp
	p.body.Store(&body)
}
