package plugin

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

func TestSorter(t *testing.T) {
	restarted := func(n int32) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "app", RestartCount: n}}
		}
	}
	labeled := func(p *corev1.Pod) { p.Labels = map[string]string{"app": "x"} }
	rows := func() []row {
		return rowsOf(testcr("a", []string{"10.0.0.10"}, restarted(9)), testcr("b", []string{"10.0.0.9"}, restarted(10), labeled), testcr("c", nil, restarted(9)))
	}
	tests := []struct{ name, by, want, error string }{
		{name: "a column of numbers", by: "restarts", want: "a c b"},
		{name: "a column of IPs, of which one is missing", by: "ip", want: "c b a"},
		{name: "a column in capitals", by: "IP", want: "c b a"},
		{name: "the same of all keeps the order", by: "status", want: "a b c"},
		{name: "a column that no Pod has", by: "workload", want: "a b c"},
		{name: "a path", by: ".spec.podip", want: "c b a"},
		{name: "a path in braces", by: "{.spec.podip}", want: "c b a"},
		{name: "a path without its dot", by: "spec.restarts", want: "a c b"},
		{name: "a path of a Pod", by: ".status.containerStatuses[0].restartCount", want: "a c b"},
		{name: "the name is that of the Pod", by: ".metadata.name", want: "a b c"},
		{name: "a path of one", by: ".spec.labels.app", want: "a c b"},
		{name: "objects", by: ".spec.labels", want: "a c b"},
		{name: "a field that none has yet", by: ".spec.startedat", want: "a b c"},
		{name: "an item that one has", by: ".spec.containers[1].name", want: "a b c"},
		{name: "a step into a text", by: ".spec.podname[0]", error: "string is not array or slice"},
		{name: "a path of none", by: ".spec.x", error: "no Pod in the answer has such a field"},
		{name: "no column", by: "rest", error: "there is no such column: there are namespace, name, status, ready, restarts, ip, node, workload, age, host-ip, service-account, uid, or "},
		{name: "a column with a typing error", by: "nmae", error: "did you mean name?"},
		{name: "no path", by: "{.spec", error: "--sort-by={.spec: "},
		{name: "a dot", by: ".", error: "there is no such column"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			all := rows()
			s, err := newSorter(test.by)
			if err == nil {
				err = s.sort(all)
			}
			if test.error != "" {
				if err == nil || !strings.Contains(err.Error(), test.error) {
					t.Errorf("error %v, want %q in it", err, test.error)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range all {
				got = append(got, r.testcr.Spec.PodName)
			}
			if diff := cmp.Diff(test.want, strings.Join(got, " ")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestLabelsOf(t *testing.T) {
	long := strings.Repeat("x", 300)
	tests := []struct {
		name   string
		labels map[string]string
		want   string
	}{
		{name: "none"},
		{name: "sorted", labels: map[string]string{"b": "2", "a": "1"}, want: "a=1,b=2"},
		{name: "too long", labels: map[string]string{"a": long, "b": long, "c": "3"}, want: "a=" + long + ",+2 more"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, labelsOf(test.labels)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
