package admin

import (
	"strconv"

	"gatehouse/routes"
)

// effectiveHealth adds how backends are checked, where they are.
func effectiveHealth(h *routes.Health, add func(path, value string)) {
	if h == nil {
		return
	}
	add("health.path", h.Path)
	if h.Host != "" {
		add("health.host", h.Host)
	}
	add("health.interval", h.Interval.String())
	add("health.timeout", h.Timeout.String())
	add("health.rise", strconv.Itoa(h.Rise))
	add("health.fall", strconv.Itoa(h.Fall))
	add("health.status", h.Status)
	if h.Body != "" {
		add("health.body", h.Body)
	}
}
