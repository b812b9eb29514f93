package podinfolookup

import (
	"fmt"
	"strings"
	"testing"
	"unsafe"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

func address(s string) *byte { return unsafe.StringData(s) } //nolint:gosec // G103: only compared

// TestWhatHasGoneIsForgotten is about a cluster of few Pods in which Jobs come and
// go, each with a name and labels of its own.
func TestWhatHasGoneIsForgotten(t *testing.T) {
	k := &keeper{both: true}
	keep := keepPod(k)
	kept := func(name, job string) *podState {
		pod := web(1)
		pod.Name, pod.UID = name, types.UID(name)
		pod.Labels = map[string]string{"job-name": job, "app": "batch"}
		state, err := keep(pod)
		if err != nil {
			t.Fatal(err)
		}
		return state.(*podState)
	}
	stays := kept("stays", "stays")
	const pods = 20 * minRecentEntries
	for i := range pods {
		name := fmt.Sprint("job-", i)
		k.forget(kept(name, name).spec.PodKey)
		if i%100 == 0 {
			again := kept(fmt.Sprint("again-", i), "stays") // another Pod of the same Job
			k.forget(again.spec.PodKey)
			if address(again.spec.Labels["job-name"]) != address(stays.spec.Labels["job-name"]) {
				t.Fatalf("what is in use is forgotten after %d others", i)
			}
		}
	}
	if n := len(k.specs); n != 1 {
		t.Errorf("%d Pods are remembered, want the one that is there", n)
	}
	if n := len(k.labels.young) + len(k.labels.old); n > 2*minRecentEntries {
		t.Errorf("%d sets of labels are remembered after %d Pods", n, pods)
	}
	if n := len(k.strings.strings.young) + len(k.strings.strings.old); n > 2*minRecentEntries {
		t.Errorf("%d strings are remembered after %d Pods", n, pods)
	}
}

// TestThereIsRoomForWhatManyPodsShare is about a first list of many Pods whose
// workloads are told of in turns.
func TestThereIsRoomForWhatManyPodsShare(t *testing.T) {
	const pods, workloads = 20 * minRecentEntries, 4 * minRecentEntries
	k := &keeper{both: true}
	keep := keepPod(k)
	first := map[int]*byte{}
	for i := range pods {
		pod := web(i)
		pod.Labels = map[string]string{"app": fmt.Sprint("app-", i%workloads)}
		state, err := keep(pod)
		if err != nil {
			t.Fatal(err)
		}
		app := address(state.(*podState).spec.Labels["app"])
		if i >= pods-workloads && first[i%workloads] != app {
			t.Fatalf("Pod %d has its own copy of %s", i, pod.Labels["app"])
		}
		first[i%workloads] = app
	}
}

// TestRecent_IsBoundedByBytes is about Pods that come and go with long strings.
func TestRecent_IsBoundedByBytes(t *testing.T) {
	k := &keeper{both: true}
	keep := keepPod(k)
	for i := range 5000 {
		pod := web(1)
		pod.Spec.NodeName = fmt.Sprint(i, strings.Repeat("n", 2000))
		pod.Spec.Containers = []corev1.Container{{Name: "main", Image: fmt.Sprint(i, strings.Repeat("i", 20_000))}}
		pod.Labels = map[string]string{}
		for j := range 30 {
			pod.Labels[fmt.Sprint(strings.Repeat("k", 40), i, j)] = strings.Repeat("v", 60)
		}
		state, err := keep(pod)
		if err != nil {
			t.Fatal(err)
		}
		k.forget(state.(*podState).spec.PodKey)
	}
	size := 0
	for _, m := range []map[string]string{k.strings.strings.young, k.strings.strings.old} {
		for s := range m {
			size += len(s)
		}
	}
	for _, m := range []map[string]map[string]string{k.labels.young, k.labels.old} {
		for s := range m {
			size += len(s)
		}
	}
	if most := 4 * minRecentEntries * meanEntryBytes; size > most {
		t.Errorf("%d bytes of strings are remembered without a Pod, want at most %d", size, most)
	}
}
