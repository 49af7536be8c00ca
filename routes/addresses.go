package routes

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Addresses says which client addresses a vhost or a tenant serves. Each entry is a network ("192.0.2.0/24"), an address, "all",
// or a list of networks: "file:PATH" or an https URL. In one document Allow wins over Deny, whatever the lengths of their prefixes;
// who stands in neither is for the next document to decide: the vhost's, its tenant's (or the defaults), the process's. An Allow
// alone denies nobody: that takes deny: [all].
type Addresses struct {
	Allow []string `yaml:"allow,omitempty" json:"allow,omitempty"`
	Deny  []string `yaml:"deny,omitempty" json:"deny,omitempty"`
}

// AllAddresses is the entry that every address is in.
const AllAddresses = "all"

const (
	listFile   = "file:"
	listScheme = "https://"

	// maxNetworks bounds the networks that stand in one document: more belong into a list, which is read only when it has changed.
	maxNetworks = 10_000
	// maxLists bounds the lists that one document names.
	maxLists = 16
)

// Empty reports whether a says nothing. a may be nil.
func (a *Addresses) Empty() bool { return a == nil || len(a.Allow) == 0 && len(a.Deny) == 0 }

// Lists are the entries that name lists, each once.
func (a *Addresses) Lists() []string {
	if a == nil {
		return nil
	}
	var out []string
	seen := map[string]bool{}
	for _, entry := range slices.Concat(a.Allow, a.Deny) {
		if IsAddressList(entry) && !seen[entry] {
			seen[entry] = true
			out = append(out, entry)
		}
	}
	return out
}

// IsAddressList reports whether an entry of Addresses names a list.
func IsAddressList(entry string) bool {
	return strings.HasPrefix(entry, listFile) || strings.Contains(entry, "://")
}

// ParseNetwork reads an address ("192.0.2.1") or a network ("192.0.2.0/24"). What IPv6 has for an IPv4 address
// (::ffff:192.0.2.1, RFC 4291 §2.5.5.2) is that address. Bits beyond the prefix are an error: 10.1.2.3/8 is more likely a
// slip than a wish for 10.0.0.0/8.
func ParseNetwork(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		return netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf(`bad network %q: want an address or a CIDR, such as "10.0.0.0/8"`, shortText(text))
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("bad network %q: it has bits beyond its prefix; the network is %s", text, p.Masked())
	}
	if a := p.Addr(); a.Is4In6() {
		if p.Bits() < 96 {
			return netip.Prefix{}, fmt.Errorf("bad network %q: write IPv4 networks as such, and all of them as 0.0.0.0/0", text)
		}
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	return p, nil
}

// Check returns what is wrong with addresses of the process; see Vhost.Check. Fields are "allow[0]" and the like.
func (a *Addresses) Check(source string) Problems {
	return asProblems(source, checkAddresses("", a, checkComplete))
}

func checkAddresses(field string, a *Addresses, mode checkMode) []finding {
	if a == nil {
		return nil
	}
	if field != "" {
		field += "."
	}
	out := checkEntries(field+"allow", a.Allow, mode)
	out = append(out, checkEntries(field+"deny", a.Deny, mode)...)
	if n := len(a.Lists()); n > maxLists {
		out = append(out, finding{field: strings.TrimSuffix(field, "."), reason: fmt.Sprintf("%d lists: at most %d; put them together", n, maxLists)})
	}
	return out
}

func checkEntries(field string, entries []string, mode checkMode) []finding {
	if len(entries) > maxNetworks {
		return []finding{{field: field, reason: fmt.Sprintf("%d entries: at most %d; put them into a list (file:PATH)", len(entries), maxNetworks)}}
	}
	var out []finding
	for i, entry := range entries {
		guess, err := checkEntry(entry, mode)
		if err != nil {
			out = append(out, finding{field: field + "[" + strconv.Itoa(i) + "]", reason: err.Error(), guess: guess})
		}
	}
	return out
}

func checkEntry(entry string, mode checkMode) (guess string, err error) {
	path, isFile := strings.CutPrefix(entry, listFile)
	switch {
	case entry == AllAddresses:
		return "", nil
	case entry == "*" || strings.EqualFold(entry, AllAddresses) || strings.EqualFold(entry, "any"):
		return AllAddresses, fmt.Errorf("bad network %q: every address is %q", entry, AllAddresses)
	case isFile && path == "":
		return "", errors.New("file: names no file")
	case isFile && mode == checkPartial && !filepath.IsAbs(path):
		return "", errors.New("want an absolute path here: a document in Redis has no folder")
	case isFile:
		return "", nil
	case strings.Contains(entry, "://"):
		return checkListURL(entry)
	}
	_, err = ParseNetwork(entry)
	return "", err
}

// checkListURL leaves out of its errors what may be a password.
func checkListURL(text string) (guess string, err error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "":
		return "", errors.New("bad URL of a list: want https://host/path")
	case u.User != nil:
		return "", errors.New("a user or password in the URL of a list would stand in documents and logs: not supported")
	case u.Scheme == "http":
		return listScheme + strings.TrimPrefix(text, "http://"), errors.New("want an https URL: who can change a list on its way decides who is served")
	case !strings.HasPrefix(text, listScheme):
		return "", fmt.Errorf("bad URL of a list: want https://, not %s://", cmp.Or(u.Scheme, "?"))
	case u.Fragment != "":
		return "", errors.New("bad URL of a list: a fragment (#…) is never sent")
	}
	return "", nil
}

// inFolder makes relative paths of lists those beside file.
func (a *Addresses) inFolder(file string) {
	if a == nil {
		return
	}
	a.Rebase(func(path string) string { return beside(file, path) })
}

// Rebase replaces the path of each list that is a file by what f makes of it.
func (a *Addresses) Rebase(f func(path string) string) {
	for _, entries := range [][]string{a.Allow, a.Deny} {
		for i, entry := range entries {
			if path, is := strings.CutPrefix(entry, listFile); is {
				entries[i] = listFile + f(path)
			}
		}
	}
}
