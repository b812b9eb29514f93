package plugin_test

import (
	"fmt"
	"strings"
	"testing"
)

// TestSelector_LostLabels has a Pod whose labels do not fit into its Testcr.
func TestSelector_LostLabels(t *testing.T) {
	small, big := pod("lost/small", "10.61.0.1"), pod("lost/big-pod", "10.61.0.2")
	small.Labels = map[string]string{"zone": "lost"}
	big.Labels = map[string]string{"zone": "lost"}
	for i := range 1000 {
		big.Labels[fmt.Sprintf("label-%04d", i)] = strings.Repeat("v", 63)
	}
	create(t, small, big)
	reader := env.User(t, "plugin-labels").Write(t)
	grant(t, "plugin-labels", "", "pods", []string{"list", "watch"})
	may(t, reader, "nobody")
	const (
		lost = "note: lost/big-pod is too large for all of its labels to be kept: it, and others like it, may be missing in the answer, or be there wrongly: " +
			"kubectl get pods -l compares all labels\n"
		fromPods = "note: you may not list Testcrs: reading the Pods\n"
		s, b     = "lost/small\n", "lost/big-pod\n"
	)
	tests := []invocation{
		{name: "-l", args: []string{"-l", "zone=lost"}, out: s, err: lost},
		{name: "-l that must not be", args: []string{"-l", "!zone", "-n", "lost"}, out: b, err: lost},
		{name: "-l before the cut", args: []string{"-l", "label-0001", "-n", "lost"}, out: b},
		{name: "-l with a query", args: []string{"10.61.0.1", "-l", "zone=lost"}, out: s},
		{name: "--by label", args: []string{"--by=label", "zone=lost"}, out: s, err: lost},
		{name: "in another namespace", args: []string{"-l", "zone=lost", "-n", "elsewhere"}, code: 1, errHas: "error: no Pod has the labels"},
		{name: "-l on Pods, which have all labels", args: []string{"-l", "zone=lost"}, user: reader, out: b + s, err: fromPods},
		{name: "-l and a name on Pods", args: []string{"big-pod", "-l", "zone=lost"}, user: reader, out: b, errHas: fromPods},
		{name: "--by label on Pods", args: []string{"--by=label", "zone=lost"}, user: reader, out: s, err: fromPods + lost},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			user := test.user
			if user == "" {
				user = env.AdminKubeconfig
			}
			test.check(t, run(t, user, "", append(test.args, keys...)...))
		})
	}
	big.Labels["label-0000"] = "changed"
	r := start(t, reader, append([]string{"-l", "zone=lost", "-n", "lost"}, events...)...)
	r.shows(t, "ADDED lost big-pod Running", "ADDED lost small Running")
	putPod(t, big)
	r.shows(t, "ADDED lost big-pod Running", "ADDED lost small Running", "MODIFIED lost big-pod Running")
	if code := r.end(); code != 0 {
		t.Errorf("code %d", code)
	}
}
