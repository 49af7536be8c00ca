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

// tagsOf reads a response's tags and groups as hashes, each once. Nil: it has none.
func tagsOf(h Header) (tags []uint64) {
	size := 0
	add := func(kind byte, text string) bool {
		size += len(text)
		tags = append(tags, hashOf(kind, text, ""))
		return len(tags) <= maxTags && size <= maxTagBytes
	}
	for _, f := range tagFields {
		for _, line := range h.PeekAll(f.name) {
			for len(line) > 0 {
				var tag []byte
				if tag, line = cutPart(line, f.dividers); len(tag) > 0 && !add(nameTag, octets.Text(tag)) {
					return everyTag
				}
			}
		}
	}
	for _, group := range groupsOf(h.PeekAll("Cache-Groups")) {
		if !add(nameGroup, group) {
			return everyTag
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
