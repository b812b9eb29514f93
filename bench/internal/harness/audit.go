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
)

// Audit reads the API server's audit log from an offset.
type Audit struct {
	path   string
	offset int64
}

// AuditFrom returns the part of the audit log that is written after the call.
// clusterDir is the folder of the cluster.
func AuditFrom(clusterDir string) (*Audit, error) {
	path := filepath.Join(clusterDir, "logs", "audit.log")
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	return &Audit{path: path, offset: info.Size()}, nil
}

// refused is the verb under which Writes counts requests that failed.
const refused = "refused"

// Writes returns the number of writes to Testcrs, by verb, of the clients whose
// user agent begins with agent, but those with dryRun. A request that the API server
// refused also counts as "refused".
func (a *Audit) Writes(agent string) (map[string]int, error) {
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
			Verb           string `json:"verb"`
			UserAgent      string `json:"userAgent"`
			RequestURI     string `json:"requestURI"`
			ResponseStatus struct {
				Code int `json:"code"`
			} `json:"responseStatus"`
		}
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			return nil, fmt.Errorf("audit log: %w", err)
		}
		if strings.HasPrefix(event.UserAgent, agent) && !strings.Contains(event.RequestURI, "dryRun=") {
			verbs[event.Verb]++
			if event.ResponseStatus.Code >= http.StatusBadRequest {
				verbs[refused]++
			}
		}
	}
	return verbs, lines.Err()
}
