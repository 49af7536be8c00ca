package redisstore

import (
	"encoding/json"
	"strings"

	"gatehouse/routes"
)

// draft is Change.Draft of a document that is bad; empty: what its keys hold cannot be read so far.
func draft(doc routes.Key, values []value) string {
	list, text, _ := partsOf(values)
	fields := map[string]json.RawMessage{}
	if text != nil && (text.bad != "" || json.Unmarshal([]byte(text.text), &fields) != nil || fields == nil) {
		return ""
	}
	if list != nil {
		var front routes.Vhost
		if len(mergeID(&front, list, text)) > 0 {
			return ""
		}
		supply(fields, "tenant", front.Tenant)
		if lacks(fields, "redirect") && lacks(fields, "respond") {
			supply(fields, "backends", list.list[1:])
		}
	} else if text == nil {
		return ""
	}
	out, err := json.Marshal(fields)
	if err != nil {
		return ""
	}
	return string(out)
}

// supply gives a field that is not there a value.
func supply(fields map[string]json.RawMessage, name string, v any) {
	raw, err := json.Marshal(v)
	if err == nil && lacks(fields, name) && !saysNothing(string(raw)) {
		fields[name] = raw
	}
}

func lacks(fields map[string]json.RawMessage, name string) bool {
	return saysNothing(string(fields[name]))
}

func saysNothing(raw string) bool {
	switch strings.TrimSpace(raw) {
	case "", "null", "[]", `""`:
		return true
	}
	return false
}
