package plugin_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/history/past"
)

// newRecorder returns the address of a server with a record of the past: ux-b/uxgone-0 had
// 10.60.0.99 for an hour, until 20 minutes ago.
func newRecorder(t *testing.T) string {
	t.Helper()
	now := time.Now().UTC()
	gone := past.Item{
		Testcr: "ux-b.uxgone-0", Certain: true, From: now.Add(-80 * time.Minute), To: now.Add(-20 * time.Minute),
		TestcrSpec: v1.TestcrSpec{PodKey: "ux-b/uxgone-0", Namespace: "ux-b", PodName: "uxgone-0", PodUID: "u", PodIP: "10.60.0.99", PodIPs: []string{"10.60.0.99"}},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("a token of the kubeconfig was sent")
		}
		params := r.URL.Query()
		answer := past.Result{Until: now, Items: []past.Item{}, Records: []past.RecordResult{{Begins: now.Add(-24 * time.Hour), Ends: now}}}
		if params.Get("ip") == "10.60.0.99" || params.Get("name") == "uxgone-0" || params.Get("key") == "ux-b/uxgone-0" {
			answer.Items = append(answer.Items, gone)
		}
		w.Header().Set("Content-Type", "application/json")
		if len(answer.Items) == 0 {
			w.WriteHeader(http.StatusNotFound)
		}
		_ = json.NewEncoder(w).Encode(answer)
	}))
	t.Cleanup(server.Close)
	return "--podinfo-server=" + server.URL
}

func pastInvocations(t *testing.T) []invocation {
	t.Helper()
	server := newRecorder(t)
	const gone = "ux-b/uxgone-0\n"
	line := time.Now().UTC().Add(-time.Hour).Format(time.RFC3339)
	return []invocation{
		{name: "an IP of the past", args: []string{"10.60.0.99", "--at", "-30m", server}, isKeys: true, out: gone, errHas: "note: as of "},
		{name: "a range of the past", args: []string{"10.60.0.99", "--since=24h", server}, isKeys: true, out: gone, errHas: "note: from "},
		{name: "an end of a range", args: []string{"uxgone-0", "--since=24h", "--until", "5m ago", server}, isKeys: true, out: gone, errHas: "note: from "},
		{name: "NAMESPACE NAME of the past", args: []string{"ux-b", "uxgone-0", "--since=1h", server}, isKeys: true, out: gone,
			errHas: "note: \"ux-b uxgone-0\" was read as \"uxgone-0\" in namespace \"ux-b\"\n"},
		{name: "nobody in the past", args: []string{"10.60.0.98", "--at=-30m", server}, isKeys: true, code: 1, errHas: "error: no Pod had \"10.60.0.98\" at "},
		{name: "the present and the past", args: []string{"10.60.0.9", "--at=-30m", "-w", server}, code: 2,
			err: "error: --watch is about the present: leave out --at, --since and --until\n"},
		{name: "a time that is none", args: []string{"10.60.0.9", "--at=then", server}, code: 2, errHas: "error: --at: \"then\" is not a time: use 03:12"},
		{name: "the past of nowhere", args: []string{"10.60.0.9", "--at=-30m"}, code: 1,
			errHas: "error: no Pod of PodInfoLookup in namespace podinfolookup, which the past is asked of: choose where it runs by --podinfo-namespace"},
		{name: "who had it last", args: []string{"10.60.0.99", server}, isKeys: true, code: 1, errHas: "; ux-b/uxgone-0 had it until "},
		{name: "who had it last, how long ago", args: []string{"ux-b/uxgone-0", server}, isKeys: true, code: 1, errHas: " (20m ago): --since=1h shows each Pod that had it\n"},
		{name: "nobody had it last", args: []string{"uxwbe-0", server}, isKeys: true, code: 1, errHas: "; did you mean ux-b/uxweb-0, ledger/uxweb-1?\n"},
		{name: "annotate by the past", args: []string{"annotate", "--history", server}, in: line + " 10.60.0.99\n" + line + " 10.60.0.9\n",
			out: line + " 10.60.0.99[ux-b/uxgone-0]\n" + line + " 10.60.0.9\n", errHas: "note: a log from "},
	}
}
