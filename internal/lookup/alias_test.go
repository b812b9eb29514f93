package lookup_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// The pages of an IP go from the Pods whose status has it to those with an annotation.
func TestPods_PagesOfAliases(t *testing.T) {
	forge := func(p *corev1.Pod) {
		p.Annotations = map[string]string{"k8s.v1.cni.cncf.io/network-status": `[{"ips":["10.0.0.7"]}]`}
	}
	_, h := serve(t, pod("shop", "a-forged", 1, "10.0.0.1", "n", forge), pod("shop", "b-forged", 2, "10.0.0.2", "n", forge),
		pod("shop", "c-real", 3, "10.0.0.7", "n", nil), pod("shop", "d-real", 4, "10.0.0.7", "n", nil))
	var got []string
	for next := ""; len(got) < 9; {
		_, page := ask(t, h, "/v1/pods?ip=10.0.0.7&limit=1"+next)
		for i := range page.Items {
			got = append(got, page.Items[i].PodName)
		}
		if page.Continue == "" {
			break
		}
		next = "&continue=" + page.Continue
	}
	reals, forged := strings.Join(got[:min(2, len(got))], " "), strings.Join(got[min(2, len(got)):], " ")
	if len(got) != 4 || !strings.Contains(reals, "c-real") || !strings.Contains(reals, "d-real") || strings.Contains(forged, "real") {
		t.Errorf("order %v", got)
	}
}
