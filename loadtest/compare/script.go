package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// resultMark begins the line that our scripts print at the end of a run.
const resultMark = "compared:"

// done is the end of every script: wrk's own numbers on one line, unrounded.
// A result of 0 for unexpected means either none, or that nobody counted.
const done = `
local threads = {}
function setup(thread) table.insert(threads, thread) end
function done(summary, latency, requests)
  local unexpected = 0
  for _, thread in ipairs(threads) do unexpected = unexpected + (thread:get("unexpected") or 0) end
  local e = summary.errors
  io.write(string.format("` + resultMark + ` requests=%.0f duration=%.0f bytes=%.0f connect=%.0f read=%.0f write=%.0f timeout=%.0f status=%.0f unexpected=%.0f p50=%.0f p99=%.0f\n",
    summary.requests, summary.duration, summary.bytes, e.connect, e.read, e.write, e.timeout, e.status, unexpected,
    latency:percentile(50), latency:percentile(99)))
end
`

// script returns the Lua program with which wrk sends the requests of s. With
// s.unique each @ becomes a number that counts up from seed; two runs whose seeds are
// further apart than their requests share no value.
func script(s scenario, seed int64) string {
	var b strings.Builder
	fmt.Fprintf(&b, "wrk.method = %s\n", luaQuote(s.method()))
	fmt.Fprintf(&b, "wrk.headers[\"Host\"] = %s\n", luaQuote(s.host))
	for _, name := range slices.Sorted(maps.Keys(s.fields)) {
		fmt.Fprintf(&b, "wrk.headers[%s] = %s\n", luaQuote(name), luaQuote(s.fields[name]))
	}
	if s.body != "" {
		fmt.Fprintf(&b, "wrk.body = %s\n", luaQuote(s.body))
	}
	// Without a function request wrk sends the same bytes again and again, which costs it least.
	if s.unique {
		uniqueRequests(&b, s, seed)
	} else {
		fmt.Fprintf(&b, "wrk.path = %s\n", luaQuote(s.path))
	}
	// wrk counts statuses from 400 as one. Looking at each costs it time, so only
	// where that is nothing beside the WAF's.
	if s.status >= 400 {
		fmt.Fprintf(&b, "unexpected = 0\nfunction response(status) if status ~= %d then unexpected = unexpected + 1 end end\n", s.status)
	}
	b.WriteString(done)
	return b.String()
}

// uniqueRequests writes a function request that puts a new number into the path, the
// body and those fields that have a place for it.
func uniqueRequests(b *strings.Builder, s scenario, seed int64) {
	fmt.Fprintf(b, "local number = %d\nlocal path = %s\nlocal body = wrk.body\nlocal varying = {}\n", seed, luaQuote(s.path))
	b.WriteString(`for name, value in pairs(wrk.headers) do
  if value:find("@", 1, true) then varying[name] = value end
end
function request()
  number = number + 1
  local text = string.format("%.0f", number)
  for name, value in pairs(varying) do wrk.headers[name] = value:gsub("@", text) end
  return wrk.format(nil, (path:gsub("@", text)), nil, body and (body:gsub("@", text)))
end
`)
}

func (s scenario) method() string {
	if s.body != "" {
		return "POST"
	}
	return "GET"
}

// luaQuote returns text as a Lua string: Go's escapes are not Lua's.
func luaQuote(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(text) {
		switch c := text[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c >= 0x7f:
			fmt.Fprintf(&b, `\%03d`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
