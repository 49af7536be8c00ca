package health

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/seldom"
)

func TestThousandsOfDeadBackendsOfOneOwnerAreFewLines(t *testing.T) {
	probe(t, func(t *testing.T, p *probing) {
		var log bytes.Buffer // written with the prober's lock
		p.Prober.log = slog.New(slog.NewTextHandler(&log, nil))
		p.Lead(true)
		for i := range 500 {
			url := fmt.Sprint("http://10.0.0.1:", i)
			p.set(url, true)
			p.Add(target(url))
		}
		other := target("http://b")
		other.Vhost = "b.test"
		p.set(other.URL, true)
		p.Add(other)
		time.Sleep(20 * time.Second)
		if got := p.Down(); got != 501 {
			t.Errorf("%d are down", got)
		}
		p.Prober.mu.Lock()
		defer p.Prober.mu.Unlock()
		text := log.String()
		if got := strings.Count(text, "vhost=a.test"); got != seldom.Most {
			t.Errorf("%d lines of a.test:\n%s", got, text)
		}
		if strings.Count(text, "vhost=b.test") != 1 || strings.Count(text, "others=") != 1 {
			t.Errorf("the log:\n%s", text)
		}
	})
}
