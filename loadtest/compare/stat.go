package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// A usage is what processes have used since they began, and hold now.
type usage struct {
	user, sys time.Duration
	rss       int64 // bytes; pages that processes share count in each
}

func (u usage) minus(earlier usage) usage {
	return usage{u.user - earlier.user, u.sys - earlier.sys, u.rss - earlier.rss}
}

// A procStat is what we read of /proc/PID/stat.
type procStat struct {
	parent int
	state  byte // 'Z': it has ended
	usage  usage
}

// tick is the unit of times in /proc: USER_HZ, 100 on every architecture that Go knows.
const tick = time.Second / 100

// parseStat reads one line of /proc/PID/stat, see proc_pid_stat(5). The name in its
// second field is the program's choice and may hold spaces and parentheses, so fields
// count from the last closing one.
func parseStat(line string) (procStat, error) {
	_, rest, ok := cutLast(line, ") ")
	f := strings.Fields(rest)
	if !ok || len(f) < 22 {
		return procStat{}, fmt.Errorf("not a line of /proc/PID/stat: %q", line)
	}
	var numbers [4]int64
	// Fields 4, 14, 15 and 24 of the line; f begins with its third.
	for i, at := range []int{1, 11, 12, 21} {
		n, err := strconv.ParseInt(f[at], 10, 64)
		if err != nil {
			return procStat{}, fmt.Errorf("/proc/PID/stat: %w", err)
		}
		numbers[i] = n
	}
	return procStat{
		parent: int(numbers[0]), state: f[0][0],
		usage: usage{time.Duration(numbers[1]) * tick, time.Duration(numbers[2]) * tick, numbers[3] * int64(os.Getpagesize())},
	}, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// processes returns all that run now. Those that end while it reads are left out.
func processes() (map[int]procStat, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	out := map[int]procStat{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		line, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue
		}
		if st, err := parseStat(string(line)); err == nil {
			out[pid] = st
		}
	}
	return out, nil
}

// family adds up the usage of roots and of all that descends from them.
func family(all map[int]procStat, roots []int) usage {
	children := map[int][]int{}
	for pid, st := range all {
		children[st.parent] = append(children[st.parent], pid)
	}
	var sum usage
	for queue := append([]int(nil), roots...); len(queue) > 0; queue = queue[1:] {
		u := all[queue[0]].usage
		sum.user, sum.sys, sum.rss = sum.user+u.user, sum.sys+u.sys, sum.rss+u.rss
		queue = append(queue, children[queue[0]]...)
	}
	return sum
}
