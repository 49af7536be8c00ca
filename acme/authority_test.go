package acme

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAuthoritySurvivesARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	first, err := openAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	mustBePrivate(t, filepath.Join(dir, "ca.key"))
	second, err := openAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !first.cert.Equal(second.cert) {
		t.Error("a restart made another CA")
	}
	if life := first.cert.NotAfter.Sub(first.cert.NotBefore); life < authorityLife {
		t.Errorf("the CA lives %v", life)
	}
}

func TestAuthorityWithoutKeyIsNotReplaced(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	if _, err := openAuthority(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "ca.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := openAuthority(dir); err == nil || !strings.Contains(err.Error(), "ca.key is not") {
		t.Errorf("error is %v", err)
	}
}

func TestCrashBetweenKeyAndCertificateHeals(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	if _, err := openAuthority(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "ca.pem")); err != nil {
		t.Fatal(err)
	}
	a, err := openAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !samePublicKey(a.cert.PublicKey, a.key.Public()) {
		t.Error("certificate and key do not belong together")
	}
}

func TestForeignKeyBesideTheAuthorityIsRefused(t *testing.T) {
	dir, other := filepath.Join(t.TempDir(), "ca"), filepath.Join(t.TempDir(), "ca")
	for _, d := range []string{dir, other} {
		if _, err := openAuthority(d); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(filepath.Join(other, "ca.key"), filepath.Join(dir, "ca.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := openAuthority(dir); err == nil || !strings.Contains(err.Error(), "do not belong together") {
		t.Errorf("error is %v", err)
	}
}
