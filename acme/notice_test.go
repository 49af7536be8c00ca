package acme

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatehouse/internal/edgetest"
)

// heard gathers notices.
type heard struct {
	mu  sync.Mutex
	all []Notice
}

func (h *heard) tell(n Notice) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, n)
}

// take returns what was told, as "event name", and forgets it.
func (h *heard) take() (events []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, n := range h.all {
		events = append(events, n.Event+" "+n.Name)
	}
	h.all = nil
	slices.Sort(events)
	return events
}

// attach gives names a certificate of that life, of which left is left.
func attach(t *testing.T, m *Manager, life, left time.Duration, names ...string) {
	t.Helper()
	end := time.Now().Add(left)
	_, cert, key := pairFiles(t, edgetest.NewCA(t), edgetest.LeafOptions{NotBefore: end.Add(-life), NotAfter: end}, names...)
	for _, name := range names {
		m.Update([]Change{{Name: name, CertFile: cert, KeyFile: key}})
	}
}

const day = 24 * time.Hour

func TestCertificatesThatEndAreToldOnceADay(t *testing.T) {
	var h heard
	m := newManager(t, Options{Notify: h.tell})
	attach(t, m, 90*day, 20*day, "fine.test")
	attach(t, m, 90*day, 14*day, "b.end.test", "a.end.test")
	attach(t, m, 90*day, -day, "past.test")
	m.Update([]Change{{Name: "internal.test"}, {Name: "*.end.test"}})
	now := time.Now()
	m.notices.expiring(t.Context(), m, now)
	if got := h.take(); !slices.Equal(got, []string{"expiring a.end.test", "expiring past.test"}) {
		t.Errorf("told of %q", got)
	}
	m.notices.expiring(t.Context(), m, now.Add(23*time.Hour))
	if got := h.take(); got != nil {
		t.Errorf("told again within a day: %q", got)
	}
	attach(t, m, 90*day, 80*day, "a.end.test", "b.end.test") // the successor
	m.notices.expiring(t.Context(), m, now.Add(25*time.Hour))
	if got := h.take(); !slices.Equal(got, []string{"expiring past.test"}) {
		t.Errorf("a day later told of %q", got)
	}
}

func TestWhatWasToldIsNotToldAgainAfterARestart(t *testing.T) {
	for _, damage := range []string{"", "{", "null"} {
		var h heard
		log, lines := newLog()
		o := Options{Data: t.TempDir(), Notify: h.tell, Logger: log}
		now, l := time.Now(), &leaf{names: []string{"a.test"}}
		first := newManager(t, o)
		attach(t, first, 90*day, 14*day, "end.test")
		first.notices.expiring(t.Context(), first, now)
		first.notices.revoked(l)
		if got := h.take(); !slices.Equal(got, []string{"expiring end.test", "revoked a.test"}) {
			t.Errorf("told of %q", got)
		}
		file := filepath.Join(o.Data, "told.json")
		mustBePrivate(t, file)
		if damage != "" {
			if err := os.WriteFile(file, []byte(damage), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		again := newManager(t, o)
		again.store.tell("end.test")
		again.store.putFile("end.test", first.store.file("end.test"))
		again.notices.expiring(t.Context(), again, now.Add(time.Hour))
		again.notices.revoked(l)
		if got := h.take(); (got == nil) != (damage == "") {
			t.Errorf("after a restart, with %q in the file, told of %q", damage, got)
		}
		if strings.Contains(lines.String(), "cannot be read") != (damage == "{") {
			t.Errorf("with %q in the file the log says %s", damage, lines)
		}
		again.notices.expiring(t.Context(), again, now.Add(25*time.Hour))
		if got := h.take(); !slices.Equal(got, []string{"expiring end.test"}) {
			t.Errorf("a day later told of %q", got)
		}
	}
}

func TestFailedOrdersAreToldOnceInARowAndOnceADay(t *testing.T) {
	var h heard
	n := newNotices(Options{Notify: h.tell})
	var f failure
	err := errors.New("a.test was not validated: http-01: connection: Connection refused")
	f.Told = n.failed("a.test", nil, f.Told, err)
	again := n.failed("a.test", nil, f.Told, err)
	if got := h.take(); !slices.Equal(got, []string{"failed a.test"}) || !again.Equal(f.Told) {
		t.Errorf("told %q, and noted %v", got, again)
	}
	n.failed("a.test", nil, time.Now().Add(-25*time.Hour), err)
	h.mu.Lock()
	if len(h.all) != 1 || !strings.Contains(h.all[0].Error, "is port 80 open?") {
		t.Errorf("a day later: %+v", h.all)
	}
	h.mu.Unlock()
	if told := newNotices(Options{}).failed("a.test", nil, time.Time{}, err); !told.IsZero() {
		t.Error("it is noted that somebody was told, and nobody is")
	}
}

func TestOrdersThatFailAndWorkAgainAreTold(t *testing.T) {
	t.Parallel()
	var h heard
	s := newSite(t, siteOptions{http: true, known: []string{"broken.test"}, adjust: func(o *Options) { o.Notify = h.tell }})
	s.mute.Store(true)
	run(t, s.Manager)
	s.Update(s.names.changes())
	eventually(t, "the order has failed", func() bool { return statusOf(t, s.Manager, "broken.test").LastError != "" })
	st := statusOf(t, s.Manager, "broken.test")
	if !strings.Contains(st.Problem, "another server answers for broken.test") || st.LastTry.IsZero() {
		t.Errorf("status is %+v", st)
	}
	if got := h.take(); !slices.Equal(got, []string{"failed broken.test"}) {
		t.Errorf("told %q", got)
	}
	s.mute.Store(false)
	if err := s.Renew("broken.test"); err != nil {
		t.Fatal(err)
	}
	s.issued(t, "broken.test", nil)
	eventually(t, "the error is gone", func() bool { return statusOf(t, s.Manager, "broken.test").LastError == "" })
	first := statusOf(t, s.Manager, "broken.test").Fingerprint
	if got := h.take(); !slices.Equal(got, []string{"renewed broken.test"}) {
		t.Errorf("told %q", got)
	}
	if err := s.Renew("broken.test"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another certificate", func() bool { st, _ := s.StatusOf("broken.test"); return st.Fingerprint != first })
	if _, ok := s.StatusOf("other.test"); ok {
		t.Error("a name that the table does not have has a status")
	}
}

// oneTaker is a Shared of which only Take works.
type oneTaker struct {
	Shared
	taken map[string]bool
}

func (o *oneTaker) Take(_ context.Context, key string, _ int, window time.Duration) (time.Duration, error) {
	if o.taken[key] {
		return window, nil
	}
	o.taken[key] = true
	return 0, nil
}

func TestNodesThatShareAnythingTellOnce(t *testing.T) {
	var h heard
	shared := &oneTaker{taken: map[string]bool{}}
	for range 3 {
		n := &notices{tell: h.tell, shared: shared, until: map[string]time.Time{}}
		l := &leaf{names: []string{"a.test"}}
		n.revoked(l)
		n.revoked(l)
	}
	if got := h.take(); !slices.Equal(got, []string{"revoked a.test"}) {
		t.Errorf("told %q", got)
	}
}

func TestMetricsOfExpiry(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	m := newManager(t, Options{Issuer: IssuerACME, ACME: ACME{Directory: "https://127.0.0.1:1/dir"}, Registerer: registry})
	attach(t, m, 90*day, 40*day, "fine.test")
	attach(t, m, 90*day, 20*day, "month.test", "*.month.test")
	attach(t, m, 90*day, 2*day, "week.test")
	end := time.Now().Add(100 * day).Truncate(time.Second)
	mine := edgetest.NewCA(t).IssueWith(t, edgetest.LeafOptions{NotBefore: end.Add(-120 * day), NotAfter: end}, "mine.test")
	m.Update([]Change{{Name: "onelabel"}, {Name: "mine.test"}})
	if _, _, err := m.Import(t.Context(), mine.CertPEM, mine.KeyPEM); err != nil {
		t.Fatal(err)
	}
	if m.Renew("mine.test") == nil {
		t.Error("what was imported can be ordered")
	}
	m.issuer.process(t.Context(), "onelabel")
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, metric := range f.GetMetric() {
			key := f.GetName()
			for _, l := range metric.GetLabel() {
				key += " " + l.GetValue()
			}
			got[key] = metric.GetGauge().GetValue()
		}
	}
	for key, want := range map[string]float64{
		"gatehouse_certificates_expiring 7d": 1, "gatehouse_certificates_expiring 30d": 3, "gatehouse_certificates_failing": 1,
		"gatehouse_certificate_expiry_seconds file":     float64(statusOf(t, m, "week.test").NotAfter.Unix()),
		"gatehouse_certificate_expiry_seconds imported": float64(end.Unix()),
		"gatehouse_certificate_expiry_seconds internal": float64(m.authority.cert.NotAfter.Unix()),
	} {
		if got[key] != want {
			t.Errorf("%s is %v, want %v", key, got[key], want)
		}
	}
	if _, ok := got["gatehouse_certificate_expiry_seconds acme"]; ok {
		t.Error("a source without certificates has an end")
	}
}
