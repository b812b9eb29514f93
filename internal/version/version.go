// Package version says which build this is.
package version

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// The linker sets these for what the Makefile builds. They are of the source,
// never of the build, so that the same source gives the same bytes.
var version, commit, date string

// shortCommit is how many digits of a commit are shown, as by git.
const shortCommit = 7

// Info is what is known of the source of a build; what is not known is "",
// except Version, which is "devel" then.
type Info struct {
	Version string // v0.1.0
	Commit  string // in full, with "-dirty" behind it if there were changes
	Date    string // of the commit, RFC 3339 in UTC
}

// Get returns what the linker was told, else what the go command has recorded:
// of `go install` the version of the module, of `go build` in a checkout the
// commit as well, and of `go run main.go` nothing.
func Get() Info {
	info, _ := debug.ReadBuildInfo()
	return get(Info{version, commit, date}, info)
}

func get(linked Info, build *debug.BuildInfo) Info {
	if linked.Version != "" {
		return linked
	}
	found := Info{Version: "devel"}
	if build == nil {
		return found
	}
	if v := strings.Trim(build.Main.Version, "()"); v != "" {
		found.Version = v
	}
	dirty := ""
	for _, s := range build.Settings {
		switch {
		case s.Key == "vcs.revision":
			found.Commit = s.Value
		case s.Key == "vcs.time":
			found.Date = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "-dirty"
		}
	}
	if found.Commit != "" {
		found.Commit += dirty
	}
	return found
}

// Version returns the version alone, as for a user agent.
func Version() string { return Get().Version }

// String returns all in one line:
//
//	v0.1.0 (commit abc1234, 2026-11-25T09:41:00Z, go1.26.8 linux/amd64)
func String() string { return Get().String() }

func (i Info) String() string {
	var parts []string
	if i.Commit != "" {
		digits, dirty, _ := strings.Cut(i.Commit, "-")
		short := digits[:min(shortCommit, len(digits))]
		if dirty != "" {
			short += "-" + dirty
		}
		parts = append(parts, "commit "+short)
	}
	if i.Date != "" {
		parts = append(parts, i.Date)
	}
	parts = append(parts, fmt.Sprintf("%s %s/%s", runtime.Version(), runtime.GOOS, runtime.GOARCH))
	return fmt.Sprintf("%s (%s)", i.Version, strings.Join(parts, ", "))
}
