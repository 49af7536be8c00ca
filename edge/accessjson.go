package edge

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// appendJSON writes one object. It is put together by hand, since reflection would take
// longer than most of a request's other links together.
func appendJSON(dst []byte, r *request, took time.Duration) []byte {
	host := r.Host
	if host == "" {
		host = r.RawHost
	}
	dst = append(dst, `{"time":"`...)
	dst = r.Start.UTC().AppendFormat(dst, "2006-01-02T15:04:05.000Z07:00")
	dst = appendMember(dst, `","id":`, r.ID)
	dst = appendMember(dst, `,"client":`, r.ClientText)
	dst = appendMember(dst, `,"host":`, host)
	dst = appendMember(dst, `,"method":`, r.Method)
	dst = appendMember(dst, `,"target":`, r.Target)
	dst = appendMember(dst, `,"proto":`, r.Proto)
	dst = strconv.AppendInt(append(dst, `,"status":`...), int64(r.response.status), 10)
	dst = strconv.AppendInt(append(dst, `,"bytes":`...), r.response.sent, 10)
	dst = strconv.AppendFloat(append(dst, `,"duration_ms":`...), float64(took.Microseconds())/1000, 'f', -1, 64)
	dst = appendMember(dst, `,"tenant":`, r.record.Tenant)
	dst = appendMember(dst, `,"vhost":`, r.record.Route)
	dst = appendMember(dst, `,"waf":`, r.record.WAF.Verdict)
	dst = append(dst, `,"rules":[`...)
	for i, id := range r.record.WAF.Rules {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(dst, int64(id), 10)
	}
	dst = appendMember(dst, `],"cache":`, r.record.Cache)
	dst = appendMember(dst, `,"backend":`, r.record.Backend)
	if text := errorText(r.record.Err); text != "" {
		dst = appendMember(dst, `,"error":`, text)
	}
	return append(dst, "}\n"...)
}

// appendMember writes what stands before a text, and the text as JSON has it.
func appendMember(dst []byte, before, text string) []byte {
	dst = append(dst, before...)
	if plain(text) {
		dst = append(dst, '"')
		dst = append(dst, text...)
		return append(dst, '"')
	}
	quoted, err := json.Marshal(text)
	if err != nil { // a string: cannot happen
		return fmt.Appendf(dst, "%q", err.Error())
	}
	return append(dst, quoted...)
}
