package plugin

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

const staticUID = "0123456789abcdef0123456789abcdef"

func annotatedPod(pod *corev1.Pod) {
	pod.Annotations = map[string]string{
		"kubernetes.io/config.hash":         staticUID,
		"k8s.v1.cni.cncf.io/network-status": `[{"name":"storage","ips":["10.0.0.7","192.0.2.7"]}]`,
	}
}

// An annotation counts only if the status of no Pod has the IP.
func TestNames_Aliases(t *testing.T) {
	n := newNames()
	n.update(nil, &podRecord{spec: testcr("forged", nil, annotatedPod).Spec})
	n.update(nil, &podRecord{spec: testcr("real", []string{"10.0.0.7"}).Spec})
	got := string(annotate(nil, []byte("\n10.0.0.7 192.0.2.7 "+staticUID+"\n"), 1, &n.labels))
	if want := "10.0.0.7[shop/real] 192.0.2.7[shop/forged] " + staticUID + "[shop/forged]\n"; strings.TrimPrefix(got, "\n") != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTable_NetworkIP(t *testing.T) {
	rows := rowsOf(testcr("a", []string{"10.0.0.1"}, annotatedPod))
	rows[0].term, _ = query.ParseAs(query.IP, "192.0.2.7")
	if got := printed(t, options{noHeaders: true}, shape{}, rows); !strings.Contains(got, " 192.0.2.7 ") || !strings.Contains(got, "its IP in the network storage, by an annotation") {
		t.Errorf("printed %q", got)
	}
}
