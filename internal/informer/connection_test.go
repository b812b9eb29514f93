package informer

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDetectDeadConnections(t *testing.T) {
	tests := []struct {
		name                   string
		pingAfter, pingTimeout string
		want                   time.Duration
	}{
		{name: "nothing is set", want: 15 * time.Second},
		{name: "the ping is set", pingAfter: "20", want: 25 * time.Second},
		{name: "the timeout is set", pingTimeout: "1", want: 11 * time.Second},
		{name: "both are set", pingAfter: "30", pingTimeout: "15", want: 45 * time.Second},
		{name: "a timeout of 0 is the default", pingAfter: "10", pingTimeout: "0", want: 25 * time.Second},
		{name: "a ping of 0 is none", pingAfter: "0", pingTimeout: "1", want: 365 * 24 * time.Hour},
		{name: "client-go uses its defaults for malformed values", pingAfter: "x", pingTimeout: "y", want: 45 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv(pingAfterEnv, test.pingAfter)
			t.Setenv(pingTimeoutEnv, test.pingTimeout)
			DetectDeadConnections()
			if diff := cmp.Diff(test.want, silentFor()); diff != "" {
				t.Errorf("silence (-want +got):\n%s", diff)
			}
		})
	}
}
