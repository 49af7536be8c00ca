package edge

import (
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"sync/atomic"

	"gatehouse/internal/octets"
	"gatehouse/routes"
)

// A StickyKey keys the values of the cookies that keep clients at their backends.
type StickyKey [32]byte

// A sticky is how a site knows the clients that have a backend of their own.
type sticky struct {
	cookie string
	path   string // of the vhost, that a cookie of another vhost of its host does not replace it
	tags   atomic.Pointer[stickyTags]
}

// stickyTags are the cookie's values, made by one key.
type stickyTags struct {
	key     *StickyKey
	cookie  string
	path    string
	members []*backendMember
	values  []string // of the members
}

// stick makes a site sticky if its settings say so.
func (s *Server) stick(st *site) {
	if st.settings.Sticky != "" {
		_, path := routes.SplitName(st.name)
		st.sticky = &sticky{cookie: st.settings.Sticky, path: cmp.Or(path, "/")}
	}
}

// SetStickyKey has the cookies that keep clients at their backends be made and read by key from now on. Nodes with the same
// key take each other's. It may be called at any time; clients with cookies by another key get a backend anew.
func (s *Server) SetStickyKey(key StickyKey) { s.stickyKey.Store(&key) }

// tagsFor returns the values by this key. They are made when they are first asked for.
func (k *sticky) tagsFor(key *StickyKey, st *site) *stickyTags {
	if tags := k.tags.Load(); tags != nil && tags.key == key {
		return tags
	}
	tags := &stickyTags{key: key, cookie: k.cookie, path: k.path, members: st.pool.Members()}
	for _, m := range tags.members {
		tags.values = append(tags.values, stickyValue(key, st.owner, m.Backend.String()))
	}
	k.tags.Store(tags) // who is overtaken has made the same
	return tags
}

// stickyValue is the cookie's value for a backend. Without the key nobody can tell which one it is, nor that two tenants
// have the same.
func stickyValue(key *StickyKey, owner, backend string) string {
	mac := hmac.New(sha256.New, key[:])
	mac.Write([]byte("sticky\x00" + owner + "\x00" + backend)) // never fails (hash.Hash)
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:15])
}

// member returns whose value a cookie of the request has; nil: it has none.
func (t *stickyTags) member(r *request) *backendMember {
	for _, f := range r.Fields {
		if !f.Is("cookie") {
			continue
		}
		for pair := range bytes.SplitSeq(f.Value, []byte{';'}) {
			name, value, _ := bytes.Cut(octets.TrimOWS(pair), []byte{'='})
			if string(name) != t.cookie {
				continue
			}
			for i, v := range t.values {
				if string(value) == v {
					return t.members[i]
				}
			}
		}
	}
	return nil
}

// stickTo has the client told the cookie of its backend. It is added behind the cache: what is stored must not bring others there.
func (r *request) stickTo(t *stickyTags, m *backendMember) {
	for i := range t.members {
		if t.members[i] != m {
			continue
		}
		r.stick = t.cookie + "=" + t.values[i] + "; Path=" + t.path + "; HttpOnly; SameSite=Lax"
		if r.Scheme == "https" {
			r.stick += "; Secure" // over plain http browsers would not take it
		}
	}
}
