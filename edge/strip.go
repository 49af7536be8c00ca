package edge

import "strings"

// stripped is a target without the path that the vhost takes off, as `strip` says.
// The target begins with it: else the vhost would not have been selected.
func (st *site) stripped(target string) string {
	if st.strip == "" {
		return target
	}
	rest := strings.TrimPrefix(target, st.strip)
	if rest == "" || rest[0] != '/' {
		return "/" + rest
	}
	return rest
}
