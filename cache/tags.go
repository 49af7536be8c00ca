package cache

import (
	"slices"

	"github.com/dunglas/httpsfv"

	"gatehouse/internal/octets"
)

const (
	// maxTags and maxTagBytes bound the tags and groups of one response. One that has more is stored all the same, and counts as
	// having every tag: whatever is purged by tag, it is, too.
	maxTags     = 128
	maxTagBytes = 16 << 10
)

// tagFields are the fields in which backends say what a response is about, and what stands between two tags there. They
// are for caches such as this one and do not go to clients.
var tagFields = []struct {
	name     string
	dividers string
}{
	{"Surrogate-Key", " \t"}, // Fastly, and who follows it
	{"Xkey", " \t"},          // Varnish
	{"Cache-Tag", ","},       // Cloudflare, Akamai
}

// everyTag stands for the tags of a response that has too many, or whose tags are not known yet. No hash is looked for in it.
var everyTag = []uint64{}

func isEveryTag(tags []uint64) bool { return tags != nil && len(tags) == 0 }

// tagsOf reads the tags and groups of a response that is stored under key as hashes, each once. Nil: it has none. A group is
// two: one for purges by the operator, who means it wherever it is, and one for invalidation by responses, which reaches those
// of the same origin alone (RFC 9875 §2).
func tagsOf(h Header, key []byte) (tags []uint64) {
	count, size := 0, 0
	within := func(text string) bool {
		count++
		size += len(text)
		return count <= maxTags && size <= maxTagBytes
	}
	for _, f := range tagFields {
		for _, line := range h.PeekAll(f.name) {
			for len(line) > 0 {
				var tag []byte
				if tag, line = cutPart(line, f.dividers); len(tag) == 0 {
					continue
				}
				if !within(octets.Text(tag)) {
					return everyTag
				}
				tags = append(tags, hashOf(nameTag, octets.Text(tag), ""))
			}
		}
	}
	if groups := groupsOf(h.PeekAll("Cache-Groups")); len(groups) > 0 {
		origin := originOf(key)
		for _, group := range groups {
			if !within(group) {
				return everyTag
			}
			tags = append(tags, hashOf(nameGroup, group, ""), hashOf(nameGroup, group, origin))
		}
	}
	slices.Sort(tags)
	return slices.Clip(slices.Compact(tags))
}

// InvalidatedGroups returns the groups that an answer to an unsafe method invalidates (RFC 9875 §3): its
// Cache-Group-Invalidation. A field that is not valid is ignored.
func InvalidatedGroups(h Header) []string { return groupsOf(h.PeekAll("Cache-Group-Invalidation")) }

// groupsOf reads a List of Strings (RFC 9875 §2). One that is not is ignored as a whole, as RFC 9651 §2 has it.
func groupsOf(lines [][]byte) (groups []string) {
	if len(lines) == 0 {
		return nil
	}
	text := make([]string, len(lines))
	for i, line := range lines {
		text[i] = string(line)
	}
	list, err := httpsfv.UnmarshalList(text)
	if err != nil {
		return nil
	}
	for _, member := range list {
		item, isItem := member.(httpsfv.Item)
		group, isString := item.Value.(string)
		if !isItem || !isString {
			return nil
		}
		groups = append(groups, group)
	}
	return groups
}
