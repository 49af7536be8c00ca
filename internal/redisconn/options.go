package redisconn

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// Options say where Redis is and how to log in. The zero value is not usable.
type Options struct {
	// Addrs are host:port of the server, of the Sentinels if Master is set, or
	// of some nodes of the Cluster. Ports left out are 6379, or 26379 for
	// Sentinels.
	Addrs []string
	// Master names the master that the Sentinels watch; empty: no Sentinel.
	Master string
	// Cluster: Addrs are nodes of a Redis Cluster.
	Cluster bool
	// Username and Password log in (AUTH); both empty: no login. A password
	// alone is that of the user "default".
	Username, Password string
	// DB is the number of the database; a Cluster has only 0.
	DB int
	// Prefix stands before every key, as it is. From the URL's #fragment, which
	// is how hipache writes it.
	Prefix string
	// TLS: the connections are encrypted and the server's name is verified.
	TLS bool
	// Files are certificates for TLS; not of the URL.
	Files TLSFiles
}

// form is the likely fix for a URL that does not parse.
const form = "want redis://[user:pass@]host:port[/db][#prefix], rediss:// for TLS, " +
	"redis+sentinel://h1,h2/master[/db] or redis+cluster://h1,h2"

// Parse reads the URL of the settings `routes` and `redis`:
//
//	redis://[user:pass@]host:port[/db][#prefix]
//	rediss://…                                   the same over TLS
//	redis+sentinel://[user:pass@]h1,h2/master[/db][#prefix]
//	redis+cluster://[user:pass@]h1,h2[#prefix]
//
// rediss+sentinel and rediss+cluster are the latter two over TLS. User, password
// and prefix may be percent-encoded. An error says what to write instead and
// never holds the password.
func Parse(raw string) (Options, error) {
	var o Options
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return o, errors.New("not a Redis URL: " + form)
	}
	switch scheme {
	case "redis", "rediss":
	case "redis+sentinel", "rediss+sentinel":
		o.Master = "?"
	case "redis+cluster", "rediss+cluster":
		o.Cluster = true
	default:
		return o, fmt.Errorf("not a Redis URL: unknown scheme %q: %s", scheme, form)
	}
	o.TLS = strings.HasPrefix(scheme, "rediss")
	rest, fragment, _ := strings.Cut(rest, "#")
	if strings.Contains(rest, "?") {
		return o, errors.New("bad Redis URL: no ?parameters are known (percent-encode a ? in a password as %3F)")
	}
	var err error
	if o.Prefix, err = url.PathUnescape(fragment); err != nil {
		return o, errors.New("bad Redis URL: the #prefix has a broken percent-encoding")
	}
	authority, path, _ := strings.Cut(rest, "/")
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		if err := o.login(authority[:at]); err != nil {
			return o, err
		}
		authority = authority[at+1:]
	}
	if err := o.hosts(authority); err != nil {
		return o, err
	}
	return o, o.path(path)
}

func (o *Options) login(userinfo string) error {
	user, pass, has := strings.Cut(userinfo, ":")
	var errs [2]error
	o.Username, errs[0] = url.PathUnescape(user)
	o.Password, errs[1] = url.PathUnescape(pass)
	if errors.Join(errs[:]...) != nil {
		return errors.New("bad Redis URL: user or password has a broken percent-encoding (write % as %25)")
	}
	if !has || o.Password == "" {
		return errors.New("bad Redis URL: a user needs a password: redis://user:pass@host:port, or redis://:pass@host:port for a password alone")
	}
	return nil
}

func (o *Options) hosts(authority string) error {
	if strings.Contains(authority, ",") && o.Master == "" && !o.Cluster {
		return errors.New("bad Redis URL: several hosts need redis+sentinel://h1,h2/master or redis+cluster://h1,h2")
	}
	for host := range strings.SplitSeq(authority, ",") {
		addr, err := o.address(host)
		if err != nil {
			return err
		}
		o.Addrs = append(o.Addrs, addr)
	}
	return nil
}

// address adds the port where it is left out.
func (o *Options) address(host string) (string, error) {
	port := "6379"
	if o.Master != "" {
		port = "26379"
	}
	if strings.HasSuffix(host, "]") || !strings.Contains(host, ":") {
		host += ":" + port
	}
	name, port, err := net.SplitHostPort(host)
	if err != nil || name == "" {
		// The host is not shown: a password with an unescaped slash would stand in it.
		return "", errors.New("bad Redis URL: the host is missing or not host:port: " + form +
			" (percent-encode / and @ in a password as %2F and %40)")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", errors.New("bad Redis URL: the port is a number from 1 to 65535" +
			" (percent-encode / and @ in a password as %2F and %40)")
	}
	return host, nil
}

// path reads "db", or "master/db" for Sentinels.
func (o *Options) path(path string) error {
	path = strings.TrimSuffix(path, "/")
	if o.Master != "" {
		name, db, _ := strings.Cut(path, "/")
		if name == "" {
			return errors.New("bad Redis URL: the name of the Sentinels' master is missing: redis+sentinel://h1,h2/mymaster")
		}
		o.Master, path = name, db
	}
	if path == "" {
		return nil
	}
	n, err := strconv.ParseUint(path, 10, 16)
	if err != nil {
		return errors.New("bad Redis URL: after the host stands the number of the database, such as /0" +
			" (percent-encode / and @ in a password as %2F and %40)")
	}
	if o.Cluster && n != 0 {
		return errors.New("bad Redis URL: a Cluster has only database 0")
	}
	o.DB = int(n)
	return nil
}

// String writes the URL with the password hidden.
func (o Options) String() string {
	var b strings.Builder
	b.WriteString("redis")
	if o.TLS {
		b.WriteByte('s')
	}
	switch {
	case o.Cluster:
		b.WriteString("+cluster")
	case o.Master != "":
		b.WriteString("+sentinel")
	}
	b.WriteString("://")
	if o.Password != "" {
		b.WriteString(url.PathEscape(o.Username) + ":***@")
	}
	b.WriteString(strings.Join(o.Addrs, ","))
	if o.Master != "" {
		b.WriteString("/" + o.Master)
	}
	if o.DB != 0 {
		b.WriteString("/" + strconv.Itoa(o.DB))
	}
	if o.Prefix != "" {
		b.WriteString("#" + o.Prefix)
	}
	return b.String()
}

// GoString keeps the password out of %#v.
func (o Options) GoString() string { return o.String() }
