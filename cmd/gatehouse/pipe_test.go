package main

import (
	"fmt"
	"os"
	"syscall"
	"testing"
)

// endless makes a pipe that nobody writes to and a link to a device without end.
func endless(t *testing.T, pipe, zero string) {
	t.Helper()
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/zero", zero); err != nil {
		t.Fatal(err)
	}
}

func TestCheckNeitherHangsOnAPipeNorReadsADevice(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "conf.d/a.yaml", "vhosts:\n  a.test: {backends: [http://10.0.0.1]}\n")
	endless(t, "conf.d/pipe.yaml", "conf.d/zero.yaml")
	code, out, _ := invoke(t, "check")
	want(t, "a node passes over them", code, exitOK)
	contains(t, "folder", out, "warning: conf.d/pipe.yaml: not read: it is not a regular file", "warning: conf.d/zero.yaml: not read")
	code, out, _ = invoke(t, "check", "conf.d/pipe.yaml", "conf.d/zero.yaml")
	want(t, "named", code, exitFailed)
	contains(t, "named", out, "conf.d/pipe.yaml: cannot be read: is not a regular file", "conf.d/zero.yaml: cannot be read: is not a regular file")
}

func TestNoFileThatSettingsNameIsAPipeOrADevice(t *testing.T) {
	t.Chdir(t.TempDir())
	endless(t, "pipe", "zero")
	write(t, "conf.d/a.yaml", "{}\n")
	for _, name := range []string{"pipe", "zero"} {
		const says = "is not a regular file"
		code, out, _ := invoke(t, "check", "-c", name)
		want(t, "settings", code, exitFailed)
		contains(t, "settings", out, name+": cannot be read: "+says)
		code, out, _ = invokeWith(t, []string{"GATEHOUSE_NODE_FILE=" + name}, "check")
		want(t, "variable", code, exitFailed)
		contains(t, "variable", out, "GATEHOUSE_NODE_FILE", says)
		write(t, "gatehouse.yaml", "certificates: {acme: {trust: "+name+"}}\n")
		code, out, _ = invoke(t, "check")
		want(t, "trust", code, exitFailed)
		contains(t, "trust", out, name+": cannot be read: "+says+" (certificates.acme.trust)")
		write(t, "gatehouse.yaml", "")
		write(t, "conf.d/a.yaml", fmt.Sprintf("vhosts:\n  a.test: {backends: [http://10.0.0.1], tls: {certificate: {cert: ../%s, key: ../%s}}}\n", name, name))
		code, out, _ = invoke(t, "check")
		want(t, "certificate", code, exitFailed)
		contains(t, "certificate", out, "tls.certificate.cert: "+name+" cannot be read: "+says, "tls.certificate.key: "+name+" cannot be read: "+says)
		write(t, "conf.d/a.yaml", "{}\n")
	}
}
