package main

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// mostParents bounds how far up sshCallers looks: shell, sudo, another shell, sshd are four.
const mostParents = 16

// sshCallers are the addresses that an SSH session comes from: as the environment has them, or else that of a process above this
// one, since sudo hands the variables on to nobody. proc is where the processes are (/proc); what may not be read there tells nothing.
func sshCallers(environ []string, proc string) []netip.Addr {
	pid := os.Getppid()
	for range mostParents {
		if out := callersIn(environ); len(out) > 0 || pid <= 1 {
			return out
		}
		text, err := os.ReadFile(fmt.Sprintf("%s/%d/environ", proc, pid))
		if err != nil {
			return nil
		}
		environ, pid = strings.Split(string(text), "\x00"), parentOf(proc, pid)
	}
	return nil
}

func callersIn(environ []string) (out []netip.Addr) {
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		if name != "SSH_CONNECTION" && name != "SSH_CLIENT" {
			continue
		}
		first, _, _ := strings.Cut(value, " ")
		if a, err := netip.ParseAddr(first); err == nil && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}

// parentOf reads /proc/PID/stat (proc_pid_stat(5)): the name of the program, in parentheses, may hold anything. 0: not known.
func parentOf(proc string, pid int) int {
	stat, err := os.ReadFile(fmt.Sprintf("%s/%d/stat", proc, pid))
	if err != nil {
		return 0
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 2 {
		return 0
	}
	parent, err := strconv.Atoi(string(fields[1]))
	if err != nil {
		return 0
	}
	return parent
}
