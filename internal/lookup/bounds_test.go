package lookup_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// large are Pods with owners and containers that a Testcr has just room for, in
// bytes that JSON makes six times as long.
func large(n, owner, containers int) []*corev1.Pod {
	pods := make([]*corev1.Pod, n)
	for i := range pods {
		pods[i] = pod("shop", fmt.Sprintf("large-%03d", i), i+1, fmt.Sprintf("10.0.1.%d", i), "node-1", func(p *corev1.Pod) {
			p.Labels = map[string]string{"app": "large"}
			for i := range containers {
				p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: fmt.Sprint("c", i), Image: strings.Repeat("\x01", 2<<10)})
			}
			p.OwnerReferences = ownedBy("Job", strings.Repeat("\x02", owner))
		})
	}
	return pods
}

func TestPods_BeyondAMebibyteLackLabelsAndContainers(t *testing.T) {
	_, h := serve(t, append(large(10, 0, 9), pod("shop", "zz-small", 99, "10.0.2.1", "node-1", func(p *corev1.Pod) {
		p.Labels = map[string]string{"app": "small"}
	}))...)
	whole := 0
	_, got := ask(t, h, "/v1/pods")
	for _, item := range got.Items {
		if len(item.Containers) > 0 && len(item.Labels) == 1 && item.Omitted == nil {
			whole++
		} else if item.Containers != nil || item.Labels != nil || strings.Join(item.Omitted, " ") != "labels containers" {
			t.Errorf("%s has %d containers, omitted %v", item.PodKey, len(item.Containers), item.Omitted)
		}
	}
	if last := got.Items[len(got.Items)-1]; whole != 10 || len(got.Items) != 11 || last.Omitted != nil {
		t.Errorf("%d of %d Pods are whole, the last lacks %v", whole, len(got.Items), last.Omitted)
	}
	if w := get(t, h, "/v1/pods", ""); w.Body.Len() > 1<<20+10<<10 {
		t.Errorf("%d bytes", w.Body.Len())
	}
	_, got = ask(t, h, "/v1/search")
	for _, item := range got.Items {
		if item.Labels != nil || item.Containers != nil || item.Omitted != nil {
			t.Errorf("a row of the search: %+v", item)
		}
	}
	if _, got := ask(t, h, "/v1/search?by=key&q=shop/large-009"); len(got.Items) != 1 || len(got.Items[0].Containers) == 0 {
		t.Errorf("the search for one Pod: %+v", got.Items)
	}
	if _, got := ask(t, h, "/v1/pods/shop/large-009"); len(got.Pod.Containers) == 0 || got.Pod.Omitted != nil {
		t.Errorf("one Pod: %d containers, omitted %v", len(got.Pod.Containers), got.Pod.Omitted)
	}
}

// Each order pages through Pods whose values fit into no query.
func TestSearch_PagesEndBeforeFourMebibytes(t *testing.T) {
	const pods = 200
	_, h := serve(t, large(pods, 2<<10, 0)...)
	for _, order := range []string{"", "&sort=workload", "&sort=ip", "&sort=node&desc=true"} {
		seen, pages, next := map[string]bool{}, 0, ""
		for {
			path := "/v1/search?limit=500" + order + next
			w := get(t, h, path, "")
			code, got := ask(t, h, path)
			if code != http.StatusOK || w.Body.Len() > 4<<20+10<<10 || len(got.Items) == 0 || got.Total != pods {
				t.Fatalf("%s: %d, %d bytes, %d of %d Pods: %s", order, code, w.Body.Len(), len(got.Items), got.Total, got.Error)
			}
			pages++
			for _, item := range got.Items {
				if seen[item.PodKey] {
					t.Errorf("%s: %s is there twice", order, item.PodKey)
				}
				seen[item.PodKey] = true
			}
			if got.Continue == "" {
				break
			}
			if next = "&continue=" + got.Continue; len(next) > 3<<10 {
				t.Errorf("the token has %d bytes", len(next))
			}
		}
		if len(seen) != pods || pages < 2 {
			t.Errorf("%s: %d Pods on %d pages", order, len(seen), pages)
		}
		if w := get(t, h, "/v1/search?limit=500"+order, "text/plain"); w.Body.Len() > 4<<20 {
			t.Errorf("%s: %d bytes of text", order, w.Body.Len())
		}
	}
}
