package cli_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// scrapes waits until /metrics has each of the lines.
func scrapes(t *testing.T, p *testenv.Program, lines ...string) (text string) {
	t.Helper()
	testenv.Eventually(t, func(ctx context.Context) error {
		code, body, err := p.Get(ctx, t, "/metrics")
		if err != nil || code != http.StatusOK {
			return fmt.Errorf("/metrics: %d, %w", code, err)
		}
		for _, line := range lines {
			if !strings.Contains(body, line+"\n") {
				return fmt.Errorf("no line %s", line)
			}
		}
		text = body
		return nil
	})
	return text
}

func TestMetricsTellWhatWasWrittenAndWhy(t *testing.T) {
	t.Parallel()
	namespace := env.Namespace(t, "")
	createPod(t, namespace, "earlier")
	p := start(t, namespace)
	testcrs := env.Dynamic.Resource(v1.GroupVersionResource)
	name := v1.NameFor(types.NamespacedName(cache.NewObjectName(namespace, "nginx")))

	createPod(t, namespace, "nginx")
	hasTestcr(t, namespace, "nginx", true)
	startPod(t, namespace, "nginx", "10.0.0.1")
	scrapes(t, p, `podinfolookup_writes_total{reason="caught_up",verb="add"} 1`, `podinfolookup_writes_total{reason="pod_changed",verb="add"} 1`,
		`podinfolookup_writes_total{reason="pod_changed",verb="update"} 1`, `podinfolookup_drift_repaired_total{kind="testcr_edited"} 0`,
		`podinfolookup_write_lag_seconds_count 2`)

	edit := []byte(`{"spec":{"podip":"10.9.9.9"}}`)
	if _, err := testcrs.Patch(t.Context(), name, types.MergePatchType, edit, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	scrapes(t, p, `podinfolookup_drift_repaired_total{kind="testcr_edited"} 1`)
	if err := testcrs.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	scrapes(t, p, `podinfolookup_drift_repaired_total{kind="testcr_deleted"} 1`)
	forged, err := testcrs.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	forged.SetResourceVersion("")
	forged.SetName(v1.NameFor(types.NamespacedName(cache.NewObjectName(namespace, "forged"))))
	forged.Object["spec"].(map[string]any)["podkey"] = namespace + "/forged"
	if _, err := testcrs.Create(t.Context(), forged, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	text := scrapes(t, p, `podinfolookup_drift_repaired_total{kind="orphaned"} 1`, `podinfolookup_write_lag_seconds_count 2`)

	// What the document names of the libraries is there, too.
	document, err := os.ReadFile(filepath.Join(testenv.Root(), "docs", "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`((?:workqueue|rest_client)_[a-z_]+)`").FindAllStringSubmatch(string(document), -1)
	if len(named) < 9 {
		t.Errorf("the document names %d metrics of libraries", len(named))
	}
	for _, match := range named {
		if !strings.Contains(text, "\n# TYPE "+match[1]+" ") {
			t.Errorf("%s is documented and not there", match[1])
		}
	}
}

func TestProbesListTheirChecks(t *testing.T) {
	t.Parallel()
	p := start(t, env.Namespace(t, ""), "--leader-elect", "--leader-elect-resource-namespace=podinfolookup", "--leader-elect-resource-name=podinfolookup")
	for path, want := range map[string]string{
		"/livez?verbose":  "[+]workers ok\n[+]leader-election ok\nlivez check passed\n",
		"/readyz?verbose": "[+]crd ok\n[+]caches ok\n[+]lookup ok\n[+]writes ok\nreadyz check passed\n",
	} {
		if code, body, err := p.Get(t.Context(), t, path); code != http.StatusOK || body != want || err != nil {
			t.Errorf("%s: %d %q %v, want %q", path, code, body, err, want)
		}
	}
	scrapes(t, p, `leader_election_master_status{name="podinfolookup"} 1`)
}
