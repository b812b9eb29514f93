package version

import (
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const full = "0123456789abcdef0123456789abcdef01234567"

func TestGet(t *testing.T) {
	checkout := &debug.BuildInfo{Main: debug.Module{Version: "v0.1.1-0.20261125094100-0123456789ab"}, Settings: []debug.BuildSetting{
		{Key: "vcs", Value: "git"}, {Key: "vcs.revision", Value: full}, {Key: "vcs.time", Value: "2026-11-25T09:41:00Z"}, {Key: "vcs.modified", Value: "false"},
	}}
	changed := &debug.BuildInfo{Main: debug.Module{Version: "(devel)"}, Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: full}, {Key: "vcs.time", Value: "2026-11-25T09:41:00Z"}, {Key: "vcs.modified", Value: "true"},
	}}
	tests := []struct {
		name   string
		linked Info
		build  *debug.BuildInfo
		want   Info
		line   string
	}{
		{"a release says what the linker was told, whatever the go command saw", Info{"v0.1.0", full, "2026-11-24T00:00:00Z"}, changed,
			Info{"v0.1.0", full, "2026-11-24T00:00:00Z"}, "v0.1.0 (commit 0123456, 2026-11-24T00:00:00Z, "},
		{"go install knows the version of the module alone", Info{}, &debug.BuildInfo{Main: debug.Module{Version: "v0.1.0"}},
			Info{Version: "v0.1.0"}, "v0.1.0 ("},
		{"go build in a checkout knows the commit", Info{}, checkout,
			Info{"v0.1.1-0.20261125094100-0123456789ab", full, "2026-11-25T09:41:00Z"}, "v0.1.1-0.20261125094100-0123456789ab (commit 0123456, 2026-11-25T09:41:00Z, "},
		{"changes that are not committed are told", Info{}, changed,
			Info{"devel", full + "-dirty", "2026-11-25T09:41:00Z"}, "devel (commit 0123456-dirty, 2026-11-25T09:41:00Z, "},
		{"go run knows nothing", Info{}, &debug.BuildInfo{}, Info{Version: "devel"}, "devel ("},
		{"there may be no build information", Info{}, nil, Info{Version: "devel"}, "devel ("},
		{"a commit may be short already", Info{"v0.1.0", "abc", ""}, nil, Info{"v0.1.0", "abc", ""}, "v0.1.0 (commit abc, "},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := get(test.linked, test.build)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			want := test.line + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH + ")"
			if diff := cmp.Diff(want, got.String()); diff != "" {
				t.Errorf("in one line (-want +got):\n%s", diff)
			}
		})
	}
}
