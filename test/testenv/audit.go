package testenv

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

// auditPolicy logs each write of a Testcr, and whatever the service account asks
// for: a watch when it begins, as it may go on beyond the test, and when it ends.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    verbs: [create, update, patch, delete, deletecollection]
    resources: [{group: stable.example.com}]
  - level: Metadata
    users: ["` + Account + `"]
  - level: None
`

func (e *Env) auditLog() string { return filepath.Join(e.Dir, "audit.log") }

// Writes returns all finished writes of Testcrs so far by the client that calls
// itself userAgent.
func (e *Env) Writes(t testing.TB, userAgent string) []auditv1.Event {
	t.Helper()
	writes := []string{"create", "update", "patch", "delete", "deletecollection"}
	return e.requests(t, func(r *auditv1.Event) bool {
		return r.UserAgent == userAgent && r.Stage == auditv1.StageResponseComplete && slices.Contains(writes, r.Verb) &&
			r.ObjectRef != nil && r.ObjectRef.Resource == v1.GroupVersionResource.Resource
	})
}

// Requests returns what the service account has asked for so far, a watch twice.
func (e *Env) Requests(t testing.TB) []auditv1.Event {
	t.Helper()
	return e.requests(t, func(r *auditv1.Event) bool { return r.User.Username == Account })
}

func (e *Env) requests(t testing.TB, wanted func(*auditv1.Event) bool) []auditv1.Event {
	t.Helper()
	log, err := os.ReadFile(e.auditLog())
	if err != nil {
		t.Fatal(err)
	}
	var out []auditv1.Event
	for line := range bytes.Lines(log) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break // the API server is writing this line, its request has no answer yet
		}
		var r auditv1.Event
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatalf("audit log: %v", err)
		}
		if wanted(&r) {
			out = append(out, r)
		}
	}
	return out
}
