package routes

import (
	"net/netip"
	"strings"
	"testing"
)

func TestBackendThatIsNeverDialledIsRefusedInTheDocument(t *testing.T) {
	for host, refused := range map[string]bool{
		"169.254.169.254": true, "169.254.0.1": true, "0.0.0.0": true, "224.0.0.1": true, "239.255.255.250": true,
		"[fe80::1]": true, "[fd00:ec2::254]": true, "[FD00:EC2::254]": true, "[ff02::1]": true, "[::]": true,
		"[::ffff:169.254.169.254]": true, "[::ffff:0.0.0.0]": true, "[::ffff:224.0.0.1]": true,
		"[64:ff9b::169.254.169.254]": true, "[64:ff9b::a9fe:a9fe]": true, "[64:ff9b::]": true, "[64:ff9b:1::a9fe:a9fe]": true, "[64:ff9b:1:a9fe:a9:fe00::]": true, "[64:ff9b:1:a9:fe:a9fe::]": true, "[64:ff9b:1:0:a9:fea9:fe00:0]": true, "[64:ff9b:1:2:64:6464:c800:0]": true, "[2002:a9fe:a9fe::1]": true, "[::a9fe:a9fe]": true, "[fd20:ce::254]": true,
		"169.254.170.2": true, "169.254.170.23": true, "[fd00:ec2::23]": true, "[fd00:c1::a9fe:a9fe]": true, "[fd00:a9fe:a9fe::1]": true, "[fd00:42::42]": true, "[fd00:100::100:200]": true,
		"168.63.129.16": true, "100.100.100.200": true, "192.0.0.192": true, "255.255.255.255": true, "0.1.2.3": true, "[::ffff:100.100.100.200]": true, "[64:ff9b::e000:1]": true,
		"127.0.0.1": false, "10.0.0.1": false, "[::1]": false, "[fd00::1]": false, "[64:ff9b::10.0.0.1]": false, "[64:ff9b:1::10.0.0.1]": false, "[64:ff9b:1:e000::10.0.0.1]": false,
		"[::ffff:10.0.0.1]": false, "metadata.test": false, "[2002:a00:1::1]": false, "100.100.100.201": false,
	} {
		v := &Vhost{Name: "a.test", Backends: []Backend{{URL: "http://10.0.0.1"}, {URL: "http://" + host + ":80/x"}}}
		got := v.Check("f").Error()
		if refused && (!strings.Contains(got, "backends[1]") || !strings.Contains(got, "never used as a backend")) {
			t.Errorf("%s: got %q", host, got)
		}
		if !refused && got != "" {
			t.Errorf("%s: got %q", host, got)
		}
	}
}

func TestZoneDoesNotHideALinkLocalAddress(t *testing.T) {
	if !NeverBackend(netip.MustParseAddr("fe80::1%eth0")) || NeverBackend(netip.MustParseAddr("fd00::1%eth0")) {
		t.Error("the zone matters")
	}
}
