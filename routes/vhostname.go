package routes

import (
	"errors"
	"fmt"
	"strings"
)

// SplitName takes the name of a vhost apart: "www.shop.test/blog" is the path
// "/blog" of the vhost "www.shop.test". The path is empty for a vhost that is no path vhost.
func SplitName(name string) (host, path string) {
	if slash := strings.IndexByte(name, '/'); slash >= 0 {
		return name[:slash], name[slash:]
	}
	return name, ""
}

// Bounds of the path in a vhost's name. They bound what a request's path costs, too.
const (
	maxNamePath     = 255
	maxNameSegments = 8
)

// CanonicalVhost is CanonicalName for a name that may have a path behind it: it
// begins with "/" and loses the "/" at its end. It is written as nearly all clients
// send it, so that there is one way to write it: no escapes, no dot segments, and no
// characters that programs read in different ways.
func CanonicalVhost(name string) (string, error) {
	if err := notURL(name); err != nil { // the path would begin within it
		return "", err
	}
	host, path := SplitName(name)
	host, err := CanonicalName(host)
	if err != nil {
		return "", err
	}
	path = strings.TrimSuffix(path, "/")
	if path == "" {
		return host, nil
	}
	if len(path) > maxNamePath || strings.Count(path, "/") > maxNameSegments {
		return "", fmt.Errorf("its path has more than %d characters or %d segments", maxNamePath, maxNameSegments)
	}
	for segment := range strings.SplitSeq(path[1:], "/") {
		switch segment {
		case "":
			return "", errors.New(`its path has an empty segment ("//")`)
		case ".", "..":
			return "", fmt.Errorf("its path has a %q segment: write the path that it leads to", segment)
		}
		for _, c := range []byte(segment) {
			if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') && strings.IndexByte("-._~+=@,", c) < 0 {
				return "", fmt.Errorf("its path has the character %q: letters, digits and -._~+=@, may stand there", c)
			}
		}
	}
	return host + path, nil
}

// checkName checks what only a vhost without path, or only one with, can say.
func checkName(name string, v *Vhost) []finding {
	host, path := SplitName(name)
	if path == "" {
		if v.Strip() {
			return []finding{{field: "strip", reason: "only a vhost with a path in its name, such as " + name + "/blog, has one to take off"}}
		}
		return nil
	}
	var out []finding
	if v.TLS != nil {
		out = append(out, finding{field: "tls", reason: "certificate, policy, redirect_http and hsts are those of vhost " + host + ": write it there"})
	}
	if len(v.Aliases) > 0 {
		out = append(out, finding{field: "aliases", reason: "a path is one of all hosts of vhost " + host + ": write them there"})
	}
	return out
}
