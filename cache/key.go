package cache

import "encoding/binary"

// AppendKey appends the key of a stored response to dst and returns it. Each
// part is preceded by its length, so no two sets of parts share a key, and the
// tenant comes first.
//
// The parts are taken as they are. The caller gives the vhost's canonical host
// and the request target exactly as it is forwarded: a target that is
// normalised here but not there would let one client choose what others get.
func AppendKey(dst []byte, tenant, vhost, scheme, host, target string) []byte {
	dst = appendPart(dst, tenant)
	dst = appendPart(dst, vhost)
	dst = appendPart(dst, scheme)
	dst = appendPart(dst, host)
	return appendPart(dst, target)
}

func appendPart(dst []byte, part string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(part)))
	return append(dst, part...)
}
