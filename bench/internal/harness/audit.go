package harness

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	podinfolookup "github.com/weiyuanke/PodInfoLookup"
)

// Audit is the API server's audit log from some point on.
type Audit struct {
	path   string
	offset int64
}

// AuditFrom returns what will be logged from now on by the cluster kept in
// clusterDir.
func AuditFrom(clusterDir string) (*Audit, error) {
	path := filepath.Join(clusterDir, "logs", "audit.log")
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	return &Audit{path: path, offset: info.Size()}, nil
}

// Writes counts, by verb, what the program wrote to the Testcrs whose names
// counts allows.
func (a *Audit) Writes(counts func(name string) bool) (map[string]int, error) {
	return a.WritesOf(podinfolookup.ManagedBy+"/", counts)
}

// refused is the verb under which WritesOf counts what was answered with an error.
const refused = "refused"

// WritesOf is Writes for the user agents with a prefix; what the API server
// refused is counted once more, as "refused".
func (a *Audit) WritesOf(agent string, counts func(name string) bool) (map[string]int, error) {
	log, err := os.Open(a.path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // only read
	info, err := log.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() < a.offset {
		return nil, errors.New("the audit log was rotated")
	}
	if _, err := log.Seek(a.offset, io.SeekStart); err != nil {
		return nil, err
	}
	verbs := map[string]int{}
	lines := bufio.NewScanner(log)
	lines.Buffer(make([]byte, 1<<16), 1<<22)
	for lines.Scan() {
		if !bytes.Contains(lines.Bytes(), []byte(agent)) {
			continue
		}
		var event struct {
			Verb      string `json:"verb"`
			UserAgent string `json:"userAgent"`
			ObjectRef struct {
				Name string `json:"name"`
			} `json:"objectRef"`
			ResponseStatus struct {
				Code int `json:"code"`
			} `json:"responseStatus"`
		}
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			return nil, fmt.Errorf("audit log: %w", err)
		}
		if strings.HasPrefix(event.UserAgent, agent) && counts(event.ObjectRef.Name) {
			verbs[event.Verb]++
			if event.ResponseStatus.Code >= http.StatusBadRequest {
				verbs[refused]++
			}
		}
	}
	return verbs, lines.Err()
}

// Any counts the writes to every Testcr.
func Any(string) bool { return true }
