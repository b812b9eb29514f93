package plugin_test

import (
	"cmp"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestVersion reads the versions of controllers.
func TestVersion(t *testing.T) {
	const none = "note: no controller is alive: the heartbeats that you may read have run out\n"
	nobody := env.User(t, "plugin-no-leases").Write(t)
	tests := []struct {
		name     string
		renewed  time.Duration // before now
		versions []string      // of each controller
		user     string
		out, err string
	}{
		{name: "of the controller", versions: []string{"v0.3.0 (go1.26)"}, out: "Controller Version: v0.3.0 (go1.26)\n"},
		{name: "in an upgrade", versions: []string{"v0.4.0", "v0.3.0", ""},
			out: "Controller Version: v0.3.0\nController Version: v0.4.0\nController Version: unknown, its heartbeat has none\n"},
		{name: "of a controller that has stopped", versions: []string{"v0.3.0"}, renewed: time.Hour, err: none},
		{name: "without the right", versions: []string{"v0.3.0"}, user: nobody,
			err: "note: there is no heartbeat of a controller that you may read, and so no version of one\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for i, version := range test.versions {
				name := fmt.Sprintf("version-%d", i)
				lease(t, name, time.Now().Add(-test.renewed))
				if version != "" {
					annotateLease(t, name, "version", version)
				}
			}
			got := run(t, cmp.Or(test.user, env.AdminKubeconfig), "", "version")
			client, rest, _ := strings.Cut(got.Stdout, "\n")
			if !strings.HasPrefix(client, "Client Version: ") || rest != test.out || got.Stderr != test.err || got.Code != 0 {
				t.Errorf("code %d, standard output %q, standard error %q", got.Code, got.Stdout, got.Stderr)
			}
		})
	}
}
