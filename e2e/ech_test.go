package e2e

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"strings"
	"testing"

	"gatehouse/internal/edgetest"
)

// What cert ech prints is what a client needs, and a restart leaves it as it is.
func TestPrintedECHRecordEncryptsTheName(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := launch(t, "tls: {ech: {public_name: front.test}}\n", map[string]string{"a.yaml": vhost("secret.test", b.URL), "front.yaml": vhost("front.test", b.URL)})
	printed := func() (list []byte) {
		t.Helper()
		var r struct {
			ConfigList []byte `json:"config_list"`
			Problem    string `json:"problem"`
		}
		if err := json.Unmarshal([]byte(n.must("cert", "ech", "-o", "json")), &r); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(r.Problem, "front.test has the internal CA's certificate") {
			t.Errorf("problem: %q", r.Problem)
		}
		return r.ConfigList
	}
	list := printed()
	accepted := func() {
		t.Helper()
		config := &tls.Config{ServerName: "secret.test", RootCAs: n.roots(), EncryptedClientHelloConfigList: list}
		conn := edgetest.DialTLSConfig(t, n.https, config)
		defer conn.Close()
		if got := conn.Do("GET", "GET / HTTP/1.1\r\nHost: secret.test\r\n\r\n"); got.Status != 200 {
			t.Errorf("status %d", got.Status)
		}
	}
	accepted()
	n.stop()
	n.start()
	if !bytes.Equal(printed(), list) {
		t.Error("a restart has changed the key")
	}
	accepted()
}
