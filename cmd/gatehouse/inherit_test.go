package main

import (
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

type listener struct {
	net.Listener
	at     net.Addr
	closed bool
}

func (l *listener) Addr() net.Addr { return l.at }
func (l *listener) Close() error   { l.closed = true; return nil }

func at(address string) *listener {
	host, port, _ := net.SplitHostPort(address)
	n, _ := strconv.Atoi(port)
	return &listener{at: &net.TCPAddr{IP: net.ParseIP(host), Port: n}}
}

func TestInheritedSocketFitsASetting(t *testing.T) {
	for _, c := range []struct {
		bound, name, setting string
		fits                 bool
	}{
		{"[::]:8080", "http", ":8080", true},
		{"[::]:8080", "http", "0.0.0.0:8080", true}, // net.Listen takes both for all addresses
		{"0.0.0.0:8080", "http", "[::]:8080", true},
		{"[::]:8080", "http", ":8081", false},
		{"[::]:8080", "http", "127.0.0.1:8080", false},
		{"127.0.0.1:8080", "http", ":8080", false},
		{"127.0.0.1:8080", "http", "127.0.0.1:8080", true},
		{"127.0.0.1:8080", "http", "localhost:8080", true},
		{"127.0.0.1:8080", "admin", "127.0.0.1:8080", true},
		{"127.0.0.1:8080", "http", "127.0.0.2:8080", false},
		{"[::1]:8080", "http", "[::1]:8080", true},
		{"127.0.0.1:40123", "http", "127.0.0.1:0", true}, // it goes on at its port
		{"127.0.0.1:40123", "admin", "127.0.0.1:0", false},
	} {
		s := &inheritedSocket{offeredSocket: offeredSocket{Name: "http"}, ln: at(c.bound)}
		if got, err := matches(s, c.name, c.setting); err != nil || got != c.fits {
			t.Errorf("socket of http at %s for listen.%s %q: %v, %v", c.bound, c.name, c.setting, got, err)
		}
	}
}

func TestSocketIsTakenByNameBeforeAddress(t *testing.T) {
	other, http, named := at("127.0.0.1:80"), at("127.0.0.1:80"), at("127.0.0.1:7")
	in := &inheritance{sockets: []*inheritedSocket{
		{offeredSocket{Name: "gatehouse.socket"}, 3, other},
		{offeredSocket{Name: "http"}, 4, http},
		{offeredSocket{Name: "https", Fixed: true}, 5, named},
	}}
	if ln, fixed, err := in.take("http", "127.0.0.1:80"); ln != http || fixed || err != nil {
		t.Errorf("%v %v %v", ln, fixed, err)
	}
	if ln, fixed, err := in.take("https", ":443"); ln != named || !fixed || err != nil {
		t.Errorf("%v %v %v", ln, fixed, err)
	}
	if ln, _, err := in.take("admin", "127.0.0.1:9180"); ln != nil || err != nil {
		t.Errorf("%v %v", ln, err)
	}
	err := in.settle()
	if err == nil || !strings.Contains(err.Error(), `descriptor 3 ("gatehouse.socket", 127.0.0.1:80) fits neither`) || !other.closed {
		t.Errorf("%v, closed %v", err, other.closed)
	}
	in = &inheritance{predecessor: &predecessor{}, sockets: []*inheritedSocket{{offeredSocket{Name: "http"}, 3, other}}}
	if err := in.settle(); err != nil { // new settings do not want it
		t.Error(err)
	}
	var none *inheritance
	if ln, _, err := none.take("http", ":80"); ln != nil || err != nil || none.settle() != nil {
		t.Error("a process that inherits nothing")
	}
}

func TestActivationThatIsNotForUsIsIgnored(t *testing.T) {
	environ := []string{"PATH=/bin", "LISTEN_FDS=2", "LISTEN_PID=1", "LISTEN_FDNAMES=a:b"}
	t.Setenv("LISTEN_FDS", "2")
	in, err := inherit(environ)
	if err != nil || len(in.sockets) != 0 {
		t.Errorf("%+v, %v", in, err)
	}
	if _, there := os.LookupEnv("LISTEN_FDS"); there {
		t.Error("children would believe LISTEN_FDS")
	}
	if got := withoutInheritance(environ); !slices.Equal(got, []string{"PATH=/bin"}) {
		t.Error(got)
	}
}

func TestBadInheritanceIsSaidSo(t *testing.T) {
	pid := "LISTEN_PID=" + strconv.Itoa(os.Getpid())
	for _, c := range []struct {
		environ []string
		says    string
	}{
		{[]string{pid, "LISTEN_FDS=many"}, `LISTEN_FDS="many"`},
		{[]string{pid, "LISTEN_FDS=-1"}, `LISTEN_FDS="-1"`},
		{[]string{pid, "LISTEN_FDS=2", "LISTEN_FDNAMES=http"}, "1 names for 2 descriptors"},
		{[]string{handoverVar + "=x"}, "hand-over"},
		{[]string{handoverVar + `={"protocol":99}`}, "protocol 99, this binary 1"},
	} {
		if _, err := inherit(c.environ); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: %v", c.environ, err)
		}
	}
}
