package plugin_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

const (
	pastedUID = "1c2d3e4f-5a6b-7c8d-9e0f-a1b2c3d4e5f6"
	pastedID  = "77aa88bb99cc00dd11ee22ff33aa44bb55cc66dd77ee88ff99aa00bb11cc22dd"
)

// TestQuery_Pasted pastes what logs, nodes and kubectl print.
func TestQuery_Pasted(t *testing.T) {
	first, second := pod("paste/orders-6c8d-bcdfg", "10.6.0.7", "fd06::7"), pod("paste/orders-6c8d-hjklm", "10.6.0.8")
	first.UID, second.UID = pastedUID, "2d3e4f5a-6b7c-8d9e-0fa1-b2c3d4e5f6a7"
	first.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", ContainerID: "containerd://" + pastedID}}
	create(t, first, second)
	const one, two = "paste/orders-6c8d-bcdfg\n", "paste/orders-6c8d-hjklm\n"
	underscored := strings.ReplaceAll(pastedUID, "-", "_")
	tests := []struct {
		name string
		args []string
		want result
	}{
		{"an OOM line", []string{"oom-kill:constraint=CONSTRAINT_MEMCG,cpuset=cri-containerd-" + pastedID + ".scope,task_memcg=/kubepods.slice/kubepods-pod" + underscored +
			".slice/cri-containerd-" + pastedID + ".scope,task=java"}, result{Stdout: one}},
		{"a line of klog", []string{`"Killing container" pod="paste/orders-6c8d-bcdfg" podUID="` + pastedUID + `" containerID={"Type":"containerd","ID":"` + pastedID + `"}`},
			result{Stdout: one}},
		{"a path of a log", []string{"/var/log/pods/paste_orders-6c8d-bcdfg_" + pastedUID + "/main/0.log"}, result{Stdout: one}},
		{"a refused connection", []string{"dial tcp 10.6.0.7:8080: connect: connection refused"}, result{Stdout: one}},
		{"a connection of two Pods", []string{"read tcp 10.6.0.7:55000->10.6.0.8:80: read: connection reset by peer"}, result{Stdout: one,
			Stderr: "note: \"read tcp 10.6.0.7:55000->10.6.0.8:80: read: connection reset by peer\" was read as an IP of 1 Pod; it is also an IP of 1 Pod: 10.6.0.8\n"}},
		{"a record of DNS", []string{"10-6-0-8.paste.pod.cluster.local"}, result{Stdout: two}},
		{"a list", []string{"10.6.0.7,10.6.0.8"}, result{Stdout: one + two}},
		{"a list of IPs of one Pod", []string{"10.6.0.7,fd06::7"}, result{Stdout: one}},
		{"a list of which one is found", []string{"10.6.0.7 10.6.0.99"}, result{Code: 1, Stdout: one,
			Stderr: "error: no Pod matches \"10.6.0.99\": looked for it as ip, hostip, node, name in all namespaces; 10.6.0.99 is perhaps of this cluster, " +
				"whose ranges are not known; services, nodes and servicecidrs were not looked at, because you may not list them\n"}},
		{"a part of a name", []string{"6C8D-BC"}, result{Stdout: one, Stderr: "note: \"6C8D-BC\" was read as a part of the name of 1 Pod\n"}},
		{"the beginning of a name", []string{"orders-*"}, result{Stdout: one + two, Stderr: "note: \"orders-*\" was read as a part of the name of 2 Pods\n"}},
		{"the beginning of a name, by its kind", []string{"--by=name", "orders-6c8d-b*"},
			result{Stdout: one, Stderr: "note: \"orders-6c8d-b*\" was read as a part of the name of 1 Pod\n"}},
		{"the beginning of a name in a namespace", []string{"paste/orders-6c8d-h"},
			result{Stdout: two, Stderr: "note: \"paste/orders-6c8d-h\" was read as a part of the namespace and name of 1 Pod\n"}},
		{"the beginning of a UID", []string{pastedUID[:8]}, result{Stdout: one, Stderr: "note: \"1c2d3e4f\" was read as the beginning of the UID of 1 Pod\n"}},
		{"the beginning of a container ID", []string{pastedID[:8]}, result{Stdout: one, Stderr: "note: \"77aa88bb\" was read as the beginning of a container ID of 1 Pod\n"}},
		{"a range", []string{"10.6.0.0/24"}, result{Stdout: one + two, Stderr: "note: \"10.6.0.0/24\" was read as a range with an IP of 2 Pods\n"}},
		{"a near miss", []string{"pod/orders-6c8d-bcfdg"}, result{Code: 1,
			Stderr: "error: no Pod matches \"pod/orders-6c8d-bcfdg\": looked for it as name, key in all namespaces; did you mean paste/orders-6c8d-bcdfg?\n"}},
		{"the UID in a line, by its kind", []string{"--by=uid", `pod="paste/orders-6c8d-hjklm" podUID="` + pastedUID + `"`}, result{Stdout: one}},
		{"a sentence", []string{"the quick brown fox"}, result{Code: 2, Stderr: "error: \"the quick brown fox\" contains no fact of a Pod: looked for IPs, UIDs, container IDs, " +
			"NAMESPACE/NAME, TYPE/NAME, DNS names, cgroups, paths on a node, and names of Pods\n"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, run(t, env.Kubeconfig, "", append(test.args, keys...)...)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
