package informer

import (
	"os"
	"strconv"
	"time"
)

// The environment variables of k8s.io/apimachinery/pkg/util/net: client-go pings a
// connection after the first time without a byte, and closes it if the answer takes
// the second time. The defaults are 30 s and 15 s.
const (
	pingAfterEnv   = "HTTP2_READ_IDLE_TIMEOUT_SECONDS"
	pingTimeoutEnv = "HTTP2_PING_TIMEOUT_SECONDS"
)

// DetectDeadConnections makes client-go close a dead connection after 15 s instead of
// 45 s, unless the environment sets these times. It must be called before a client
// is made.
func DetectDeadConnections() {
	for name, seconds := range map[string]string{pingAfterEnv: "10", pingTimeoutEnv: "5"} {
		if os.Getenv(name) == "" {
			_ = os.Setenv(name, seconds) // only a malformed name is an error
		}
	}
}

// silentFor returns how long a connection can be dead before client-go closes it.
func silentFor() time.Duration {
	pingAfter, err := strconv.Atoi(os.Getenv(pingAfterEnv))
	if err != nil {
		pingAfter = 30
	}
	pingTimeout, err := strconv.Atoi(os.Getenv(pingTimeoutEnv))
	if err != nil || pingTimeout <= 0 { // golang.org/x/net/http2 reads 0 as its default
		pingTimeout = 15
	}
	if pingAfter <= 0 {
		return 365 * 24 * time.Hour // no pings
	}
	return time.Duration(pingAfter+pingTimeout) * time.Second
}
