package edge

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
)

// Why a TLS handshake failed, as counted.
const (
	handshakeTimeout     = "timeout"
	handshakeUnknownName = "unknown_name"
	handshakePolicy      = "policy"             // the client has no version or suite that the vhost's policy takes
	handshakeCertificate = "client_certificate" // the client has none that the vhost takes
	handshakeAuthorities = "client_ca"          // the vhost's own authorities cannot be read
	handshakeBusy        = "busy"               // there was no turn to sign
	handshakeAlert       = "alert"              // the client refused, often the certificate
	handshakeLeft        = "left"               // the client went, as port scans and checks of load balancers do
	handshakeOther       = "other"
)

var handshakeFailures = []string{
	handshakeTimeout, handshakeUnknownName, handshakePolicy, handshakeCertificate, handshakeAuthorities, handshakeBusy, handshakeAlert,
	handshakeLeft, handshakeOther,
}

// The beginnings of errors of crypto/tls that have no names; a test asks real
// handshakes for them.
var handshakeTexts = []struct{ text, reason string }{
	{"tls: no certificates configured", handshakeUnknownName}, // GetCertificate knew none
	{"tls: client offered only unsupported versions", handshakePolicy},
	{"tls: no cipher suite supported by both client and server", handshakePolicy},
	{"tls: client didn't provide a certificate", handshakeCertificate},
}

// handshakeFailed counts a handshake, unless we ended it ourselves.
func (m *metrics) handshakeFailed(err error) {
	if !errors.Is(err, net.ErrClosed) {
		m.unshaken.WithLabelValues(handshakeFailure(err)).Inc()
	}
}

func handshakeFailure(err error) string {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return handshakeCertificate
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" {
		return handshakeAlert
	}
	switch {
	case strings.HasSuffix(err.Error(), errSigning.Error()): // crypto/tls keeps its text alone
		return handshakeBusy
	case errors.Is(err, os.ErrDeadlineExceeded):
		return handshakeTimeout
	case errors.Is(err, errNoAuthorities):
		return handshakeAuthorities
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return handshakeLeft
	}
	for _, t := range handshakeTexts {
		if strings.HasPrefix(err.Error(), t.text) {
			return t.reason
		}
	}
	return handshakeOther
}

// handshaken counts a handshake that succeeded.
func (m *metrics) handshaken(cs *tls.ConnectionState) {
	resumed := "false"
	if cs.DidResume {
		resumed = "true"
	}
	m.handshakes.WithLabelValues(versionLabel(cs.Version), resumed, groupLabel(cs.CurveID)).Inc()
	if cs.ECHAccepted {
		m.encrypted.Inc()
	}
}

func versionLabel(version uint16) string {
	switch version {
	case tls.VersionTLS13:
		return "1.3"
	case tls.VersionTLS12:
		return "1.2"
	case tls.VersionTLS11:
		return "1.1"
	}
	return "1.0"
}

func groupLabel(id tls.CurveID) string {
	switch id {
	case tls.X25519MLKEM768:
		return "x25519mlkem768"
	case tls.X25519:
		return "x25519"
	case tls.CurveP256:
		return "p256"
	case tls.CurveP384:
		return "p384"
	}
	return "other"
}

// registerSigning registers how many handshakes wait for their turn to sign.
func (m *metrics) registerSigning(reg prometheus.Registerer, s *signing) error {
	return reg.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "gatehouse_tls_signatures_waiting", Help: "TLS handshakes that wait for their turn to use a private key.",
	}, func() float64 { return float64(s.waiting.Load()) }))
}
