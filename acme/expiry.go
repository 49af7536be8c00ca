package acme

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// own returns the certificate that a pattern of the table has for itself, expired or not: its file, else what was imported, else the
// issued one, else what was imported for a wildcard that is not in the table. Nil: there is none, or it is not what is served, since a wildcard's file goes before it.
func (s *store) own(pattern string) *leaf {
	if l := s.file(pattern); l != nil || pattern == "*" {
		return l
	}
	imported, issued := s.imported(pattern), s.issued(pattern)
	switch {
	case imported.validAt(time.Now()), imported != nil && issued == nil:
		return imported
	case !isExact(pattern):
		return issued
	case issued != nil && !s.hasFile(pattern):
		return issued
	}
	if above := s.wildcard(pattern); !above.told { // else it is the wildcard's own
		return above.imported
	}
	return nil
}

// eachOwn calls visit with the certificates that patterns have for themselves.
func (s *store) eachOwn(visit func(pattern string, l *leaf)) {
	for _, name := range s.patterns() {
		if l := s.own(name); l != nil {
			visit(name, l)
		}
	}
}

// eachOwn is that of the store, and then of what was imported for patterns that the table does not have, and serves names of a wildcard of the table.
func (m *Manager) eachOwn(visit func(pattern string, l *leaf)) {
	seen := map[*leaf]bool{}
	m.store.eachOwn(func(pattern string, l *leaf) {
		if l.source == SourceImported {
			seen[l] = true
		}
		visit(pattern, l)
	})
	for _, pattern := range m.store.all(func(e entry) bool { return !e.told && e.imported != nil }) {
		if l := m.store.imported(pattern); l != nil && !seen[l] && m.known(knownAs(pattern)) {
			visit(pattern, l)
		}
	}
}

// expiries tells when certificates end. That takes a walk through all names.
type expiries struct {
	m                          *Manager
	walked                     rarely[ends]
	failures                   rarely[int]
	soonest, expiring, failing *prometheus.Desc
}

// ends are what a walk finds: the first end by source, and how many end within a week and a month.
type ends struct {
	soonest     map[Source]time.Time
	week, month int
}

func newExpiries(m *Manager) *expiries {
	return &expiries{
		m: m,
		soonest: prometheus.NewDesc("gatehouse_certificate_expiry_seconds",
			"When the certificate that ends first does, in Unix time, by source; of internal ones the node's own CA, since they are made anew by themselves.",
			[]string{"source"}, nil),
		expiring: prometheus.NewDesc("gatehouse_certificates_expiring",
			"Names whose certificate ends within that time, or has ended; without internal ones.", []string{"within"}, nil),
		failing: prometheus.NewDesc("gatehouse_certificates_failing",
			"Names whose last order failed, or was put off.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (e *expiries) Describe(out chan<- *prometheus.Desc) {
	out <- e.soonest
	out <- e.expiring
	out <- e.failing
}

// Collect implements prometheus.Collector.
func (e *expiries) Collect(out chan<- prometheus.Metric) {
	found := e.walked.get(e.walk)
	for source, at := range found.soonest {
		out <- prometheus.MustNewConstMetric(e.soonest, prometheus.GaugeValue, float64(at.Unix()), string(source))
	}
	out <- prometheus.MustNewConstMetric(e.expiring, prometheus.GaugeValue, float64(found.week), "7d")
	out <- prometheus.MustNewConstMetric(e.expiring, prometheus.GaugeValue, float64(found.month), "30d")
	failing := 0
	if e.m.issuer != nil {
		failing = e.failures.get(e.m.issuer.failing)
	}
	out <- prometheus.MustNewConstMetric(e.failing, prometheus.GaugeValue, float64(failing))
}

func (e *expiries) walk() ends {
	found := ends{soonest: map[Source]time.Time{SourceInternal: e.m.authority.cert.NotAfter}}
	now := time.Now()
	e.m.eachOwn(func(name string, l *leaf) {
		if e.m.isLeft(name, l) {
			return
		}
		if first, ok := found.soonest[l.source]; !ok || l.notAfter.Before(first) {
			found.soonest[l.source] = l.notAfter
		}
		switch left := l.notAfter.Sub(now); {
		case left < 7*24*time.Hour:
			found.week++
			found.month++
		case left < 30*24*time.Hour:
			found.month++
		}
	})
	return found
}

// isLeft reports whether a certificate is left to end, since its name is suspended.
func (m *Manager) isLeft(name string, l *leaf) bool {
	return l.source == SourceACME && m.issuer != nil && m.issuer.isPaused(name)
}

// ends reports whether a certificate has so little of its life left that its successor should have been there long ago.
func (l *leaf) ends(now time.Time) bool { return l.notAfter.Sub(now) <= l.life()/6 }
