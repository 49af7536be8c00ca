package cache

import (
	"slices"
	"strings"
	"time"
)

// Rule gives answers freshness by path and status.
type Rule struct {
	// Paths is patterns of paths, made by NewPaths; compared with the path as it was sent, never with the query. Nil:
	// every path.
	Paths *Patterns
	// Status is the statuses that it is for. Empty: 200, 301, 404 and 410; where TTL is 0, every status.
	Status []int
	// TTL is the freshness lifetime. 0: such answers are not stored.
	TTL time.Duration
	// Override has TTL stand in the place of what the answer states. It never lifts private, no-store, what is said of
	// Set-Cookie, or RFC 9111 §3.5 on Authorization. Default: TTL is for answers that state nothing.
	Override bool
}

// TTLFor gives the freshness that the vhost's Rules have for an answer: that of the first rule that fits. path is the
// request's as it was sent, a query behind it is passed over; contentType is the answer's Content-Type, empty if it has
// none or several. ok is false if no rule fits; then Policy.TTL and Policy.Heuristic say. If one does, they do not:
// ttl is for an answer that states no freshness, or with override for any, and 0 means that it is not stored.
//
// Against web cache deception, where a page of one user is asked for by a name that looks like a file's and stored:
//   - To a path that backends read in different ways ("/account;x.css", "/account%2fx.css", "/account/..%2fx.css") no rule with
//     a TTL applies. One without, which keeps answers out, applies to each such path, since it may be meant.
//   - A pattern that ends in an extension ("*.css") fits only answers whose type is one of that extension; if the
//     extension is not known, only those that are not HTML.
//
// Rules whose TTL is 0 fit the decoded path, too, and look at no type: they can only keep something out.
func (p *Policy) TTLFor(path string, status int, contentType string) (ttl time.Duration, override, ok bool) {
	if p == nil || len(p.Rules) == 0 {
		return 0, false, false
	}
	path = pathOf(path)
	odd := ambiguous(path)
	for i := range p.Rules {
		if r := &p.Rules[i]; r.forStatus(status) && r.forPath(path, odd, contentType) {
			return max(r.TTL, 0), r.Override, true
		}
	}
	return 0, false, false
}

func (r *Rule) forStatus(status int) bool {
	if len(r.Status) > 0 {
		return slices.Contains(r.Status, status)
	}
	switch status {
	case 200, 301, 404, 410:
		return true
	}
	return r.TTL <= 0
}

func (r *Rule) forPath(path string, odd bool, contentType string) bool {
	switch {
	case r.TTL <= 0:
		return r.Paths == nil || odd || r.Paths.fitsDecoded(path)
	case odd:
		return false
	case r.Paths == nil:
		return true
	case !r.Paths.may(path):
		return false
	}
	for i := range r.Paths.list {
		if one := &r.Paths.list[i]; one.fits(path) && (!one.extension || typeFits(path, contentType)) {
			return true
		}
	}
	return false
}

// A kind is what files with an extension can be.
type kind uint8

const (
	kindUnknown kind = iota // anything but HTML
	kindStyle
	kindScript
	kindImage
	kindFont
	kindSound
	kindPicture // moving
	kindJSON
	kindXML
	kindText
	kindPage
	kindDocument
	kindArchive
	kindModule
)

var kinds = func() map[string]kind {
	kinds := map[string]kind{}
	for k, extensions := range map[kind]string{
		kindStyle:    "css",
		kindScript:   "js mjs cjs",
		kindImage:    "jpg jpeg jfif png gif webp avif svg ico cur bmp tif tiff heic jxl apng",
		kindFont:     "woff woff2 ttf otf eot ttc",
		kindSound:    "mp3 ogg oga opus wav flac m4a aac weba",
		kindPicture:  "mp4 m4v webm ogv mov avi mkv m3u8 ts mpd",
		kindJSON:     "json map geojson webmanifest",
		kindXML:      "xml rss atom xsl kml gpx",
		kindText:     "txt csv md vtt",
		kindPage:     "html htm xhtml",
		kindDocument: "pdf",
		kindArchive:  "zip gz tgz bz2 xz zst 7z rar tar jar apk dmg exe msi iso bin",
		kindModule:   "wasm",
	} {
		for extension := range strings.FieldsSeq(extensions) {
			kinds[extension] = k
		}
	}
	return kinds
}()

// typeFits reports whether an answer of that Content-Type can be a file of the kind that the path's extension says. One
// without a type can be anything, a page above all.
func typeFits(path, contentType string) bool {
	var room [64]byte
	if end := strings.IndexByte(contentType, ';'); end >= 0 {
		contentType = contentType[:end]
	}
	contentType = strings.Trim(contentType, " \t")
	if contentType == "" || len(contentType) > len(room) {
		return false
	}
	main, sub, _ := strings.Cut(string(appendLower(room[:0], contentType)), "/")
	return kindOf(path).is(main, sub)
}

func kindOf(path string) kind {
	name := path[strings.LastIndexByte(path, '/')+1:]
	dot := strings.LastIndexByte(name, '.')
	var room [16]byte
	if dot < 0 || len(name)-dot > len(room) {
		return kindUnknown
	}
	return kinds[string(appendLower(room[:0], name[dot+1:]))]
}

// is reports whether files of kind k have the type main/sub. What is sent as plain octets runs as nothing and is shown
// as nothing, so it may be a file to be kept, but neither a style nor a script nor a page.
func (k kind) is(main, sub string) bool {
	binary := main == "application" && (sub == "octet-stream" || sub == "x-octet-stream")
	switch k {
	case kindStyle:
		return main == "text" && sub == "css"
	case kindScript:
		return (main == "text" || main == "application") && (sub == "javascript" || sub == "x-javascript" || sub == "ecmascript")
	case kindImage:
		return main == "image"
	case kindFont:
		return main == "font" || binary || main == "application" &&
			(strings.HasPrefix(sub, "font-") || strings.HasPrefix(sub, "x-font-") || sub == "vnd.ms-fontobject")
	case kindSound:
		return main == "audio" || binary || main == "application" && sub == "ogg"
	case kindPicture:
		return main == "video" || main == "audio" || binary || main == "application" &&
			(sub == "ogg" || sub == "dash+xml" || sub == "vnd.apple.mpegurl" || sub == "x-mpegurl")
	case kindJSON:
		return (main == "application" || main == "text") && (sub == "json" || strings.HasSuffix(sub, "+json"))
	case kindXML:
		return (main == "application" || main == "text") && (sub == "xml" || strings.HasSuffix(sub, "+xml") && sub != "xhtml+xml")
	case kindText:
		return main == "text" && sub != "html"
	case kindPage:
		return main == "text" && sub == "html" || main == "application" && sub == "xhtml+xml"
	case kindDocument:
		return main == "application" && sub == "pdf"
	case kindArchive:
		return main == "application" && sub != "xhtml+xml" && sub != "json"
	case kindModule:
		return main == "application" && sub == "wasm"
	}
	return !(main == "text" && sub == "html") && !(main == "application" && sub == "xhtml+xml")
}

// appendLower appends s in small letters.
func appendLower(dst []byte, s string) []byte {
	for i := range len(s) {
		c := s[i]
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		dst = append(dst, c)
	}
	return dst
}
