package main

import (
	"bufio"
	"os"
	"strings"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	const rest = " S 77 412 412 0 -1 4194560 9041 0 3 0 1234 567 0 0 20 0 9 0 88123 1289605120 2048 18446744073709551615 4194304 5 140 0 0 0 0 0 2143420159 0 0 0 17 0 0 0 0 0 0\n"
	page := int64(os.Getpagesize())
	want := procStat{parent: 77, state: 'S', usage: usage{12340 * time.Millisecond, 5670 * time.Millisecond, 2048 * page}}
	for _, name := range []string{"nginx", "nginx: worker", "a) S 1 (b", "((", "", ")"} {
		got, err := parseStat("412 (" + name + ")" + rest)
		if err != nil || got != want {
			t.Errorf("%q: got %+v, %v; want %+v", name, got, err, want)
		}
	}
	for _, bad := range []string{"", "412 (nginx) S 77", "412 nginx S 77 1 2 3", strings.Replace("412 (x)"+rest, "1234", "12x4", 1)} {
		if got, err := parseStat(bad); err == nil {
			t.Errorf("%q: got %+v, want an error", bad, got)
		}
	}
}

// TestFamily: workers count, those of others do not.
func TestFamily(t *testing.T) {
	of := func(parent int, user time.Duration) procStat {
		return procStat{parent: parent, state: 'S', usage: usage{user: user, sys: 1, rss: 10}}
	}
	all := map[int]procStat{1: of(0, 1000), 10: of(1, 1), 11: of(10, 2), 12: of(11, 4), 20: of(1, 8), 30: of(1, 16)}
	if got, want := family(all, []int{10, 30}), (usage{user: 1 + 2 + 4 + 16, sys: 4, rss: 40}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestThisProcess: the format is that of the kernel that runs here.
func TestThisProcess(t *testing.T) {
	all, err := processes()
	if err != nil {
		t.Fatal(err)
	}
	if st := all[os.Getpid()]; st.parent != os.Getppid() || st.usage.rss < 1<<20 || !running(os.Getpid()) {
		t.Errorf("got %+v, running %v", st, running(os.Getpid()))
	}
}

func TestParseCounter(t *testing.T) {
	const page = "Active connections: 3 \nserver accepts handled requests\n 16630948 16630946 31070465 \nReading: 6 Writing: 179 Waiting: 106 \n"
	if got, err := parseCounter(bufio.NewScanner(strings.NewReader(page))); err != nil || got != 31070465 {
		t.Errorf("got %d, %v", got, err)
	}
	for _, bad := range []string{"", "<html>\n<h1>404</h1>\n", "Active connections: 3 \n", "1 2 x\n"} {
		if got, err := parseCounter(bufio.NewScanner(strings.NewReader(bad))); err == nil {
			t.Errorf("%q: got %d, want an error", bad, got)
		}
	}
}
