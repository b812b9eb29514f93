package oracle

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// columns are what kubectl get pods shows of a Pod.
type columns struct {
	status, ready string
	restarts      int64
}

// columnsOf follows the words of the Kubernetes documentation of Pods and what an API
// server answers, which a test in test/controller compares.
func columnsOf(pod *corev1.Pod) columns {
	out := columns{status: string(pod.Status.Phase)}
	if pod.Status.Reason != "" {
		out.status = pod.Status.Reason
	}
	conditions := map[corev1.PodConditionType]corev1.ConditionStatus{}
	for _, c := range slices.Backward(pod.Status.Conditions) { // the first of a type counts
		conditions[c.Type] = c.Status
		if c.Type == "PodScheduled" && c.Reason == "SchedulingGated" {
			out.status = "SchedulingGated"
		}
	}
	init := initColumns(pod)
	total, ready := len(pod.Spec.Containers)+init.sidecars, init.ready
	out.restarts = init.restarts
	if init.blocked != "" {
		out.status = init.blocked
	}
	if init.blocked == "" || conditions["Initialized"] == "True" {
		status, running, restarts := mainColumns(pod)
		if status != "" {
			out.status = status
		}
		ready += running
		out.restarts = init.restartsOfSidecars + restarts
		if out.status == "Completed" && running > 0 {
			out.status = map[bool]string{true: "Running", false: "NotReady"}[conditions["Ready"] == "True"]
		}
	}
	if pod.DeletionTimestamp != nil {
		if pod.Status.Reason == "NodeLost" {
			out.status = "Unknown"
		} else if pod.Status.Phase != "Succeeded" && pod.Status.Phase != "Failed" {
			out.status = "Terminating"
		}
	}
	if total > 0 {
		out.ready = fmt.Sprintf("%d/%d", ready, total)
	}
	return out
}

// initContainers is what the init containers add to the columns.
type initContainers struct {
	blocked                      string // the status of the first one that others wait for
	sidecars, ready              int
	restarts, restartsOfSidecars int64
}

func initColumns(pod *corev1.Pod) (out initContainers) {
	sidecar := map[string]bool{}
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		sidecar[c.Name] = c.RestartPolicy != nil && *c.RestartPolicy == "Always"
		if sidecar[c.Name] {
			out.sidecars++
		}
	}
	for i := range pod.Status.InitContainerStatuses {
		c := &pod.Status.InitContainerStatuses[i]
		out.restarts += int64(c.RestartCount)
		if sidecar[c.Name] {
			out.restartsOfSidecars += int64(c.RestartCount)
		}
		end := c.State.Terminated
		if end != nil && end.ExitCode == 0 {
			continue
		}
		if sidecar[c.Name] && c.Started != nil && *c.Started {
			if c.Ready {
				out.ready++
			}
			continue
		}
		if w := c.State.Waiting; end != nil {
			out.blocked = "Init:" + ending(end)
		} else if w != nil && w.Reason != "" && w.Reason != "PodInitializing" {
			out.blocked = "Init:" + w.Reason
		} else {
			out.blocked = fmt.Sprintf("Init:%d/%d", i, len(pod.Spec.InitContainers))
		}
		break
	}
	return out
}

// mainColumns returns the status of the first container that has not only run, or "".
func mainColumns(pod *corev1.Pod) (status string, running int, restarts int64) {
	for i := range pod.Status.ContainerStatuses {
		c := &pod.Status.ContainerStatuses[i]
		restarts += int64(c.RestartCount)
		word := ""
		if w := c.State.Waiting; w != nil && w.Reason != "" {
			word = w.Reason
		} else if end := c.State.Terminated; end != nil {
			word = ending(end)
		} else if c.State.Running != nil && c.Ready {
			running++
		}
		if status == "" {
			status = word
		}
	}
	return status, running, restarts
}

func ending(end *corev1.ContainerStateTerminated) string {
	if end.Reason != "" {
		return end.Reason
	}
	if end.Signal != 0 {
		return fmt.Sprintf("Signal:%d", end.Signal)
	}
	return fmt.Sprintf("ExitCode:%d", end.ExitCode)
}
