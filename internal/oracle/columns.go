package oracle

import (
	"fmt"

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
	phase := pod.Status.Phase
	status := string(phase)
	if pod.Status.Reason != "" {
		status = pod.Status.Reason
	}
	conditions := map[corev1.PodConditionType]corev1.ConditionStatus{}
	for i := len(pod.Status.Conditions) - 1; i >= 0; i-- { // the first of a type counts
		c := pod.Status.Conditions[i]
		conditions[c.Type] = c.Status
		if c.Type == "PodScheduled" && c.Reason == "SchedulingGated" {
			status = "SchedulingGated"
		}
	}
	total, ready := len(pod.Spec.Containers), 0
	sidecar := map[string]bool{}
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		sidecar[c.Name] = c.RestartPolicy != nil && *c.RestartPolicy == "Always"
		if sidecar[c.Name] {
			total++
		}
	}
	var restartsOfAll, restartsOfSidecars int64
	blocked := "" // the status of the first init container that others wait for
	for i := range pod.Status.InitContainerStatuses {
		c := &pod.Status.InitContainerStatuses[i]
		restartsOfAll += int64(c.RestartCount)
		if sidecar[c.Name] {
			restartsOfSidecars += int64(c.RestartCount)
		}
		if end := c.State.Terminated; end != nil {
			if end.ExitCode == 0 {
				continue
			}
			if !sidecar[c.Name] || c.Started == nil || !*c.Started {
				blocked = "Init:" + ending(end)
				break
			}
		}
		if sidecar[c.Name] && c.Started != nil && *c.Started {
			if c.Ready {
				ready++
			}
			continue
		}
		if w := c.State.Waiting; w != nil && w.Reason != "" && w.Reason != "PodInitializing" {
			blocked = "Init:" + w.Reason
		} else {
			blocked = fmt.Sprintf("Init:%d/%d", i, len(pod.Spec.InitContainers))
		}
		break
	}
	restarts := restartsOfAll
	if blocked != "" {
		status = blocked
	}
	if blocked == "" || conditions["Initialized"] == "True" {
		restarts = restartsOfSidecars
		running, decided := 0, false
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
			if word != "" && !decided { // the first container has the last word
				status, decided = word, true
			}
		}
		ready += running
		if status == "Completed" && running > 0 {
			status = map[bool]string{true: "Running", false: "NotReady"}[conditions["Ready"] == "True"]
		}
	}
	if pod.DeletionTimestamp != nil {
		if pod.Status.Reason == "NodeLost" {
			status = "Unknown"
		} else if phase != "Succeeded" && phase != "Failed" {
			status = "Terminating"
		}
	}
	if total == 0 {
		return columns{status: status, restarts: restarts}
	}
	return columns{status: status, ready: fmt.Sprintf("%d/%d", ready, total), restarts: restarts}
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
