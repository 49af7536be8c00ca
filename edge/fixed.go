package edge

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"math"
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
	case v.Redirect() != nil:
		f := &fixed{status: v.Redirect().Status, vhost: v, to: v.Redirect().To, keep: v.Redirect().Keeps()}
		if f.status == 0 {
			f.status = 301
		}
		if f.keep {
			f.to = strings.TrimSuffix(f.to, "/")
		}
		return f
	case v.Respond() != nil:
		f := &fixed{status: v.Respond().Status, contentType: v.Respond().ContentType, page: newPage(v, s.log)}
		f.page.turns = s.places.get(placesKey{ownerOf(v.Tenant, v.Name), "respond.file", mostReadings})
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
	rest := r.site.stripped(r.Target)
	if route, target := r.table.LeadsTo(f.vhost, rest); route != nil && route.Name == r.site.name && (!f.keep || len(target) >= len(r.Target)) {
		return refuse(508, "this site leads back to itself") // and what gets shorter by strip comes to an end
	}
	location := f.to
	if f.keep && rest != "*" {
		location += rest
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
	turns *places // the owner's, to read files

	looked atomic.Int64 // when at the file, unix nanoseconds
	body   atomic.Pointer[[]byte]
	load   func(was os.FileInfo) (body []byte, stamp os.FileInfo, err error) // no body: the file is as it was

	mu      sync.Mutex    // not held while the file is read: a disk may hang
	reading chan struct{} // closed when the reading under way has ended; nil: there is none
	late    time.Time     // when nobody waits for it any more
	stamp   os.FileInfo   // of what body was read from
	err     error         // why there is no newer one
}

const (
	// pagePoll is how often a page's file is looked at, if anybody asks for it.
	pagePoll = 500 * time.Millisecond
	// pageWait is how long requests wait for a file.
	pageWait = time.Second
	// mostReadings is how many files of an owner are read at a time: on a disk that hangs, each takes a thread of the system.
	mostReadings = 8
)

var errPageSlow = errors.New("respond.file: reading it takes too long")

func newPage(v *routes.Vhost, log *slog.Logger) *pageFile {
	p := &pageFile{from: *v.Respond(), vhost: v.Name, log: log, turns: &places{}}
	p.load = p.loadFile
	if p.from.File == "" {
		body := []byte(p.from.Body)
		p.body.Store(&body)
	}
	return p
}

// get returns the body as it was at most pagePoll ago, if reading it does not take long: whoever has it read waits for that, and
// those for whom there is none yet; others get the last good one, which also stays while the file cannot be read. An error is why
// there never was one.
func (p *pageFile) get() ([]byte, error) {
	now := time.Now()
	body := p.body.Load()
	if body != nil && (p.from.File == "" || now.UnixNano()-p.looked.Load() < int64(pagePoll)) {
		return *body, nil
	}
	if reading, late, mine := p.look(now); reading != nil && (mine || body == nil) {
		timer := time.NewTimer(late.Sub(now))
		defer timer.Stop()
		select {
		case <-reading:
		case <-timer.C:
		}
	}
	if body = p.body.Load(); body != nil {
		return *body, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		return nil, errPageSlow
	}
	return nil, p.err
}

// look has the file be read if it is time to. It returns what tells of the end of the reading under way, if there is one, until when to wait for that, and whether it has just
// begun.
func (p *pageFile) look(now time.Time) (reading chan struct{}, late time.Time, begun bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reading == nil {
		if now.UnixNano()-p.looked.Load() < int64(pagePoll) {
			return nil, late, false
		}
		p.reading, p.late, begun = make(chan struct{}), now.Add(pageWait), true
		go p.read(p.stamp)
	}
	return p.reading, p.late, begun
}

// read reads the file if it is another than was, and ends the reading under way.
func (p *pageFile) read(was os.FileInfo) {
	if !p.turns.take() {
		came, _ := p.turns.join(math.MaxInt) // one for each page at most
		<-came
	}
	body, stamp, err := p.load(was)
	p.turns.leave()
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err != nil:
		if p.err == nil || p.err.Error() != err.Error() {
			p.log.Warn("page cannot be read", "vhost", p.vhost, "field", "respond.file", "err", err, "last_good", strconv.FormatBool(p.body.Load() != nil))
		}
		p.err, p.stamp = err, nil
	case body != nil:
		p.err, p.stamp = nil, stamp
		p.body.Store(&body)
	}
	p.looked.Store(time.Now().UnixNano())
	close(p.reading)
	p.reading = nil
}

func (p *pageFile) loadFile(was os.FileInfo) (body []byte, stamp os.FileInfo, err error) {
	if stamp, err = os.Stat(p.from.File); err != nil {
		return nil, nil, err
	}
	if was != nil && os.SameFile(was, stamp) && was.ModTime().Equal(stamp.ModTime()) && was.Size() == stamp.Size() {
		return nil, stamp, nil
	}
	body, err = p.from.Page()
	return body, stamp, err
}
