package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gatehouse/loadtest"
	"gatehouse/routes"
)

// A scenario is the file of `loadtest --scenario`.
type scenario struct {
	Hosts    []string          `json:"hosts"` // what {host} stands for; "site{1..99}.test" is 99 of them
	Requests []scenarioRequest `json:"requests"`
}

// A scenarioRequest is one row of the mix.
type scenarioRequest struct {
	URL       string            `json:"url"`
	Weight    share             `json:"weight" zero:"the weight must be above 0"`
	Method    string            `json:"method"`
	Headers   map[string]string `json:"headers"`
	Body      string            `json:"body"`
	BodyFile  string            `json:"body_file"`  // relative to the scenario's folder
	BodyBytes routes.Size       `json:"body_bytes"` // so many octets of filler
	Expect    []statusRange     `json:"expect"`
}

// A share is a number above 0.
type share float64

// UnmarshalText reads a decimal number.
func (s *share) UnmarshalText(text []byte) error {
	x, err := strconv.ParseFloat(string(text), 64)
	if err != nil || !(x >= 0 && x < 1e12) { // a NaN neither
		return fmt.Errorf("want a number above 0 and below 1e12, not %q", text)
	}
	*s = share(x)
	return nil
}

// readScenario adds the targets and hosts of a file to a plan; the error is of type
// routes.Problems and has all that is wrong.
func readScenario(file string, plan *loadtest.Plan) error {
	source, err := routes.ReadFile(file, loadtest.MaxBody)
	if err != nil {
		return routes.Problems{{File: file, Reason: unreadable(err)}}
	}
	d, err := routes.NewDecoder(file, source)
	if err != nil {
		var p *routes.Problem
		if !errors.As(err, &p) {
			p = &routes.Problem{File: file, Reason: err.Error()}
		}
		return routes.Problems{p}
	}
	var s scenario
	d.Decode(&s)
	if len(s.Requests) == 0 && len(d.Problems()) == 0 {
		d.Report("requests", "there is none", "")
	}
	plan.Hosts = s.hosts(d)
	room := loadtest.MaxBodies // counted before they are made
	for i := range s.Requests {
		at := "requests[" + strconv.Itoa(i) + "]"
		t, err := s.Requests[i].target(filepath.Dir(file), room)
		if room -= len(t.Body); room < 0 {
			d.Report(at, fmt.Sprintf("with its body, those of all requests are larger than %v together", routes.Size(loadtest.MaxBodies)), "")
			break
		}
		if err == nil && len(d.Problems()) == 0 {
			err = (&loadtest.Plan{Targets: []loadtest.Target{t}, Hosts: plan.Hosts}).Validate()
		}
		if err != nil {
			d.Report(at, err.Error(), "")
		}
		plan.Targets = append(plan.Targets, t)
	}
	if len(s.Hosts) > 0 && !slices.ContainsFunc(s.Requests, func(r scenarioRequest) bool { return strings.Contains(r.URL, "{host}") }) {
		d.Report("hosts", "they have no effect: no url has {host} in it", "")
	}
	return d.Problems().Err()
}

// target is the request in the form of a plan. A body that is larger than room is cut
// to one byte more.
func (r *scenarioRequest) target(folder string, room int) (loadtest.Target, error) {
	t := loadtest.Target{
		URL: r.URL, Weight: float64(r.Weight), Method: r.Method, Body: []byte(r.Body), Expect: statusesOf(r.Expect),
	}
	for _, name := range slices.Sorted(maps.Keys(r.Headers)) {
		t.Header = append(t.Header, loadtest.Field{Name: name, Value: r.Headers[name]})
	}
	given := 0
	for _, is := range []bool{r.Body != "", r.BodyFile != "", r.BodyBytes > 0} {
		if is {
			given++
		}
	}
	switch {
	case r.Expect != nil && len(r.Expect) == 0:
		return t, errors.New("expect: the list is empty; leave it out for 200-399")
	case given > 1:
		return t, errors.New("body, body_file and body_bytes exclude each other")
	case r.BodyBytes > loadtest.MaxBody:
		return t, fmt.Errorf("body_bytes: at most %v", routes.Size(loadtest.MaxBody))
	case r.BodyBytes > 0:
		t.Body = bytes.Repeat([]byte("x"), min(int(r.BodyBytes), room+1))
	case r.BodyFile != "":
		path := r.BodyFile
		if !filepath.IsAbs(path) {
			path = filepath.Join(folder, path)
		}
		var err error
		if t.Body, err = routes.ReadFile(path, loadtest.MaxBody); err != nil {
			return t, fmt.Errorf("body_file %s: %s", r.BodyFile, unreadable(err))
		}
	}
	if t.Method == "" && given > 0 {
		t.Method = "POST"
	}
	return t, nil
}

// hostRange is a range within a host: "{1..99}".
var hostRange = regexp.MustCompile(`\{(\d{1,7})\.\.(\d{1,7})\}`)

// hosts writes ranges out: "site{1..99}.test" is site1.test to site99.test.
func (s *scenario) hosts(d *routes.Decoder) []string {
	var out []string
	for i, host := range s.Hosts {
		at := "hosts[" + strconv.Itoa(i) + "]"
		m := hostRange.FindStringSubmatchIndex(host)
		fixed := host // without its range
		if m != nil {
			fixed = host[:m[0]] + host[m[1]:]
		}
		if host == "" || strings.ContainsAny(fixed, "{}/:@ ") {
			d.Report(at, `want a host, or one with a range such as "site{1..99}.test"`, "")
			continue
		}
		if m == nil {
			out = append(out, host)
			continue
		}
		from, _ := strconv.Atoi(host[m[2]:m[3]]) // digits, and few
		to, _ := strconv.Atoi(host[m[4]:m[5]])
		switch room := loadtest.MaxHosts - len(out); {
		case to < from:
			d.Report(at, fmt.Sprintf("a range goes upwards: {%d..%d}", to, from), "")
			continue
		case to-from >= room:
			d.Report(at, fmt.Sprintf("with it there are more than %d hosts", loadtest.MaxHosts), "")
			return out
		}
		for n := from; n <= to; n++ {
			out = append(out, host[:m[0]]+strconv.Itoa(n)+host[m[1]:])
		}
	}
	return out
}
