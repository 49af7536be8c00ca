package routes

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

// Path vhosts that a change takes out of service are named in the log, once, whoever made the change.
func TestPathVhostsThatConflictAreLoggedOncePerChange(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	f, err := NewFollower(FollowerOptions{
		Source: &script{}, Apply: func(*Table, []Replaced) {},
		Logger: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		t.Fatal(err)
	}
	host, a, b := vhostChange("www.shop.test", "shop"), vhostChange("www.shop.test/a", "shop"), vhostChange("www.shop.test/b", "shop")
	for _, step := range []struct {
		name  string
		batch Batch
		says  []string
	}{
		{"all is well", Batch{Full: true, Changes: []Change{host, a, b}}, nil},
		{"the host is gone", Batch{Changes: []Change{gone(KindVhost, "www.shop.test")}}, []string{"host=www.shop.test", "[www.shop.test/a www.shop.test/b]", "there is no vhost"}},
		{"something else", Batch{Changes: []Change{vhostChange("blog.test", "")}}, nil},
		{"it is there", Batch{Changes: []Change{host}}, nil},
		{"it is another's", Batch{Changes: []Change{vhostChange("www.shop.test", "other")}}, []string{"number=2", "is tenant other's"}},
		{"a path comes", Batch{Changes: []Change{vhostChange("www.shop.test/c", "shop")}}, []string{"[www.shop.test/c]"}},
		{"a path goes", Batch{Changes: []Change{gone(KindVhost, "www.shop.test/c")}}, nil},
	} {
		out.Reset()
		f.take(step.batch)
		if got := out.String(); strings.Count(got, "path vhosts answer for no request") != min(len(step.says), 1) {
			t.Errorf("%s: logged %q", step.name, got)
		}
		for _, want := range step.says {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: %q is missing in %q", step.name, want, out.String())
			}
		}
	}
}
