package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestOneBenchAtATime(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lock")
	release, err := takeLock(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := takeLock(file); err == nil || !strings.Contains(err.Error(), "another bench is running (pid "+strconv.Itoa(os.Getpid())+")") {
		t.Errorf("a second one: %v", err)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	again, err := takeLock(file)
	if err != nil {
		t.Fatalf("after the first has ended: %v", err)
	}
	if err := again(); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	if _, err := takeLock(link); err == nil {
		t.Error("a link that somebody has laid was followed")
	}
}
