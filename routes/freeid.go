package routes

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// hashOfID is how many characters of a hash end the names that TenantOfID makes, after idMark.
const (
	idMark   = ".id-"
	hashOfID = 24
)

// isFreeID reports whether a name has the form of those that TenantOfID makes.
func isFreeID(tenant string) bool {
	at := len(tenant) - hashOfID
	return at >= len(idMark) && strings.HasSuffix(tenant[:at], idMark) && strings.Trim(tenant[at:], "0123456789abcdef") == ""
}

// readableID is how many characters of an id stand in such a name.
const readableID = 32

// TenantOfID returns the tenant that a free id stands for, such as hipache's of a site: itself if it can be a tenant's name, else a
// name that no other id has, of what is readable in it and a hash. Without an id each host is a tenant of its own, since nothing says that
// two have one owner.
func TenantOfID(id, vhost string) string {
	// An id that looks like a name that was made is one that somebody has chosen to be another's.
	if CheckTenantName(id) == nil && !isFreeID(id) {
		return id
	}
	hashed := "id\x00" + id
	if id == "" {
		host, _ := SplitName(vhost)
		id, hashed = "none", "host\x00"+host
	}
	sum := sha256.Sum256([]byte(hashed))
	return cmp.Or(readable(id), "id") + idMark + hex.EncodeToString(sum[:hashOfID/2])
}

// readable keeps the letters and digits of an id, and a hyphen for what stands between them.
func readable(id string) string {
	var b strings.Builder
	for _, c := range []byte(id) {
		switch {
		case b.Len() == readableID:
			return b.String()
		case c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z':
			b.WriteByte(c)
		case b.Len() > 0 && b.String()[b.Len()-1] != '-':
			b.WriteByte('-')
		}
	}
	return strings.TrimRight(b.String(), "-")
}

// FreeIDProblem says of a vhost whose tenant was made by TenantOfID, and has no document, what that means; nil: it is none.
func (r *Route) FreeIDProblem() *Problem {
	if r.Vhost == nil || r.Tenant != nil || !isFreeID(r.Vhost.Tenant) {
		return nil
	}
	return &Problem{Field: "tenant", Reason: "the id of its list is no tenant's name (1 to 64 letters, digits, dots, hyphens and underscores): it is tenant " + r.Vhost.Tenant +
		", of nobody with another id, and has the defaults; change the id, name a tenant in vhost:" + r.Name + ", or give this one a document"}
}
